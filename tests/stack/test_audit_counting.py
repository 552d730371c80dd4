"""Counting on the real Elasticsearch, against the lake and the ledger: what was deleted is found by the next pass and
named by its range; and a day is only let go when the archive has every number of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from alerts.audit.booked import books_of
from alerts.audit.counting import Counted, count, unproven
from alerts.state.memory import MemoryState
from collector.elastic.ageing import Ageing
from collector.elastic.client import ElasticClient, quoted
from collector.elastic.days import DeletedDays
from collector.elastic.inventory import ElasticInventory
from collector.elastic.sink import ElasticSink
from collector.lake.inventory import LakeInventory
from collector.lake.sink import LakeSink
from collector.ledger.inventory import Inventory
from collector.ledger.keeper import LedgerKeeper
from collector.ledger.view import LedgerView
from collector.ports import Record, Sink
from collector.settings import LakeSettings
from shippers.clock import FakeClock
from tests.servers import elastic_settings, remove
from tests.stack.elastic_events import DAY, NOON, PAY, batch, line, record

INDEX_DAY = DAY.replace("-", ".")


class Both:
    """Elasticsearch and the lake, each with its ledger, filled alike."""

    def __init__(self, folder: Path) -> None:
        self.settings = elastic_settings(hot_days=3)
        self.clock, self.state = FakeClock(NOON), MemoryState()
        self.client = ElasticClient(self.settings)
        self.sinks: dict[str, Sink] = {
            "elastic": ElasticSink(self.settings, self.clock, self.state),
            "lake": LakeSink(folder / "lake", LakeSettings(), self.clock),
        }
        self.stores: dict[str, Inventory] = {
            "elastic": ElasticInventory(self.client, self.settings),
            "lake": LakeInventory(folder / "lake"),
        }
        self.keepers = {name: LedgerKeeper(self.state, name, self.clock) for name in self.sinks}

    def write(self, *records: Record, only: str = "") -> None:
        for name, sink in self.sinks.items():
            if only in ("", name):
                keeper = self.keepers[name]
                keeper.load({each.tp for each in records}, {})
                keeper.settle(sink.write(list(records)))
                keeper.flush({each.tp: each.next_offset for each in records})

    def delete(self, *numbers: int) -> None:
        index = quoted(f"{self.settings.prefix}-business-cn-east-{INDEX_DAY}")
        for number in numbers:
            self.client.ask("DELETE", f"/{index}/_doc/{quoted(f'{PAY}:{number}')}")

    def view(self) -> LedgerView:
        view = LedgerView(self.state)
        view.refresh()
        return view

    def count(self) -> Counted:
        behind = {"elastic": False, "lake": False}
        return count([DAY], "", self.stores, books_of(self.view()), lambda *_: False, behind, "2026-11-22")

    def is_archived(self, dataset: str, region: str, day: str, events: int) -> bool:
        names = "elastic", "lake"
        books = books_of(self.view())
        return not unproven(dataset, region, day, self.stores["elastic"], self.stores["lake"], books, names)

    def close(self) -> None:
        for sink in self.sinks.values():
            sink.close()
        remove(self.settings)
        self.client.close()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    with closing(Both(tmp_path)) as made:
        yield made


def test_documents_deleted_from_elasticsearch_are_found_by_the_next_pass(both: Both) -> None:
    both.write(record(0, batch(1, 200)), record(1, batch(201, 100)), record(2, batch(301, 50).void("refused: size")))
    counted = both.count()
    assert counted.differences == []
    assert counted.events == {("elastic", DAY): 300, ("lake", DAY): 300}
    both.delete(7, 8, 9, 150)
    [difference] = both.count().differences
    assert (difference.stream, difference.region, difference.day) == (PAY, "cn-east", DAY)
    assert difference.words == "elastic lacks 7–9, 150 (4 events), which its ledger has as stored"
    both.sinks["elastic"].write([record(3, batch(1, 200))])  # sent again, under the numbers it had
    assert both.count().differences == []


def test_what_the_lake_lacks_is_named(both: Both) -> None:
    both.write(record(0, batch(1, 20)))
    both.write(record(1, batch(21, 5)), only="elastic")
    [difference] = both.count().differences
    assert difference.words == "lake lacks 21–25 (5 events), which elastic has"


def test_a_day_that_is_not_proven_is_not_deleted_and_goes_once_it_is(both: Both) -> None:
    both.write(record(0, batch(1, 20)))
    both.write(record(1, batch(21, 5)), only="elastic")
    both.write(record(2, batch(1_000, 5, "otherboot001.business")), only="lake")  # as many events, but others
    days = DeletedDays(both.state)
    ageing = Ageing(both.client, both.settings, days, both.clock, both.is_archived)
    both.clock.advance(10 * 86_400)
    assert ageing.run().kept
    assert not days.has("business", "cn-east", DAY)
    both.write(dataclasses.replace(record(3, batch(21, 5))), only="lake")
    assert ageing.run().deleted
    assert days.has("business", "cn-east", DAY)


def test_a_line_that_says_another_stream_than_its_header_is_found_by_its_identity(both: Both) -> None:
    liar = line(2, stream="someoneelse1.business")
    both.write(record(0, batch(1, 3, bad={2: liar})))
    assert [each.stream for each in both.count().differences] == ["someoneelse1.business"]
    both.delete(2)
    assert "elastic lacks 2 (1 events), which its ledger has as stored" in [
        each.words for each in both.count().differences
    ]
