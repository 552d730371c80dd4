"""Interval sets behave as sets of numbers do, whatever is added in whatever order."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from collector.ledger.intervals import IntervalSet
from collector.ledger.streams import StreamLedger

intervals = st.tuples(st.integers(0, 60), st.integers(-3, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def numbers(*spans: tuple[int, int]) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


@given(st.lists(intervals), st.lists(intervals))
def test_it_holds_what_was_added_and_nothing_else(some: list[tuple[int, int]], more: list[tuple[int, int]]) -> None:
    kept, other = IntervalSet(some), IntervalSet(more)
    assert {number for number in range(-5, 90) if number in kept} == numbers(*some)
    assert len(kept) == len(numbers(*some))
    assert bool(kept) == bool(numbers(*some))
    kept.merge(other)
    assert numbers(*kept) == numbers(*some, *more)
    assert kept == IntervalSet([*more, *some])


@given(st.lists(intervals))
def test_intervals_are_in_order_and_neither_overlap_nor_touch(some: list[tuple[int, int]]) -> None:
    found = list(IntervalSet(some))
    assert all(first <= last for first, last in found)
    assert all(left[1] + 1 < right[0] for left, right in itertools.pairwise(found))


@given(st.lists(intervals), intervals)
def test_missing_is_what_is_asked_for_less_what_is_there(some: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    kept = IntervalSet(some)
    missing = kept.missing(*asked)
    assert numbers(*missing) == numbers(asked) - numbers(*some)
    assert missing == sorted(missing)
    for first, last in missing:
        kept.add(first, last)
    assert kept.missing(*asked) == []


@given(st.lists(intervals))
def test_gaps_are_the_holes_between_the_smallest_and_the_largest(some: list[tuple[int, int]]) -> None:
    held = numbers(*some)
    expected = set(range(min(held), max(held) + 1)) - held if held else set()
    assert numbers(*IntervalSet(some).gaps()) == expected


def test_a_million_numbers_in_a_row_are_one_interval() -> None:
    kept = IntervalSet()
    for first in range(1, 1_000_001, 200):
        kept.add(first, first + 199)
    assert list(kept) == [(1, 1_000_000)]


def test_streams_know_nothing_of_each_other() -> None:
    ledger, other = StreamLedger(), StreamLedger()
    ledger.add("a", 1, 5)
    assert ledger.missing("a", 4, 8) == [(6, 8)]
    assert ledger.missing("b", 4, 8) == [(4, 8)]
    other.add("a", 7, 7)
    other.add("b", 4, 8)
    ledger.merge(other)
    assert ledger.missing("a", 1, 8) == [(6, 6), (8, 8)]
    assert ledger.missing("b", 4, 8) == []
    assert ledger.streams() == ["a", "b"]
    ledger.numbers("a").add(1, 100)
    assert ledger.missing("a", 6, 6) == [(6, 6)], "a copy was given away"
