"""Batches and records for the lake's tests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collector.lake.sink import LakeSink
from collector.lake.table import LakeTable
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


def record(offset: int, made: Batch, partition: int = 0, came_at: float = NOON) -> Record:
    tp = TopicPartition(topic_of(made.header), partition)
    return Record(tp, offset, offset + 1, came_at, made.header.encode(), made.body)


def sink_at(folder: Path, clock: Clock | None = None, **settings: int) -> LakeSink:
    return LakeSink(folder, LakeSettings.model_validate(settings), clock or FakeClock(NOON))


class Killed(BaseException):
    """Stands for a SIGKILL: nothing that the sink does may come behind it."""


def commit_that_dies(nth: int, side: str) -> Callable[..., None]:
    """LakeTable.commit, whose n-th call dies before or behind what it does."""
    calls, real = itertools.count(1), LakeTable.commit

    def deadly(self: LakeTable, *args: Any, **kwargs: Any) -> None:
        number = next(calls)
        if side == "before" and number == nth:
            raise Killed
        real(self, *args, **kwargs)
        if side == "behind" and number == nth:
            raise Killed

    return deadly
