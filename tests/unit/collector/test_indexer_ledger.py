"""The indexer's ledger is durable before anything is committed, and right after any crash, outage and rebalance.

Seen to fail when the commit came before the ledger's flush, when a position was taken from the sink alone, and when
outcomes of a partition that came back were taken for those of one that was never away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.indexer import Indexer
from collector.journal.memory import MemoryJournal
from collector.ledger.account import Total
from collector.ledger.keeper import LedgerKeeper
from collector.ledger.view import LedgerView
from collector.ports import Gap, Table, TopicPartition
from collector.scripted import Retry, ScriptedSink
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.unit.collector.test_indexer import AtOnce
from tests.unit.ledger.given import outcome
from tests.unit.ledger.test_keeper import Down

EAST, NORTH = (TopicPartition(f"lastbeat.{region}.business", 0) for region in ("cn-east", "cn-north"))
DAY = "2026-11-21"
BAD = b"no event"


def batch(first: int, count: int = 2, region: str = "cn-east", *, bad: bool = False) -> Batch:
    stream = f"boot{region.replace('-', '')}.business"
    lines = [b'{"@timestamp":"2026-11-21T12:00:00Z","n":%d}' % number for number in range(first, first + count)]
    return seal(Header(stream, first, 0, region, "business", DAY, "pay", "pay-01", 0), [BAD] * count if bad else lines)


class Bench:
    """Indexers over one journal, one sink and one state, one after the other."""

    def __init__(self, *, keeps_positions: bool = False) -> None:
        self.clock, self.state = FakeClock(1_795_262_400.0), Down()
        self.sink = ScriptedSink(keeps_positions=keeps_positions)
        self.journal = MemoryJournal(self.clock)
        self.start()

    def start(self) -> None:
        """A new process."""
        self.reader = self.journal.reader("lake", ["business"])
        self.keeper = LedgerKeeper(self.state, "lake", self.clock)
        self.indexer = Indexer(
            self.reader, self.sink, self.clock, flush_s=1.0, writer=AtOnce(), ledger=self.keeper
        )  # fmt: skip

    def steps(self, count: int = 8, each_s: float = 0.5) -> None:
        for _ in range(count):
            self.indexer.step()
            self.clock.advance(each_s)

    def committed(self, tp: TopicPartition = EAST) -> int:
        return self.reader.committed().get(tp, 0)

    def view(self) -> LedgerView:
        view = LedgerView(self.state)
        view.refresh()
        return view

    def begin_journal_anew(self, *batches: Batch, cut_at: int = 0) -> None:
        """As a topic that is deleted and made again, or one of which a new leader has less."""
        log = self.journal._logs[EAST]
        del log.records[cut_at:]
        self.journal.append(batches)

    def numbers(self) -> list[int]:
        return sorted(int(one.rpartition(":")[2]) for one in self.sink.events)

    def total(self, region: str = "cn-east") -> Total:
        return self.view().totals("lake").get((DAY, region, "pay", "business"), Total())


def test_what_is_settled_is_in_the_ledger_once_it_is_committed() -> None:
    bench = Bench()
    bench.journal.append([batch(1), batch(3, bad=True), batch(5).void("spool full"), batch(7)])
    bench.steps()
    assert bench.committed() == 4
    view = bench.view()
    assert view.position("lake", EAST) == 4
    assert bench.total() == Total(4, 2, 2)
    assert view.missing("lake", "bootcneast.business", 1, 9) == [(9, 9)]
    assert bench.indexer.metrics()["ledger_streams"] == 1


@pytest.mark.parametrize("began", [False, True])
def test_when_all_that_the_ledger_lacks_goes_to_another_reader_it_goes_on_with_the_rest(began: bool) -> None:
    bench = Bench()
    bench.reader.assigned = lambda: {EAST}  # type: ignore[method-assign]
    bench.steps(int(began))
    bench.state.writes_left = 0
    bench.journal.append([batch(1)])
    bench.steps()
    assert bench.indexer.health()["status"] == "waiting"
    bench.reader.assigned = lambda: set()  # type: ignore[method-assign]
    bench.steps()
    bench.state.writes_left = None
    bench.steps(80)
    assert bench.indexer.health()["why"] == ""


@pytest.mark.parametrize("keeps_positions", [False, True])
def test_while_the_ledger_can_not_be_kept_nothing_is_committed_and_it_goes_on_by_itself(
    keeps_positions: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(keeps_positions=keeps_positions)
    bench.journal.append([batch(1)])
    bench.steps()
    bench.state.writes_left = 0
    with caplog.at_level(logging.WARNING, "lastbeat.indexer"):
        for first in range(3, 23, 2):
            bench.journal.append([batch(first)])
            bench.steps(4)
    assert bench.committed() == 1
    assert len(bench.sink.writes) == 2, "nothing more is begun meanwhile"
    assert [line for line in caplog.messages if "ledger can't be kept" in line], caplog.messages
    health = bench.indexer.health()
    assert (health["status"], health["why"]) == ("waiting", "the disk is full")
    bench.state.writes_left = None
    bench.steps(80)
    assert bench.committed() == 11
    assert bench.total() == Total(22)
    assert bench.indexer.health()["status"] == "ok"
    assert bench.view().position("lake", EAST) == 11


@pytest.mark.parametrize("keeps_positions", [False, True])
def test_a_crash_between_the_sink_and_the_ledger_leaves_no_hole(keeps_positions: bool) -> None:
    bench = Bench(keeps_positions=keeps_positions)
    bench.journal.append([batch(1), batch(3, bad=True), batch(5).void("spool full")])
    bench.state.writes_left = 1
    bench.steps(4)
    assert len(bench.sink.events) == 2
    bench.state.writes_left = None
    assert bench.total() == Total()
    bench.start()
    bench.steps()
    assert bench.total() == Total(2, 2, 2)
    assert (bench.committed(), len(bench.sink.events), len(bench.sink.dead)) == (3, 2, 3)


def test_reading_goes_on_from_the_lower_of_the_ledgers_position_and_the_sinks() -> None:
    bench = Bench(keeps_positions=True)
    bench.journal.append([batch(1)])
    bench.steps()
    bench.journal.append([batch(3)])
    bench.state.writes_left = 0
    bench.steps()
    bench.state.writes_left = None
    assert bench.sink.positions() == {EAST: 2}
    assert bench.view().position("lake", EAST) == 1
    bench.start()
    bench.steps()
    assert [record.offset for write in bench.sink.writes for record in write] == [0, 1, 1]
    assert bench.total() == Total(4)


def test_a_commit_that_was_lost_leads_to_nothing_being_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.journal.append([batch(1), batch(3, bad=True)])

    def refuse(_: Mapping[TopicPartition, int]) -> None:
        raise Unavailable("no")

    monkeypatch.setattr(bench.reader, "commit", refuse)
    bench.steps()
    assert bench.total() == Total(2, 2)
    bench.start()
    bench.steps()
    assert bench.committed() == 2
    assert bench.total() == Total(2, 2)


def test_while_what_the_ledger_has_can_not_be_read_nothing_is_read_of_the_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    plain = bench.state.scan

    def down(*_: object) -> None:
        raise Unavailable("state is away")

    monkeypatch.setattr(bench.state, "scan", down)
    bench.journal.append([batch(1)])
    bench.steps(12)
    assert bench.sink.writes == []
    assert bench.indexer.health()["why"] == "state is away"
    monkeypatch.setattr(bench.state, "scan", plain)
    bench.steps(12)
    assert bench.total() == Total(2)
    assert bench.committed() == 1
    assert bench.indexer.health()["status"] == "ok"


def test_what_is_held_apart_is_neither_in_the_ledger_nor_below_its_position() -> None:
    bench = Bench()
    bench.sink.script(Retry([1]), Retry([0, 1]), Retry([0, 1]))
    bench.journal.append([batch(1), batch(3), batch(5)])
    bench.steps(3)
    view = bench.view()
    assert view.position("lake", EAST) == 1
    assert view.missing("lake", "bootcneast.business", 1, 6) == [(3, 4)]
    bench.steps(30)
    assert bench.view().position("lake", EAST) == 3
    assert bench.total() == Total(6)


def test_a_partition_that_goes_to_another_reader_and_comes_back_is_loaded_as_he_left_it() -> None:
    bench = Bench()
    bench.journal.append([batch(1), batch(1, region="cn-north")])
    bench.steps()
    owned = bench.reader.assigned
    bench.reader.assigned = lambda: {EAST}  # type: ignore[method-assign]
    bench.steps(2)
    assert bench.keeper.account(NORTH, "bootcnnorth.business") is None
    other = LedgerKeeper(bench.state, "lake", bench.clock)
    assert other.load([NORTH], {}) == {NORTH: 1}
    said = Header.decode(batch(3, region="cn-north").header.encode())
    other.settle([outcome(1, said)])
    other.flush({NORTH: 2})
    bench.reader.assigned = owned  # type: ignore[method-assign]
    bench.steps()
    account = bench.keeper.account(NORTH, "bootcnnorth.business")
    assert account is not None
    assert list(account.stored) == [(1, 4)]


def test_a_write_of_a_partition_that_was_lost_meanwhile_is_left_to_its_new_owner() -> None:
    bench = Bench()
    bench.journal.append([batch(1), batch(1, region="cn-north")])
    bench.steps(1)
    bench.clock.advance(2)
    plain = bench.sink.write

    def lose(records):  # type: ignore[no-untyped-def]
        bench.reader.assigned = lambda: {EAST}  # type: ignore[method-assign]
        bench.indexer._forget_lost_partitions()
        return plain(records)

    bench.sink.write = lose  # type: ignore[method-assign]
    bench.steps(2)
    assert bench.view().positions("lake") == {EAST: 1, NORTH: 0}
    assert bench.total("cn-north") == Total()
    bench.sink.write = plain  # type: ignore[method-assign]
    bench.start()
    bench.steps()
    assert bench.total("cn-north") == Total(2)


def test_records_of_a_partition_that_comes_while_it_is_read_wait_until_its_ledger_is_there() -> None:
    bench = Bench()
    bench.steps(1)
    bench.journal.append([batch(1)])
    bench.steps(8)
    bench.journal.append([batch(1, region="cn-north")])
    bench.steps(8)
    assert (bench.total(), bench.total("cn-north")) == (Total(2), Total(2))
    assert (bench.committed(EAST), bench.committed(NORTH)) == (1, 1)


_ACTION = st.tuples(
    st.sampled_from(("append", "bad", "void", "down", "up", "crash", "steps", "retry", "compact")), st.integers(1, 9)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_ACTION, max_size=30), st.booleans())
def test_whatever_breaks_when_the_ledger_ends_up_saying_what_the_sink_has_and_never_runs_ahead_of_it(
    actions: list[tuple[str, int]], keeps_positions: bool
) -> None:
    bench = Bench(keeps_positions=keeps_positions)
    first = 1
    for what, much in actions:
        if what in ("append", "bad", "void"):
            made = batch(first, much, bad=what == "bad")
            bench.journal.append([made.void("x") if what == "void" else made])
            first += much
        elif what in ("down", "up"):
            bench.state.writes_left = much % 4 if what == "down" else None
        elif what == "crash":
            bench.start()
        elif what == "retry":
            bench.sink.script(Retry([0]))
        elif what == "compact" and bench.state.writes_left is None:
            bench.keeper.compact(EAST)
        else:
            bench.steps(much)
        view = bench.view()
        settled = sum((total.settled for total in view.totals("lake").values()), 0)
        dead = sum(letter.count for letter in bench.sink.dead)
        assert settled <= len(bench.sink.events) + dead
        assert (view.position("lake", EAST) or 0) >= bench.committed()
    bench.state.writes_left = None
    bench.steps(400)
    view = bench.view()
    account = view.account("lake", "bootcneast.business")
    if first > 1:
        assert account is not None
        ids = [int(one.rpartition(":")[2]) for one in bench.sink.events]
        assert [number for span in account.stored for number in range(span[0], span[1] + 1)] == sorted(ids)
        assert view.missing("lake", "bootcneast.business", 1, first) == [(first, first)]
        assert len(account.dead) == sum(one.count for one in bench.sink.dead if not one.reason.startswith("void"))
    assert view.lies("lake") == []
    rows = len(list(bench.state.scan(Table.LEDGER)))
    bench.steps(100)
    assert len(list(bench.state.scan(Table.LEDGER))) == rows, "nothing is written when nothing happens"


@pytest.mark.parametrize("keeps_positions", [False, True])
def test_a_journal_that_begins_anew_has_its_own_position_and_is_read_from_its_start(keeps_positions: bool) -> None:
    bench = Bench(keeps_positions=keeps_positions)
    bench.journal.append([batch(1), batch(3), batch(5)])
    bench.steps()
    view = bench.view()
    assert view.position("lake", EAST) == 3
    bench.journal = MemoryJournal(bench.clock)
    bench.journal.append([batch(7), batch(9)])
    bench.start()
    if not keeps_positions:  # what the group had committed outlives the records
        bench.reader.commit({EAST: 3})
    bench.indexer.step()
    view.refresh()
    assert (view.position("lake", EAST) or 0) < 2, "else all that is beyond it would count as lost"
    bench.steps()
    view.refresh()
    assert (view.position("lake", EAST), bench.view().position("lake", EAST)) == (2, 2)
    assert bench.view().missing("lake", "bootcneast.business", 1, 10) == []
    assert bench.keeper.compact(EAST)
    assert bench.view().position("lake", EAST) == 2
    bench.start()
    bench.steps()
    assert bench.view().position("lake", EAST) == 2


def test_a_group_that_is_new_to_a_partition_whose_records_all_aged_out_is_at_its_end() -> None:
    bench = Bench()
    bench.journal.append([batch(1), batch(3)])
    bench.journal.delete_before(EAST, 2)
    bench.start()
    bench.steps(30)
    assert bench.view().position("lake", EAST) == 2


def test_after_a_gap_the_position_goes_on_behind_it() -> None:
    """What is gone there the audit shall find, and it can't before the position is past it."""
    bench = Bench()
    bench.journal.append([batch(1)])
    bench.steps()
    bench.indexer._reader.pause([EAST])
    bench.journal.append([batch(3), batch(5)])
    bench.journal.delete_before(EAST, 3)
    bench.indexer._reader.resume([EAST])
    bench.steps(30)
    assert len(bench.indexer.counters.gaps) == 1
    assert bench.view().position("lake", EAST) == 3


def test_a_journal_that_begins_anew_while_it_is_read_has_its_own_position() -> None:
    bench = Bench()
    bench.journal.append([batch(1), batch(3), batch(5)])
    bench.steps(30)
    bench.journal._logs[EAST] = type(bench.journal._logs[EAST])()
    bench.journal.append([batch(7)])
    bench.steps(30)
    assert bench.view().position("lake", EAST) == 1
    assert bench.view().missing("lake", "bootcneast.business", 1, 8) == []


def test_a_journal_that_begins_anew_while_the_ledger_cant_be_kept_is_known_once_it_can() -> None:
    bench = Bench()
    bench.journal.append([batch(1), batch(3), batch(5)])
    bench.steps(30)
    bench.state.writes_left = 0
    bench.journal._logs[EAST] = type(bench.journal._logs[EAST])()
    bench.journal.append([batch(7)])
    bench.steps(30)
    assert bench.view().position("lake", EAST) == 3
    bench.state.writes_left = None
    bench.steps(80)
    assert bench.view().position("lake", EAST) == 1, "without another start"
    assert bench.view().missing("lake", "bootcneast.business", 1, 8) == []
    assert bench.committed() == 1


def _begun_anew_while_held(bench: Bench, *, cut_at: int = 0) -> None:
    """Ten batches are read and not written yet, when of the journal there is only one with three."""
    bench.journal.append([batch(n, 1) for n in range(1, 11)])
    bench.steps(1, 0.1)
    bench.begin_journal_anew(*(batch(n, 1) for n in range(11, 14)), cut_at=cut_at)
    bench.steps(1, 0.1)
    assert bench.sink.writes == []
    assert len(bench.indexer.counters.gaps) == 1
    assert "begins anew" in bench.indexer.counters.gaps[0]


@pytest.mark.parametrize("keeps_positions", [False, True])
@pytest.mark.parametrize("cut_at", [0, 4])
def test_a_journal_that_begins_anew_while_of_the_old_one_is_held_is_read_whole_and_nothing_of_it_is_claimed(
    keeps_positions: bool, cut_at: int
) -> None:
    bench = Bench(keeps_positions=keeps_positions)
    _begun_anew_while_held(bench, cut_at=cut_at)
    assert bench.committed() == 0
    assert bench.view().position("lake", EAST) == 0
    bench.steps(3)
    assert bench.numbers()[:10] == list(range(1, 11)), "what is in no journal any more is written all the same"
    bench.steps(30)
    assert bench.numbers() == list(range(1, 14))
    end = cut_at + 3
    assert (bench.committed(), bench.view().position("lake", EAST)) == (end, end)
    assert len(bench.indexer.counters.gaps) == 1
    assert bench.total() == Total(13)


def test_a_journal_whose_end_was_lost_goes_no_further_than_what_is_held_from_before_it() -> None:
    bench = Bench()
    bench.journal.append([batch(n, 1) for n in range(1, 11)])
    bench.steps(1, 0.1)
    bench.begin_journal_anew(*(batch(n, 1) for n in range(11, 20)), cut_at=7)
    bench.reader.seek(EAST, 7)
    plain = bench.reader.poll

    def divergent(*_: object) -> None:
        bench.reader.poll = plain  # type: ignore[method-assign]
        raise Gap(EAST, 10, 7)

    bench.reader.poll = divergent  # type: ignore[assignment,method-assign]
    bench.steps(1, 0.1)
    assert (bench.committed(), bench.view().position("lake", EAST)) == (0, 0)
    bench.steps(30)
    assert bench.numbers() == list(range(1, 20))
    assert (bench.committed(), bench.view().position("lake", EAST)) == (16, 16)


@pytest.mark.parametrize("settles_first", [False, True])
def test_a_process_that_dies_after_its_journal_began_anew_leaves_all_of_the_new_one_to_the_next(
    settles_first: bool,
) -> None:
    bench = Bench()
    _begun_anew_while_held(bench)
    if settles_first:
        bench.reader.resume = lambda _: None  # type: ignore[method-assign]
        bench.steps(4)
        assert bench.total() == Total(10)
    bench.journal.append([batch(n, 1) for n in range(14, 26)])
    bench.start()
    bench.steps(30)
    assert bench.numbers()[-15:] == list(range(11, 26))
    assert (bench.committed(), bench.view().position("lake", EAST)) == (15, 15)


def test_a_stop_while_of_a_journal_that_began_anew_something_is_held_settles_and_claims_nothing_else() -> None:
    bench = Bench()
    _begun_anew_while_held(bench)
    stop = threading.Event()
    stop.set()
    bench.indexer.run(stop)
    assert bench.total() == Total(10)
    assert (bench.committed(), bench.view().position("lake", EAST)) == (0, 0)


def test_a_partition_whose_journal_began_anew_that_goes_and_comes_back_is_read_whole() -> None:
    bench = Bench()
    _begun_anew_while_held(bench)
    owned = bench.reader.assigned
    bench.reader.assigned = lambda: set()  # type: ignore[method-assign]
    bench.steps(2)
    bench.journal.append([batch(n, 1) for n in range(14, 26)])
    bench.reader.assigned = owned  # type: ignore[method-assign]
    bench.reader.seek(EAST, bench.committed())
    bench.steps(30)
    assert bench.numbers()[-15:] == list(range(11, 26))
    assert (bench.committed(), bench.view().position("lake", EAST)) == (15, 15)


def test_while_what_is_held_of_the_journal_before_can_not_be_stored_the_new_one_waits() -> None:
    bench = Bench()
    _begun_anew_while_held(bench)
    bench.sink.script(*[Unavailable("down")] * 3, *[Retry(range(10))] * 3)
    bench.steps(4)
    assert bench.reader.lag() == {EAST: 3}
    assert bench.numbers() == []
    bench.steps(80)
    assert bench.numbers() == list(range(1, 14))
    assert (bench.committed(), bench.view().position("lake", EAST)) == (3, 3)


@pytest.mark.parametrize("left", [0, 2])
@pytest.mark.parametrize("joins_at_the_oldest", [False, True])
@pytest.mark.parametrize("keeps_positions", [False, True])
def test_what_was_deleted_unread_is_told_though_the_group_is_gone_with_its_commits(
    left: int, joins_at_the_oldest: bool, keeps_positions: bool
) -> None:
    """A broker forgets a group that was away for a week; its topics keep less."""
    bench = Bench(keeps_positions=keeps_positions)
    bench.journal.append([batch(n, 1) for n in range(1, 4)])
    bench.steps()
    bench.journal.append([batch(n, 1) for n in range(4, 9)])
    bench.journal.delete_before(EAST, 8 - left)
    del bench.journal._committed["lake"]
    bench.start()
    if not joins_at_the_oldest:
        bench.journal._committed["lake"].clear()
    bench.steps(30)
    assert bench.indexer.counters.gaps == [str(Gap(EAST, 3, 8 - left))]
    assert bench.numbers() == [1, 2, 3, *range(9 - left, 9)]
    assert (bench.committed(), bench.view().position("lake", EAST)) == (8, 8)


@pytest.mark.parametrize("joins_at_the_oldest", [False, True])
def test_a_group_that_is_gone_with_its_commits_reads_a_journal_that_was_made_anew_whole(
    joins_at_the_oldest: bool,
) -> None:
    bench = Bench()
    bench.journal.append([batch(n, 1) for n in range(1, 4)])
    bench.steps()
    bench.journal = MemoryJournal(bench.clock)
    bench.journal.append([batch(n, 1) for n in range(4, 12)])
    bench.start()
    if not joins_at_the_oldest:
        bench.journal._committed["lake"].clear()
    bench.steps(30)
    assert bench.numbers() == list(range(1, 12))
    assert bench.indexer.counters.gaps == []
