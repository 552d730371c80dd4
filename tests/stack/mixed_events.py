"""A few thousand events with all that is odd about real ones, as the records of a journal: for tests that hold one
store's answers against another's."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator
from typing import Any

from collector.ports import Event, Record, TopicPartition, topic_of
from shippers.batch import Batch, Header, seal
from tests.contracts.stores import batches_of

NOON = 1_795_262_400.0  # 2026-11-21 12:00 UTC
DAY = "2026-11-21"
HOURS = 4
LONGEST_FOUND = 1_000

MESSAGES = (
    "paid", "Paid in full", "card declined", "网关 超时", "支付成功 ¥12.50", "100% done_", "a*b?c", r"C:\temp\pay",
    "refund for O'Hara", 'said "no"', "line one\nline two\tend", "ÄRGER in Zürich", "", "🙂 done", "x" * LONGEST_FOUND,
)  # fmt: skip
LABELS: tuple[dict[str, str], ...] = (
    {}, {"order_id": "A1"}, {"order_id": "A2", "channel": "alipay"}, {"单号": "七", "channel": "微信"},
    {"http.path": "/pay?x=1", "note": "n"}, {"order_id": "trace-1"},
)  # fmt: skip
MEASURES: tuple[dict[str, float], ...] = ({}, {"amount": 12.5}, {"amount": -3.0, "items": 3.0}, {"big": 1e300})
DURATIONS = (None, None, 0, 1, 1_000, 1_049, 1_050, 18_200_000, 18_200_001, 999_999_999, 864_000_000_000_000)


def boots() -> Iterator[tuple[str, str, str]]:
    """Region, service and instance of each process."""
    for region in ("cn-east", "cn-north"):
        for service in ("payment", "shop", "ledger"):
            for number in (1, 2):
                yield region, service, f"{service}-{number}"


def events(seed: int = 7, each: int = 160) -> list[Event]:
    """What the processes say, in the order of each; times repeat within and between them."""
    rng = random.Random(seed)
    found = []
    for place, (region, service, instance) in enumerate(boots()):
        for dataset in ("business", "console", "metrics"):
            boot = f"bootid{place:04d}.{dataset}"
            for number in range(1, (each if dataset == "business" else each // 10) + 1):
                found.append(_event(rng, boot, number, dataset, region=region, service=service, instance=instance))
    return found


def _event(rng: random.Random, stream: str, number: int, dataset: str, **sender: str) -> Event:
    at = NOON + rng.choice([rng.randrange(HOURS * 3_600), rng.randrange(HOURS * 3_600_000_000) / 1_000_000])
    failed = rng.random() < 0.1
    return Event(
        at=at, stream=stream, sequence=number, dataset=dataset, message=rng.choice(MESSAGES),
        level=rng.choice(["INFO", "INFO", "WARNING", "ERROR", "CRITICAL", "DEBUG", ""]),
        logger=rng.choice(["pay", "pay.core", ""]), action=rng.choice(["pay", "refund", "退款", ""]),
        outcome=rng.choice(["success", "failure", "unknown", ""]),
        duration_ns=rng.choice([*DURATIONS, rng.randrange(10**10)]), version=rng.choice(["1.4.2", "1.5.0", ""]),
        environment=rng.choice(["prod", ""]), zone=rng.choice(["a", ""]), host=rng.choice(["h1", ""]),
        pid=rng.choice([None, 4711]), trace_id=rng.choice(["", "", f"trace-{rng.randrange(9)}"]),
        span_id=rng.choice(["", "s1"]), transaction_id=rng.choice(["", "A1"]),
        error_type="ValueError" if failed else "", error_message="bank TIMEOUT 银行" if failed else "",
        error_stack="Traceback\n  line 1" if failed else "", labels=rng.choice(LABELS), measures=rng.choice(MEASURES),
        **sender,
    )  # fmt: skip


ODD: tuple[dict[str, Any], ...] = (
    {"labels": {"count": 7, "yes": True, "none": None, "empty": "", "deep": {"a": [1, "b"]}}},
    {"measures": {"amount": 7, "none": None}},
    {"message": None, "log": None, "error": None},
    {"event": {"action": "", "outcome": ""}, "log": {"level": "", "logger": ""}, "trace": {"id": ""}},
    {"@timestamp": "2026-11-21T20:30:00.5+08:00"},
    {"@timestamp": "2026-11-21T12:30:00"},
    {"@timestamp": "2026-11-21T12:30:00Z", "something": {"else": [1, 2]}},
    {"event": {"duration": -5}},
    {"process": {"pid": 1}, "host": {"name": "h9", "ip": "127.0.0.1"}},
)
"""What others than our own shippers put into a line, beside what every line has."""

BEAT = {
    "interval_s": 10.0, "grace_s": 20.0, "state": "up", "uptime_s": 12.25,
    "datasets": {"business": {"last": 9, "acked": 7, "dropped": {"full": 2, "late": 1}}, "console": {"last": 1}},
    "queue_events": 3, "queue_bytes": 900, "spool_bytes": 0, "cpu_percent": 1.5, "memory_bytes": 1_000_000,
    "io_read_bytes": 1, "io_write_bytes": 2, "threads": 5, "open_files": 9,
}  # fmt: skip


def odd_batches() -> Iterator[Batch]:
    """Lines of other producers, heartbeats as our shippers write them, and lines that can't be stored."""
    header = Header("oddboot00001.business", 1, 0, "cn-east", "business", DAY, "odd", "odd-1", 0)
    lines = [_line(header, number, fields) for number, fields in enumerate(ODD, 1)]
    yield seal(header, [*lines, b"paid, but no JSON", _line(header, len(ODD) + 2, {})])
    for number, changes in enumerate(({}, {"state": "stopping", "reason": "SIGTERM"}, {"datasets": {}}), 1):
        header = Header("beatboot0001.heartbeat", number, 0, "cn-east", "heartbeat", DAY, "payment", "payment-1", 0)
        yield seal(header, [_line(header, number, {"heartbeat": BEAT | changes})])
    yield seal(Header("voidboot0001.business", 1, 0, "cn-east", "business", DAY, "odd", "odd-2", 0), [b"{}"]).void(
        "full"
    )


def _line(header: Header, number: int, fields: dict[str, Any]) -> bytes:
    own = {"dataset": header.dataset, **fields.get("event", {}), "stream": header.stream, "sequence": number}
    line = {
        "@timestamp": f"{DAY}T12:00:00.{number:06d}Z",
        "service": {"name": header.service, "node": {"name": header.instance}},
        "cloud": {"region": header.region},
        **fields,
        "event": own,
    }
    return json.dumps(line, ensure_ascii=False).encode()


def records() -> list[Record]:
    """All of it, in batches of at most fifty events; every seventh comes twice, and one overlaps two others."""
    found = [part for batch in batches_of(events()) for part in _parts(batch)]
    found += odd_batches()
    again = found[::7]
    [overlapping] = batches_of([event for event in events() if event.stream == "bootid0000.business"][30:80])
    offsets: dict[str, int] = {}
    made = []
    for batch in (*found, *again, overlapping):
        topic = topic_of(batch.header)
        offset = offsets.get(topic, 0)
        offsets[topic] = offset + 1
        made.append(Record(TopicPartition(topic, 0), offset, offset + 1, NOON, batch.header.encode(), batch.body))
    return made


def _parts(batch: Batch, size: int = 50) -> Iterator[Batch]:
    """The batch cut into smaller ones."""
    lines = batch.body.split(b"\n")[:-1]
    for start in range(0, len(lines), size):
        yield seal(dataclasses.replace(batch.header, first=batch.header.first + start), lines[start : start + size])
