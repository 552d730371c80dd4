"""Batches of a small payment service, for the tests on the real Elasticsearch."""

from __future__ import annotations

import dataclasses

from collector.ports import Record, TopicPartition, topic_of
from shippers.batch import Batch, Header, seal

NOON = 1_795_262_400.0  # 2026-11-21 12:00 UTC
DAY = "2026-11-21"
PAY = "paybootid001.business"


def line(number: int, day: str = DAY, stream: str = PAY) -> bytes:
    """One event as a shipper writes it."""
    return (
        b'{"@timestamp":"%bT12:00:00.%06dZ","message":"paid","log":{"level":"INFO"},"service":{"name":"payment"},'
        b'"cloud":{"region":"cn-east"},"labels":{"order_id":"A%d"},"event":{"dataset":"business","stream":"%b",'
        b'"sequence":%d}}' % (day.encode(), number % 1_000_000, number, stream.encode(), number)
    )


def batch(
    first: int, count: int, stream: str = PAY, *, day: str = DAY, bad: dict[int, bytes] | None = None, **header: object
) -> Batch:
    """A sealed batch; `bad` gives other lines to some numbers."""
    dataset = stream.rpartition(".")[2]
    plain = Header(stream, first, count, "cn-east", dataset, day, "payment", "pay-01", 0)
    lines = [(bad or {}).get(number, line(number, day, stream)) for number in range(first, first + count)]
    return seal(dataclasses.replace(plain, **header), lines)  # type: ignore[arg-type]


def record(offset: int, made: Batch) -> Record:
    """The batch as the journal would give it."""
    return Record(TopicPartition(topic_of(made.header), 0), offset, offset + 1, NOON, made.header.encode(), made.body)
