"""Batches and records for the lake's tests."""

from __future__ import annotations

import json
from pathlib import Path

from collector.lake.sink import LakeSink
from collector.ports import Record, TopicPartition, topic_of
from collector.settings import LakeSettings
from shippers.batch import Batch, Header, seal
from shippers.clock import Clock, FakeClock

NOON = 1_763_726_400.0  # 2025-11-21 12:00:00 UTC
DAY = "2025-11-21"
PAY = "paybootid001.business"


def batch(
    first: int, count: int, stream: str = PAY, *, region: str = "cn-east", day: str = DAY, bad: tuple[int, ...] = ()
) -> Batch:
    header = Header(stream, first, 0, region, stream.rpartition(".")[2], day, "payment", "pay-01", 0)
    return seal(header, [b"no JSON" if n in bad else line(n, day) for n in range(first, first + count)])


def line(number: int, day: str = DAY) -> bytes:
    event = {"@timestamp": f"{day}T12:00:00.{number % 1_000_000:06d}Z", "message": f"paid {number}"}
    return json.dumps(event | {"labels": {"order_id": f"A{number}"}, "measures": {"amount": number / 4}}).encode()


def record(offset: int, made: Batch, partition: int = 0) -> Record:
    tp = TopicPartition(topic_of(made.header), partition)
    return Record(tp, offset, offset + 1, NOON, made.header.encode(), made.body)


def sink_at(folder: Path, clock: Clock | None = None, **settings: int) -> LakeSink:
    return LakeSink(folder, LakeSettings.model_validate(settings), clock or FakeClock(NOON))
