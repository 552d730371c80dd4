"""What logging costs the host: microseconds a call beside the standard library's handlers, and bytes of memory."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from shippers import process
from shippers.batch import Batch
from shippers.errors import Unavailable
from shippers.event import Line
from shippers.handler import Handler
from shippers.identity import Identity
from shippers.streams import Streams
from shippers.transports.memory import MemoryTransport
from tests.bench.report import Report

_CALLS = 20_000
_EXTRA = {"action": "pay", "outcome": "success", "duration_ms": 18.2, "order_id": "A1", "amount": 12.5}
_MEMORY = """
import logging, sys
from shippers.errors import Unavailable
from shippers.handler import Handler
from shippers.transports.memory import MemoryTransport

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

transport = MemoryTransport()
transport.always = Unavailable("away")
transport.requests = type("Forgets", (list,), {"append": lambda self, item: None})()
logger = logging.Logger("shop")
handler = Handler("bench", transport=transport, buffer_events=10**7, buffer_bytes=32 * 2**20)
logger.addHandler(handler)
before = resident()
for number in range(400_000):
    logger.error("paid %d", number, extra={"order_id": "A1", "amount": 12.5})
print(resident() - before, handler.shipper.stats().total_dropped)
"""


def run(report: Report) -> None:
    """`make bench`."""
    _calls(report)
    _sealing(report)
    _arrival(report)
    _memory(report)


def _calls(report: Report) -> None:
    accepting, away = MemoryTransport(), MemoryTransport()
    away.always = Unavailable("away")
    with tempfile.TemporaryDirectory() as folder:
        file = logging.FileHandler(Path(folder) / "log")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        ours = Handler("bench", transport=accepting, buffer_events=10**6, buffer_bytes=2**30, interval=60)
        cut_off = Handler("bench-away", transport=away, buffer_events=1_000, interval=60)
        cost = {
            (name, form): _microseconds(handler, extra)
            for form, extra in (("plain", None), ("five extras", _EXTRA))
            for name, handler in (("null", logging.NullHandler()), ("file", file), ("ours", ours), ("away", cut_off))
        }
        file.close()
    for form in ("plain", "five extras"):
        null, to_file = cost["null", form], cost["file", form]
        beside = f"FileHandler {to_file:.1f} us (no JSON, no extras in it), NullHandler {null:.1f} us"
        report.add(f"log call, {form}", cost["ours", form], "us", at_most=40, beside=beside)
        report.add(f"log call, {form}, gateway away, buffer full", cost["away", form], "us", at_most=40, beside=beside)
    ratio = cost["ours", "plain"] / cost["file", "plain"]
    report.add("log call, plain, beside FileHandler", ratio, "times", at_most=2.5, beside="FileHandler = 1")
    for handler in (ours, cut_off):
        process.retire(handler.shipper, "bench over", 2)


def _microseconds(handler: logging.Handler, extra: dict[str, object] | None) -> float:
    logger = logging.Logger("shop")  # noqa: LOG001  apart from the root logger's handlers
    logger.addHandler(handler)

    def call(count: int) -> None:
        for number in range(count):
            logger.info("paid %d", number, extra=extra)

    call(1_000)
    return min(_timed(call, _CALLS // 8) for _ in range(8))


def _timed(call: Callable[[int], None], count: int) -> float:
    # The caller's own processor time: what else runs on a busy machine must not count. That nothing blocks is tested.
    began = time.thread_time()
    call(count)
    return (time.thread_time() - began) / count * 1e6


def _sealing(report: Report) -> None:
    lines = [Line("business", "2026-11-21", b"{" + b"x" * 450)] * 200
    streams = Streams("bench0123456789a", Identity("bench", "default", "i"))
    began, sealed = time.thread_time(), 0
    while time.thread_time() - began < 1:
        streams.seal(lines)
        sealed += len(lines)
    rate = sealed / (time.thread_time() - began)
    report.add("sealing, batches of 200 events of 450 bytes", rate, "events/s", at_least=500_000, beside="one core")


def _arrival(report: Report) -> None:
    class Timed(MemoryTransport):
        def send(self, batches: Sequence[Batch], timeout_s: float) -> None:
            now = time.time()
            for batch in batches:
                if batch.header.dataset == "business":
                    waits.extend(now - json.loads(line)["measures"]["at"] for line in batch.body.splitlines())
            super().send(batches, timeout_s)

    waits: list[float] = []
    handler = Handler("bench-arrival", transport=Timed(), interval=60)
    logger = logging.Logger("shop")  # noqa: LOG001
    logger.addHandler(handler)
    for _ in range(300):
        logger.info("paid", extra={"at": time.time()})
        time.sleep(0.005)
    process.retire(handler.shipper, "bench over", 2)
    p99 = sorted(waits)[int(0.99 * len(waits))]
    report.add("log call to request, p99", p99, "s", at_most=1.0, beside="the whole way to visible may take 3 s")


def _memory(report: Report) -> None:
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", _MEMORY], env=environ, capture_output=True, text=True, check=True)
    grown, dropped = map(int, done.stdout.split())
    report.add(
        "memory after 400,000 events, gateway away",
        grown / 2**20,
        "MiB",
        at_most=32 + 12,
        beside=f"buffer_bytes 32 MiB; {dropped} dropped and counted",
    )
