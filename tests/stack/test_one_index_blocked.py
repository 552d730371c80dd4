"""One index of the real Elasticsearch takes nothing: its own batches wait, all others flow on, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from collector.elastic.client import ElasticClient
from collector.elastic.sink import ElasticSink
from collector.indexer import Indexer
from collector.journal.memory import MemoryJournal
from collector.ports import TopicPartition
from collector.settings import ElasticSettings
from shippers.clock import SystemClock
from tests.servers import elastic_settings, remove
from tests.stack.elastic_events import batch
from tests.stack.test_elastic_faults import Now

CLOCK = SystemClock()
EAST, NORTH = (TopicPartition(f"lastbeat.{region}.business", 0) for region in ("cn-east", "cn-north"))
SHOP = "shopbootid01.business"
FLUSH_BYTES = 256 * 1024


@pytest.fixture
def settings() -> Iterator[ElasticSettings]:
    settings = elastic_settings(patience_s=2.0)
    yield settings
    remove(settings)


def test_a_blocked_index_costs_the_others_neither_time_nor_memory(settings: ElasticSettings) -> None:
    clock = Now()
    journal = MemoryJournal(clock)
    client = ElasticClient(settings)
    journal.append([batch(1, 50), batch(1, 50, SHOP, region="cn-north")])
    with closing(journal.reader("elastic", ["business"])) as reader, closing(ElasticSink(settings, clock)) as sink:
        indexer = Indexer(reader, sink, clock, flush_bytes=FLUSH_BYTES, flush_s=0.1)

        def run_until(stored: int, within_s: float = 60) -> None:
            until = CLOCK.monotonic() + within_s
            while indexer.counters.stored < stored:
                assert CLOCK.monotonic() < until, (indexer.counters, indexer.metrics())
                indexer.step()
                assert indexer.metrics()["held_bytes"] < 6 * FLUSH_BYTES

        run_until(100)
        index = f"{settings.prefix}-business-cn-east-2026.11.21"
        client.ask("PUT", f"/{index}/_block/write")
        for first in range(51, 20_051, 200):
            journal.append([batch(first, 200), batch(first, 200, SHOP, region="cn-north")])
        run_until(20_100)
        assert reader.committed()[NORTH] == 101
        assert reader.committed()[EAST] == 1
        assert indexer.counters.pauses == 0
        client.ask("PUT", f"/{index}/_settings", {"index.blocks.write": None})
        run_until(40_100)
        stop = threading.Event()
        stop.set()
        indexer.run(stop)
        assert reader.committed()[EAST] == 101
        assert indexer.counters.dead == 0
    client.ask("POST", f"/{settings.prefix}-business-*/_refresh")
    assert client.ask("GET", f"/{settings.prefix}-business-*/_count")["count"] == 40_100
    client.close()
