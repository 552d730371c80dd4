"""Whether an old day may go: proven by every number that the hot store has, asked and answered by rows in State."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.audit.counting import Booked, Place
from alerts.audit.proving import Proof, Proofs, no_archive, prove
from alerts.audit.statement import Difference
from alerts.state.memory import MemoryState
from collector.ledger.intervals import Interval
from collector.ports import Table
from shippers.clock import FakeClock

from .test_counting import DAY, PAY, Shelf, booked


def held_against(
    hot: Shelf, archive: Shelf, hot_book: list[Interval], archive_dead: list[Interval] | None = None
) -> Proof:
    def books(sink: str, day: str, region: str) -> Mapping[Place, Booked]:
        return booked(hot_book) if sink == "elastic" else booked([], archive_dead)

    return prove(*PAY[:2], DAY, hot, archive, books, ("elastic", "lake"))


def left(*args: Shelf | list[Interval]) -> list[str]:
    return [each.words.removeprefix("is old and kept: ") for each in held_against(*args).left]  # type: ignore[arg-type]


def test_a_day_may_go_only_when_the_archive_has_every_number_of_it() -> None:
    assert left(Shelf((1, 10)), Shelf((1, 10)), [(1, 10)]) == []
    assert left(Shelf((1, 10)), Shelf((1, 4), (6, 11)), [(1, 10)]) == ["lake lacks 5 (1 events)"], "as many, but others"
    assert left(Shelf((1, 10)), Shelf((1, 9)), [(1, 10)], [(10, 10)]) == []
    assert left(Shelf((1, 10)), Shelf(), []) == ["lake lacks 1–10 (10 events)"]


def test_what_is_nowhere_is_told_and_keeps_no_day() -> None:
    proof = held_against(Shelf((1, 4)), Shelf((1, 5)), [(1, 10)])
    assert proof.left == ()
    assert [each.words for each in proof.nowhere] == [
        "neither elastic nor lake has 6–10 (5 events), which elastic had stored"
    ]


def test_a_line_counted_under_another_stream_is_held_to_its_own_identity() -> None:
    hot = Shelf((1, 4))
    hot.hidden.add(5, 5)
    assert left(hot, Shelf((1, 4)), [(1, 5)]) == ["lake lacks 5 (1 events)"]
    assert left(hot, Shelf((1, 5)), [(1, 5)]) == []
    mislabelled = Shelf((7, 7))
    mislabelled.mislabelled = True
    assert left(mislabelled, Shelf(), []) == [], "no event is called that"
    assert left(mislabelled, Shelf(), [(7, 7)]) != []


class Desk:
    """Ageing on one side, the auditor on the other. `proof` is what counting comes to."""

    def __init__(self) -> None:
        self.state, self.clock = MemoryState(), FakeClock()
        self.proof, self.counts = Proof(), 0

    def may_go(self, events: int = 10) -> bool:
        self.clock.advance(600)
        return Proofs(self.state, self.clock).is_archived(*PAY[:2], DAY, events)

    def audit(self, *deleted: tuple[str, str, str]) -> list[Difference]:
        def count(dataset: str, region: str, day: str) -> Proof:
            assert (dataset, region, day) == (*PAY[:2], DAY)
            self.counts += 1
            return self.proof

        self.clock.advance(1)
        return Proofs(self.state, self.clock).answer(count, deleted)


def test_a_day_goes_once_the_auditor_has_proven_it_and_is_counted_once_for_each_time_it_is_asked() -> None:
    desk = Desk()
    desk.proof = Proof((Difference(DAY, "eu", "business", PAY[2], "is old and kept: lake lacks 5 (1 events)"),))
    assert desk.audit() == []
    assert not desk.may_go()
    assert not desk.may_go()
    for _ in range(3):
        assert [each.words for each in desk.audit()] == ["is old and kept: lake lacks 5 (1 events)"]
    assert desk.counts == 1
    assert not any(each.lacking for each in desk.audit()), "kept is not lost: nobody is paged"
    assert not desk.may_go()
    desk.proof = Proof()
    assert desk.audit() == []
    assert desk.counts == 2
    assert desk.may_go()


def test_an_event_that_comes_after_the_count_makes_it_void() -> None:
    desk = Desk()
    desk.may_go(10)
    desk.audit()
    assert not desk.may_go(11)
    desk.audit()
    assert desk.may_go(11)
    assert not desk.may_go(12)


def test_what_is_empty_may_go_and_what_went_is_forgotten() -> None:
    desk = Desk()
    assert desk.may_go(0)
    assert not desk.may_go(1)
    desk.audit()
    assert desk.audit((*PAY[:2], DAY)) == []
    assert list(desk.state.scan(Table.AUDIT)) == []


def test_an_archive_that_the_auditor_does_not_see_is_told_and_keeps_the_day() -> None:
    desk = Desk()
    desk.may_go()
    [difference] = Proofs(desk.state, desk.clock).answer(no_archive("/data/lake"), ())
    assert "the archive at /data/lake can't be counted from the auditor's host" in difference.words
    assert not desk.may_go()
