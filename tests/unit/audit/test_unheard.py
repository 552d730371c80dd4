"""A process that was killed before its first beat: what is missing between the numbers that came is counted and named,
once it can't be on its way any more, and nobody is paged for it."""

from __future__ import annotations

from alerts.audit.accounts import LedgerAccounts
from alerts.audit.statement import total
from alerts.state.memory import MemoryState
from collector.ledger.keeper import LedgerKeeper
from collector.ledger.view import LedgerView
from collector.ports import Outcome, Record, TopicPartition
from shippers.batch import Header
from shippers.clock import FakeClock
from tests.unit.audit.books import Sender, World


def with_a_gap(*, beats: bool = False) -> tuple[World, Sender]:
    """Of thirty numbers, ten in the middle never came."""
    world = World("elastic", "lake")
    world.run(2)
    pay, other = Sender(world), Sender(world, "other-1", "other")
    pay.log(10)
    pay.send()
    pay.log(10)
    pay.send(lost=True)
    pay.log(10)
    pay.send()
    if beats:
        pay.beat()
    other.beat()
    world.run(5 if beats else 70)
    return world, pay


def unaccounted(world: World) -> dict[str, int]:
    return {sink: world.statement.of(sink).unaccounted for sink in ("elastic", "lake")}


def test_gaps_of_a_stream_that_no_beat_spoke_of_are_unaccounted_after_an_hour_and_no_loss() -> None:
    world, pay = with_a_gap()
    assert unaccounted(world) == {"elastic": 0, "lake": 0}
    world.clock.advance(3_700)
    world.run(2)
    assert unaccounted(world) == {"elastic": 10, "lake": 10}
    assert world.lost == {}
    assert not world.statement.is_balanced
    assert total(world.statement.lines, world.statement.of("lake")).service == ""
    [line] = [line for line in world.statement.lines if line.unaccounted and line.sink == "lake"]
    assert (line.service, line.emitted, line.stored) == ("pay", 30, 20)
    elastic, _ = world.statement.head.differences
    assert (elastic.stream, elastic.lacking) == (pay.stream, False)
    assert "elastic lacks 11–20 (10 events)" in elastic.words
    assert "no beat of that process was ever read" in elastic.words


def test_what_comes_late_or_is_spoken_of_late_is_no_such_gap() -> None:
    world, pay = with_a_gap()
    world.clock.advance(3_700)
    world.run(2)
    pay.beat()
    world.run(2)
    assert world.statement.head.differences == ()
    world, pay = with_a_gap(beats=True)
    world.run(30)
    assert set(world.lost.values()) == {((11, 20),)}, "of who spoke it is a loss"
    assert world.statement.head.differences == ()


def test_the_ledger_tells_the_gaps_of_streams_that_live() -> None:
    state, tp = MemoryState(), TopicPartition("lastbeat.eu.business", 0)
    keeper = LedgerKeeper(state, "lake", FakeClock())
    keeper.load({tp}, {})
    for offset, (stream, first) in enumerate([("a.business", 1), ("a.business", 21), ("b.business", 1)]):
        header = Header(stream, first, 10, "eu", "business", "2023-11-14", "pay", "pay-1", 0)
        record = Record(tp, offset, offset + 1, 0.0, header.encode(), b"")
        keeper.settle([Outcome(record, stored=10, header=header)])
    keeper.flush({tp: 3})
    view = LedgerView(state)
    view.refresh()
    [gaps] = LedgerAccounts(view).gaps("lake")
    assert (gaps.stream, gaps.service, gaps.holes) == ("a.business", "pay", ((11, 20),))
