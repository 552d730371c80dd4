"""Gateway to durable journal: batches of 200 events of 450 bytes, over HTTP, from a client in another process.

Beside it, in the same run: the same bytes written and synced to the same disk with nothing else done to them.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

from alerts.state.memory import MemoryState
from collector.gateway.http import create_app
from collector.gateway.serve import Server
from collector.journal.local import LocalJournal
from collector.resend.spool import SpoolSource
from collector.resend.wanted import Wanted
from collector.settings import GatewaySettings, JournalSettings
from shippers.batch import MEDIA_TYPE, Batch, Header, pack, seal
from shippers.clock import SystemClock
from tests.bench.report import Report

EVENTS, EVENT_BYTES = 200, 450
BATCHES_A_REQUEST, CONNECTIONS = 10, 2
SECONDS = 4.0


def run(report: Report) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-gateway-", dir=Path.cwd()))
    try:
        raw = _raw_disk(folder / "raw")
        direct, cpu_direct, read = _journal(folder / "direct")
        served, cpu, p99_ms = _gateway(folder / "served")
        asking, _, _ = _gateway(folder / "asking", asks=True)
    finally:
        shutil.rmtree(folder)
    beside = f"write+fdatasync of the same bytes: {raw:,.0f}/s"
    report.add("gateway to durable journal", served, "events/s", at_least=200_000, beside=beside)
    report.add("the same while each answer asks for 20 ranges again", asking, "events/s", at_least=200_000)
    report.add("gateway, CPU for a million events", cpu, "CPU-s", beside=f"journal alone: {cpu_direct:.2f}")
    report.add("gateway, request of 2,000 events, p99", p99_ms, "ms")
    report.add("journal append, durable, 8 threads", direct, "events/s", beside=beside)
    report.add("journal read", read, "events/s")


def _body() -> list[bytes]:
    text = b'{"@timestamp":"2026-11-21T12:00:00.123456Z","message":"paid","labels":{"order_id":"%08d"},"filler":"'
    lines = [(text % i) for i in range(EVENTS)]
    return [line + b"x" * (EVENT_BYTES - 1 - len(line) - 2) + b'"}' for line in lines]


def _batch(number: int) -> Batch:
    header = Header("bench0000000.business", number, 0, "cn-east", "business", "2026-11-21", "bench", "bench-1", 0)
    return seal(header, _body())


def _raw_disk(path: Path) -> float:
    """The same bytes in the same portions as one request's, synced each."""
    portion = b"".join(line + b"\n" for line in _body()) * BATCHES_A_REQUEST
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS / 4:
        os.write(fd, portion)
        os.fdatasync(fd)
        count += 1
    os.close(fd)
    path.unlink()
    return count * BATCHES_A_REQUEST * EVENTS / (time.perf_counter() - began)


def _journal(path: Path) -> tuple[float, float, float]:
    batch, rounds, threads = _batch(1), 150, 8
    with closing(LocalJournal(path, JournalSettings(), SystemClock(), writable=True)) as journal:

        def work() -> None:
            for _ in range(rounds):
                journal.append([batch])

        began, cpu = time.perf_counter(), time.process_time()
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        events = rounds * threads * EVENTS
        append = events / (time.perf_counter() - began)
        cpu = (time.process_time() - cpu) / events * 1e6
        with closing(journal.reader(None, ["business"])) as reader:
            began, left = time.perf_counter(), rounds * threads
            while left:
                left -= len(reader.poll(4 << 20, 0))
            read = events / (time.perf_counter() - began)
    return append, cpu, read


def _gateway(path: Path, *, asks: bool = False) -> tuple[float, float, float]:
    """With `asks` every answer asks for twenty ranges again."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(path, theirs, asks))
    child.start()
    url = ours.recv()
    try:
        _load(url, 0.5)
        ours.send("cpu")
        before = ours.recv()
        count, seconds, p99_ms = _load(url, SECONDS)
        ours.send("cpu")
        cpu = ours.recv() - before
    finally:
        ours.send("stop")
        child.join()
    events = count * BATCHES_A_REQUEST * EVENTS
    return events / seconds, cpu / events * 1e6, p99_ms


def _serve(path: Path, pipe: Connection, asks: bool) -> None:
    settings, state = GatewaySettings(port=0), MemoryState()
    if asks:
        numbers = tuple((number, number) for number in range(10**9, 10**9 + 100, 2))
        wanted = Wanted(_batch(1).header.stream, numbers, 0, 0)
        SpoolSource(state, SystemClock()).ask(wanted)
    with closing(LocalJournal(path, JournalSettings(), SystemClock(), writable=True)) as journal:
        server = Server(create_app(journal, settings, SystemClock(), state), settings)

        def obey() -> None:
            while pipe.recv() == "cpu":
                pipe.send(time.process_time())
            server.stop()

        threading.Thread(target=obey, daemon=True).start()
        pipe.send(server.url)
        server.run()


def _load(url: str, seconds: float) -> tuple[int, float, float]:
    request = b"".join(pack(b.header.encode(), b.body) for b in map(_batch, range(1, 1 + BATCHES_A_REQUEST)))
    took: list[float] = []

    def work() -> None:
        client = http.client.HTTPConnection(url.removeprefix("http://"))
        while time.perf_counter() < end:
            began = time.perf_counter()
            client.request("POST", "/v1/batches", request, {"Content-Type": MEDIA_TYPE})
            answer = client.getresponse()
            answer.read()
            assert answer.status == 200
            took.append(time.perf_counter() - began)
        client.close()

    began = time.perf_counter()
    end = began + seconds
    workers = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(took), time.perf_counter() - began, sorted(took)[int(len(took) * 0.99)] * 1e3
