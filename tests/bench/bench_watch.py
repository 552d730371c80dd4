"""What the watch costs: 100,000 instances that beat each ten seconds, beside a full scan of all rows each second."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from alerts.notify.scripted import ScriptedNotifier
from alerts.settings import AlertSettings
from alerts.state.sqlite import SqliteState
from alerts.watch import Watch
from collector.ports import Record, TopicPartition
from shippers.clock import FakeClock
from tests.bench.report import Report

INSTANCES, SERVICES, INTERVAL_S = 100_000, 500, 10
REGIONS = ("cn-east", "cn-north", "eu-west", "us-east")
ROUNDS = 3
"""Times that every instance beats; the first one makes the rows and is not measured."""


class BenchClock(FakeClock):
    """A fake clock on which work takes the processor time that it takes."""

    def monotonic(self) -> float:
        return super().monotonic() + time.process_time()


class Feed:
    """A reader that hands over what was put into it."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        records, self.records = self.records, []
        return records

    def lag(self) -> dict[TopicPartition, int]:
        return {}

    def seek(self, tp: TopicPartition, offset: int) -> None: ...


def _beat(i: int, number: int, at: float) -> Record:
    region, service, name = REGIONS[i % 4], f"svc-{i % SERVICES:03}", f"svc-{i % SERVICES:03}-{i // SERVICES:03}"
    header = {
        "v": 1, "stream": f"boot{i:012}.heartbeat", "first": number, "count": 1, "region": region,
        "dataset": "heartbeat", "day": "2026-11-21", "service": service, "instance": name, "crc": 1,
        "via": f"gw-{i % 3}", "ingress": "default",
    }  # fmt: skip
    body = {
        "@timestamp": "2026-11-21T12:00:00.000000Z",
        "service": {"name": service, "version": "1.4.2", "environment": "prod", "node": {"name": name}},
        "cloud": {"region": region, "availability_zone": f"{region}-{'abc'[i % 3]}"},
        "host": {"name": name},
        "process": {"pid": i},
        "heartbeat": {
            "interval_s": 10.0, "grace_s": 20.0, "state": "up", "uptime_s": 10.0 * number,
            "datasets": {"business": {"last": 9 * number, "acked": 9 * number, "dropped": {}}},
            "queue_events": 0, "queue_bytes": 0, "spool_bytes": 0, "cpu_percent": 1.2, "memory_bytes": 123456789,
            "io_read_bytes": 1, "io_write_bytes": 1, "threads": 5, "open_files": 9,
        },
        "event": {"dataset": "heartbeat", "stream": f"boot{i:012}.heartbeat", "sequence": number},
    }  # fmt: skip
    return _record(region, header, body, at)


def _canary(region: str, gateway: str, at: float) -> Record:
    header = {
        "v": 1, "stream": "canary00.heartbeat", "first": 1, "count": 1, "region": region, "dataset": "heartbeat",
        "day": "2026-11-21", "service": "lastbeat", "instance": gateway, "crc": 1, "via": gateway,
        "ingress": "default", "canary": True,
    }  # fmt: skip
    return _record(region, header, {"refused": {}}, at)


def _record(region: str, header: dict[str, object], body: dict[str, object], at: float) -> Record:
    tp = TopicPartition(f"lastbeat.{region}.heartbeat", 0)
    return Record(tp, 1, 2, at, json.dumps(header).encode(), json.dumps(body).encode() + b"\n")


def run(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock, feed = BenchClock(), Feed()
        state = SqliteState(Path(folder) / "state.db")
        settings = AlertSettings(outbox=Path(folder) / "outbox.jsonl")
        pager = ScriptedNotifier()
        watch = Watch(feed, state, settings, clock, {"console": pager})  # type: ignore[arg-type]
        share, apply_us, longest_ms = _run(watch, feed, clock)
        quiet_ms = _quiet(watch, feed, clock)
        scan_ms = _scan(watch)
        report.add("watch: CPU of one core, 100,000 instances", share, "%", at_most=100, beside="each beats each 10 s")
        report.add("watch: applying one beat", apply_us, "us", at_most=80, beside="10,000 arrive each second")
        beside = "of 1,500 a page may be late; most of it is one garbage collection"
        report.add("watch: longest round", longest_ms, "ms", at_most=1_000, beside=beside)
        beside = f"a scan of all rows: {scan_ms:.0f} ms"
        report.add("watch: a round in which nothing expires", quiet_ms, "ms", at_most=10, beside=beside)
        report.add("watch: pages", len(pager.sent), "pages", at_most=0, beside="100,000 instances, all well")
        state.close()


def _run(watch: Watch, feed: Feed, clock: FakeClock) -> tuple[float, float, float]:
    """CPU share over the measured rounds, rows written too; microseconds to apply a beat; the longest round's ms."""
    spent = applied = longest = 0.0
    per_second = INSTANCES // INTERVAL_S
    for second in range(ROUNDS * INTERVAL_S):
        start_i = second % INTERVAL_S * per_second
        number = second // INTERVAL_S + 1
        for quarter in range(4):
            clock.advance(0.25)
            at = clock.time()
            first = start_i + quarter * per_second // 4
            records = [_beat(i, number, at) for i in range(first, first + per_second // 4)]
            if quarter == 0:
                records += [_canary(region, f"gw-{g}", at) for region in REGIONS for g in range(3)]
            begin = time.process_time()
            for record in records:
                watch.roster.apply(record)
            middle = time.process_time()
            watch.step()
            if second >= INTERVAL_S:
                applied += middle - begin
                spent += time.process_time() - begin
                longest = max(longest, time.process_time() - middle)
    seconds = (ROUNDS - 1) * INTERVAL_S
    return 100 * spent / seconds, 1e6 * applied / (seconds * per_second), 1e3 * longest


def _quiet(watch: Watch, feed: Feed, clock: FakeClock) -> float:
    """Milliseconds of a tick in which a canary comes and no deadline passes. Rows are not written in it."""
    best = float("inf")
    for _ in range(5):
        clock.advance(0.05)
        feed.records = [_canary(region, f"gw-{g}", clock.time()) for region in REGIONS for g in range(3)]
        begin = time.process_time()
        watch.step()
        best = min(best, time.process_time() - begin)
    return best * 1e3


def _scan(watch: Watch) -> float:
    """Milliseconds to compare every row's age with what it is allowed, as a watch without heaps must, each tick."""
    now = watch.roster.now()
    begin = time.process_time()
    late = [
        process
        for instance in watch.roster.instances.values()
        for process in instance.processes.values()
        if now - process.last > process.policy.allowed_s
    ]
    assert not late
    return (time.process_time() - begin) * 1e3
