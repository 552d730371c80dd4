"""Batches of a small payment service, for the tests on the real Elasticsearch."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from collector.elastic.client import ElasticClient
from collector.ports import Record, TopicPartition, topic_of
from collector.settings import ElasticSettings
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock

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


def record(offset: int, made: Batch, came_at: float = NOON) -> Record:
    """The batch as the journal would give it."""
    tp = TopicPartition(topic_of(made.header), 0)
    return Record(tp, offset, offset + 1, came_at, made.header.encode(), made.body)


class DatedClient(ElasticClient):
    """Elasticsearch as if its clock were the test's: when it made the indices that this client had it make, and
    another just now."""

    def __init__(self, settings: ElasticSettings, clock: FakeClock) -> None:
        super().__init__(settings)
        self._clock, self._made = clock, dict[str, float]()

    def create_index(self, index: str, body: Any) -> bool:
        self._made[index] = self._clock.time()
        return super().create_index(index, body)

    def ask(self, method: str, path: str, body: Any = None, *, allow: Collection[int] = ()) -> Any:
        if "creation_date" not in path:
            return super().ask(method, path, body, allow=allow)
        made = self._made | {"another": self._clock.time()}
        return {index: {"settings": {"index": {"creation_date": int(at * 1000)}}} for index, at in made.items()}
