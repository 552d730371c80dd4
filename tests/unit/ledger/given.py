"""What the ledger's tests are given: headers, outcomes, records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from collector.ledger.intervals import Interval
from collector.ports import Outcome, Record, TopicPartition, topic_of
from shippers.batch import Header

STREAM = "paybootid001.business"
DAY = "2026-11-21"


def header(first: int, count: int, crc: int = 0, stream: str = STREAM, **changes: object) -> Header:
    dataset = stream.rpartition(".")[2]
    plain = Header(stream, first, count, "cn-east", dataset, DAY, "payment", "pay-01", crc or first * 1_000 + count)
    return replace(plain, **changes)  # type: ignore[arg-type]


def outcome(
    offset: int,
    said: Header,
    dead: Sequence[Interval] = (),
    void: Sequence[Interval] = (),
    partition: int = 0,
) -> Outcome:
    """What a sink says of a record that it settled."""
    record = Record(TopicPartition(topic_of(said), partition), offset, offset + 1, 0.0, said.encode(), b"")
    return Outcome(record, said.count, header=said, dead_numbers=tuple(dead), void_numbers=tuple(void))
