"""Store against archive against ledger: what is really there is counted, and every difference is named by its ranges.

On a system that runs. The ledger is read before the stores are counted, so that what it has as stored was there: it is
asked what a store lacks. It is read again behind the journal's ends as they were after counting: then all that could be
counted is in it, and it is asked what a store has too much, and what another one lacks. Decides from counts where they
agree; only streams of which they don't are looked at number by number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from collector.ledger.intervals import Interval, IntervalSet
from collector.ledger.inventory import Held, Inventory

from .reconcile import ranges, size
from .statement import Difference

Place = tuple[str, str, str]
"""Dataset, region and stream."""

MOST_RANGES = 20


@dataclass(frozen=True, slots=True)
class Booked:
    """What one sink's ledger has of a stream on one day: stored, and settled in any other way (dead, void)."""

    stored: IntervalSet
    other: IntervalSet


Books = Callable[[str, str, str], Mapping[Place, Booked]]
"""What a sink's ledger has of a day, of one region or of all ('')."""
Gone = Callable[[str, str, str, str], bool]
"""Whether a sink has let a day go on purpose: sink, dataset, region, day."""


@dataclass(slots=True)
class Counted:
    """What counting came to. `events` by sink and day."""

    days: tuple[str, ...] = ()
    events: dict[tuple[str, str], int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Later:
    """What is known once the stores were counted. `books` were read then, and `behind` says of which sinks they do not
    reach the journal's ends, taken after counting too. `gone` was read last: days go while others are counted."""

    books: Books
    behind: Mapping[str, bool]
    gone: Gone


def count(
    days: Sequence[str], region: str, stores: Mapping[str, Inventory], books: Books, later: Callable[[], Later]
) -> Counted:
    """Count these days. `books` were read before; `later` is called once, after counting. Raises Unavailable."""
    found = Counted(tuple(days))
    odd: list[_Odd] = []
    short: list[_Short] = []
    for day in days:
        booked = {sink: books(sink, day, region) for sink in stores}
        for sink, store in stores.items():
            held = held_by(store, day, region)
            found.events[sink, day] = sum(each.count for each in held.values())
            for place in sorted({*booked[sink], *held}):
                one = _against_ledger(store, sink, day, place, held.get(place), booked[sink].get(place))
                odd += [one] if one is not None else []
        short += _against_each_other(day, booked)
    _decide(found, region, odd, short, later())
    return found


@dataclass(frozen=True, slots=True)
class _Odd:
    """What differs between a store and what its ledger had before; what is `extra` may have come since."""

    sink: str
    day: str
    place: Place
    lacks: IntervalSet
    extra: IntervalSet
    twice: int


@dataclass(frozen=True, slots=True)
class _Short:
    """What one sink had stored and another had not settled; it may have since."""

    sink: str
    other: str
    day: str
    place: Place
    left: IntervalSet


def _decide(found: Counted, region: str, odd: Sequence[_Odd], short: Sequence[_Short], now: Later) -> None:
    """What of all this is a difference, as is known by now. A sink that has not read to the ends is not asked again."""
    asked: dict[tuple[str, str], Mapping[Place, Booked]] = {}

    def booked(sink: str, day: str, place: Place) -> Booked:
        if (sink, day) not in asked:
            asked[sink, day] = now.books(sink, day, region)
        return asked[sink, day].get(place) or Booked(IntervalSet(), IntervalSet())

    for one in odd:
        if now.gone(one.sink, one.place[0], one.place[1], one.day):
            continue
        parts = [f"lacks {listed(one.lacks)}, which its ledger has as stored"] if one.lacks else []
        if one.extra and not now.behind.get(one.sink, True):
            extra = one.extra.without(booked(one.sink, one.day, one.place).stored)
            parts += [f"has {listed(extra)}, of which its ledger knows nothing"] if extra else []
        parts += [f"has {one.twice:,} events twice"] if one.twice else []
        if parts:
            words = f"{one.sink} {' and '.join(parts)}"
            found.differences.append(differing(one.day, one.place, words, one.sink, one.lacks))
    for each in short:
        if now.behind.get(each.other, True) or now.gone(each.other, each.place[0], each.place[1], each.day):
            continue
        if left := _unsettled(each.left, booked(each.other, each.day, each.place)):
            words = f"{each.other} lacks {listed(left)}, which {each.sink} has"
            found.differences.append(differing(each.day, each.place, words, each.other, left))


def held_by(store: Inventory, day: str, region: str) -> dict[Place, Held]:
    """What a store has of a day, counted."""
    return {(each.dataset, each.region, each.stream): each for each in store.inventory(day, region)}


def _against_ledger(
    store: Inventory, sink: str, day: str, place: Place, held: Held | None, booked: Booked | None
) -> _Odd | None:
    """How one store differs from its own ledger; None if it doesn't."""
    stored = booked.stored if booked is not None else IntervalSet()
    if held is not None and _agree(held, stored):
        return None
    runs = IntervalSet(store.runs(held)) if held is not None else IntervalSet()
    lacks = elsewhere(store, place, stored.without(runs))
    twice = max(0, held.count - len(runs)) if held is not None else 0
    odd = _Odd(sink, day, place, lacks, runs.without(stored), twice)
    return odd if odd.lacks or odd.extra or odd.twice else None


def elsewhere(store: Inventory, place: Place, numbers: IntervalSet) -> IntervalSet:
    """Which of these are not even where the store puts days that no sound clock gives, nor there under an identity that
    their lines contradict."""
    dataset, region, stream = place
    left = numbers
    for day in store.days() if numbers else ():
        if not day[:1].isdigit():
            for held in store.inventory(day, region):
                if (held.dataset, held.stream) == (dataset, stream):
                    left = left.without(IntervalSet(store.runs(held)))
    return left.without(store.identified(*place, left)) if left else left


def _agree(held: Held, stored: IntervalSet) -> bool:
    """Whether counts alone prove that both have the same: one run each, with the same ends."""
    spans = list(stored)
    return len(spans) == 1 and held.whole and (held.first, held.last) == spans[0]


def _against_each_other(day: str, booked: Mapping[str, Mapping[Place, Booked]]) -> Iterator[_Short]:
    """What one store has, and another has neither stored nor otherwise settled."""
    for sink, mine in booked.items():
        for other, theirs in booked.items():
            for place, one in mine.items() if other != sink else ():
                if left := _unsettled(one.stored, theirs.get(place)):
                    yield _Short(sink, other, day, place, IntervalSet(left))


def _unsettled(numbers: IntervalSet, booked: Booked | None) -> IntervalSet:
    return numbers if booked is None else numbers.without(booked.stored).without(booked.other)


def differing(day: str, place: Place, words: str, sink: str = "", lacks: Iterable[Interval] = ()) -> Difference:
    """One place that differs, in words, and what `sink` lacks of it that is to be got back."""
    lacking = tuple(lacks)
    return Difference(day, place[1], place[0], place[2], words, bool(lacking), sink, lacking)


def listed(numbers: Iterable[Interval]) -> str:
    """Which numbers, and how many."""
    runs = list(numbers)
    return f"{ranges(runs, MOST_RANGES)} ({size(runs):,} events)"
