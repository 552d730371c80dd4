"""Counting on the real Elasticsearch, against the lake and the ledger: what was deleted is found by the next pass and
named by its range; and a day is only let go when the archive has every number of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from deltalake import DeltaTable

from alerts.audit.accounts import LedgerAccounts
from alerts.audit.auditor import Auditor
from alerts.audit.booked import books_of
from alerts.audit.counting import Counted, Later, count
from alerts.audit.proving import Proof, Proofs, prove
from alerts.audit.settings import AuditSettings
from alerts.state.memory import MemoryState
from collector.elastic.ageing import Ageing
from collector.elastic.client import ElasticClient, quoted
from collector.elastic.days import DeletedDays
from collector.elastic.inventory import ElasticInventory
from collector.elastic.sink import ElasticSink
from collector.journal.memory import MemoryJournal
from collector.lake.inventory import LakeInventory
from collector.lake.sink import LakeSink
from collector.ledger.inventory import Inventory
from collector.ledger.keeper import LedgerKeeper
from collector.ledger.view import LedgerView
from collector.ports import Record, Sink
from collector.resend.elastic import ElasticSource
from collector.resend.journal import JournalSource
from collector.resend.lake import LakeSource
from collector.resend.recovery import Recovery
from collector.resend.wanted import Source, Wanted
from collector.settings import LakeSettings
from compose.recovering import recover_finding
from shippers.batch import Batch
from shippers.clock import FakeClock
from tests.servers import elastic_settings, remove
from tests.stack.elastic_events import DAY, NOON, PAY, DatedClient, batch, line, record

INDEX_DAY = DAY.replace("-", ".")


class Both:
    """Elasticsearch and the lake, each with its ledger, filled alike."""

    def __init__(self, folder: Path) -> None:
        self.settings, self.folder = elastic_settings(hot_days=3), folder
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

    def delete_rows(self, *numbers: int) -> None:
        """Of the lake, past its sink."""
        DeltaTable(self.folder / "lake" / "business").delete(f"stream = '{PAY}' AND sequence IN {(*numbers, -1)}")

    def view(self) -> LedgerView:
        view = LedgerView(self.state)
        view.refresh()
        return view

    def count(self) -> Counted:
        later = Later(books_of(self.view()), {"elastic": False, "lake": False}, lambda *_: False)
        return count([DAY], "", self.stores, books_of(self.view()), lambda: later)

    def prove(self, dataset: str, region: str, day: str) -> Proof:
        names = "elastic", "lake"
        return prove(dataset, region, day, self.stores["elastic"], self.stores["lake"], books_of(self.view()), names)

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


@pytest.mark.parametrize(("store", "source"), [("elastic", "lake"), ("lake", "elastic"), ("lake", "journal")])
def test_what_was_deleted_comes_back_by_itself_and_once(both: Both, tmp_path: Path, store: str, source: str) -> None:
    """The auditor counts, gets it from the other store, or from the journal if that has it still, and sends it no
    second time while it is on its way."""
    journal, sent = StaysOpen(both.clock), []
    reader = journal.reader("both", ["business"])
    lake, elastic = LakeSource(tmp_path / "lake", both.clock), ElasticSource(both.client, both.settings, both.clock)
    delete = both.delete if store == "elastic" else both.delete_rows
    copies: Source = JournalSource(lambda: journal, both.clock) if source == "journal" else NoCopies()

    def send(batches: Sequence[Batch]) -> None:
        sent.extend(batches)
        journal.append(batches)

    def indexed() -> None:
        both.write(*reader.poll(1 << 20, 0))
        auditor.step()

    def days_pass(times: int) -> None:
        for _ in range(times):
            both.clock.advance(900)
            auditor.step()
            auditor.count_step()
            auditor.recover_step()

    recovery = Recovery(copies, {"lake": lake, "elastic": elastic}, None, send)
    auditor = Auditor(
        journal.reader(None, ["heartbeat"]),
        journal.reader(None, ["business"]),
        LedgerAccounts(LedgerView(both.state)),
        both.state,
        AuditSettings(),
        both.clock,
        "here",
        partial(recover_finding, recovery),
        lambda _: ((DAY,), ("elastic", "lake"), tuple(both.count().differences)),
    )
    journal.append([batch(1, 200)])
    indexed()
    days_pass(2)
    assert sent == []
    delete(7, 8, 9, 150)
    days_pass(1)
    parts = [(PAY, 1, 200)] if source == "journal" else [(PAY, 7, 9), (PAY, 150, 150)]
    assert sorted((one.header.stream, one.header.first, one.header.last) for one in sent) == parts
    days_pass(3)
    assert len(sent) == len(parts), "it is on its way: its sink has not read so far"
    indexed()
    days_pass(3)
    counted = both.count()
    assert (counted.differences, counted.events) == ([], {("elastic", DAY): 200, ("lake", DAY): 200})
    assert len(sent) == len(parts)
    delete(20)
    days_pass(1)
    indexed()
    days_pass(1)
    assert (both.count().differences, len(sent)) == ([], len(parts) + 1)
    assert both.view().lies(store) == []


class StaysOpen(MemoryJournal):
    """Whoever searches it opens one of its own, and closes that."""

    def close(self) -> None: ...


class NoCopies:
    """A journal that has let go of it."""

    name = "journal"

    def find(self, wanted: Wanted) -> Iterator[Batch]:
        return iter(())


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
    proofs = Proofs(both.state, both.clock)
    ageing = Ageing(DatedClient(both.settings, both.clock), both.settings, days, both.clock, proofs.is_archived)
    both.clock.advance(10 * 86_400)
    assert ageing.run().kept
    assert [each.words for each in proofs.answer(both.prove, days.all())] == [
        "is old and kept: lake lacks 21–25 (5 events)"
    ]
    both.clock.advance(600)
    assert ageing.run().kept
    assert not days.has("business", "cn-east", DAY)
    both.write(dataclasses.replace(record(3, batch(21, 5))), only="lake")
    assert proofs.answer(both.prove, days.all()) == []
    both.clock.advance(1_200)
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
