"""Store against archive against ledger: what is really there is counted, and every difference is named by its ranges.

The ledger is read first, so that a store may have more than it, and never less: what it has as stored and the store
lacks was deleted, or was never there. Decides from counts where they agree; only streams of which they don't are
looked at number by number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from collector.ledger.intervals import IntervalSet
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


def count(
    days: Sequence[str],
    region: str,
    stores: Mapping[str, Inventory],
    books: Books,
    gone: Gone,
    behind: Mapping[str, bool],
    today: str,
) -> Counted:
    """Count these days. `behind`: whether a sink has yet to read what others may have read. Raises Unavailable."""
    found = Counted(tuple(days))
    for day in days:
        booked = {sink: books(sink, day, region) for sink in stores}
        held = {sink: _held(store, day, region) for sink, store in stores.items()}
        for sink, store in stores.items():
            found.events[sink, day] = sum(each.count for each in held[sink].values())
            for place in sorted({*booked[sink], *held[sink]}):
                if gone(sink, place[0], place[1], day):
                    continue
                words = _against_ledger(
                    store, held[sink].get(place), booked[sink].get(place), place, is_over=day < today
                )
                if words:
                    lacking = words.startswith("lacks")
                    found.differences.append(_difference(day, place, f"{sink} {words}", lacking=lacking))
        found.differences += _against_each_other(day, booked, gone, behind)
    return found


def _held(store: Inventory, day: str, region: str) -> dict[Place, Held]:
    return {(each.dataset, each.region, each.stream): each for each in store.inventory(day, region)}


def _against_ledger(store: Inventory, held: Held | None, booked: Booked | None, place: Place, *, is_over: bool) -> str:
    """How one store differs from its own ledger, in words; '' if it doesn't."""
    stored = booked.stored if booked is not None else IntervalSet()
    if held is None:
        lacks = elsewhere(store, place, stored)
        return f"lacks {_ranges(lacks)}, which its ledger has as stored" if lacks else ""
    if _agree(held, stored):
        return ""
    runs = IntervalSet(store.runs(held))
    words = []
    if lacks := elsewhere(store, place, stored.without(runs)):
        words.append(f"lacks {_ranges(lacks)}, which its ledger has as stored")
    if is_over and (extra := runs.without(stored)):
        words.append(f"has {_ranges(extra)}, of which its ledger knows nothing")
    if (twice := held.count - len(runs)) > 0:
        words.append(f"has {twice:,} events twice")
    return " and ".join(words)


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


def _against_each_other(
    day: str, booked: Mapping[str, Mapping[Place, Booked]], gone: Gone, behind: Mapping[str, bool]
) -> Iterator[Difference]:
    """What one store has, and another has neither stored nor otherwise settled, though it has read everything."""
    for sink, mine in booked.items():
        for other, theirs in booked.items():
            if other == sink or behind.get(other, True):
                continue
            for place, one in mine.items():
                known = theirs.get(place)
                left = one.stored if known is None else one.stored.without(known.stored).without(known.other)
                if left and not gone(other, place[0], place[1], day):
                    yield _difference(day, place, f"{other} lacks {_ranges(left)}, which {sink} has")


def unproven(
    dataset: str, region: str, day: str, hot: Inventory, archive: Inventory, books: Books, names: tuple[str, str]
) -> list[Difference]:
    """Every number of one day that the hot store has, or had by its ledger, and that the archive neither holds nor has
    among its dead letters: while there is one, the day must not go. `names`: of hot store and archive, as sinks."""
    mine, theirs = (books(name, day, region) for name in names)
    kept = _held(archive, day, region)
    wanted: dict[Place, IntervalSet] = {place: IntervalSet(one.stored) for place, one in mine.items()}
    for place, held in _held(hot, day, region).items():
        whole = [(held.first, held.last)] if held.whole else hot.runs(held)
        wanted.setdefault(place, IntervalSet()).merge(IntervalSet(whole))
    found = []
    for place, numbers in sorted(wanted.items(), key=lambda each: each[0]):
        if place[0] != dataset or not numbers:
            continue
        there = kept.get(place)
        runs = [] if there is None else [(there.first, there.last)] if there.whole else archive.runs(there)
        left = numbers.without(IntervalSet(runs))
        if left and (known := theirs.get(place)) is not None:
            left = left.without(known.other)
        if left := elsewhere(archive, place, left):
            found.append(_difference(day, place, f"{names[1]} lacks {_ranges(left)}"))
    return found


def _difference(day: str, place: Place, words: str, *, lacking: bool = True) -> Difference:
    return Difference(day, place[1], place[0], place[2], words, lacking)


def _ranges(numbers: Iterable[tuple[int, int]]) -> str:
    listed = list(numbers)
    return f"{ranges(listed, MOST_RANGES)} ({size(listed):,} events)"
