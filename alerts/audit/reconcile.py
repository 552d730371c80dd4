"""What is to be said of one stream in one sink: the decision that everything else here serves. Pure.

A number is called lost only if its sender said that it was durable, everybody who had to read it has read past it, and
it is in no interval. All else is on its way, or was cut off with its process, which is said as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from collector.ledger.intervals import Interval, IntervalSet

from .said import Mark

Missing = Callable[[int, int], list[Interval]]
"""Which numbers from first to last a sink's ledger has in no interval, in order."""


class Verdict(StrEnum):
    """What a stream's numbers come to. Ordered worst first."""

    LYING = "lying"
    HOLE = "hole"
    TAIL = "tail missing"
    FLIGHT = "in flight"
    DROPPED = "dropped by the host"
    BALANCED = "balanced"


@dataclass(frozen=True, slots=True)
class Facts:
    """One stream, as its process and one sink's ledger have it.

    last: the greatest number that the process said, or that the ledger has. acked: up to here all was durable, and the
    sink was read past it; ripe: the same of a beat at least one interval old. proven: up to here nothing is to be
    judged. over: the process ended, or was not heard for long, and the sink was read past all that came before that.
    spooled: what it could not send waits on disk. dropped: before it had a number.
    """

    last: int
    acked: int
    ripe: int
    proven: int = 0
    over: bool = False
    spooled: bool = False
    lying: bool = False
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict, and what it rests on. `holes` are lost, of which `ripe` have been so for two beats; `tail` was cut
    off with its process; `flight` counts what is on its way. `proven`: up to here all is accounted for."""

    verdict: Verdict
    holes: tuple[Interval, ...] = ()
    ripe: tuple[Interval, ...] = ()
    tail: tuple[Interval, ...] = ()
    flight: int = 0
    proven: int = 0


def judge(facts: Facts, missing: Missing) -> Judged:
    """The verdict on one stream in one sink."""
    acked = min(facts.acked, facts.last)
    gone = missing(facts.proven + 1, facts.last) if facts.last > facts.proven else []
    holes = cut(gone, facts.proven + 1, acked)
    open_ = cut(gone, max(acked, facts.proven) + 1, facts.last)
    tail = open_ if facts.over and not facts.spooled else ()
    proven = min(gone[0][0] - 1 if gone else facts.last, max(acked, facts.proven))
    return Judged(
        _verdict(facts, holes, tail, open_),
        holes,
        cut(holes, facts.proven + 1, min(facts.ripe, acked)),
        tail,
        0 if tail else size(open_),
        max(proven, facts.proven),
    )


def _verdict(facts: Facts, holes: object, tail: object, open_: object) -> Verdict:
    if facts.lying:
        return Verdict.LYING
    if holes:
        return Verdict.HOLE
    if tail:
        return Verdict.TAIL
    if open_:
        return Verdict.FLIGHT
    return Verdict.DROPPED if facts.dropped else Verdict.BALANCED


def acked_by(marks: Iterable[Mark], passed: int, seen_before: float = float("inf")) -> int:
    """The greatest `acked` that a sink can be held to: of marks up to the round it has passed, seen early enough."""
    return max((each.acked for each in marks if each.round <= passed and each.seen <= seen_before), default=0)


def cut(intervals: Iterable[Interval], first: int, last: int) -> tuple[Interval, ...]:
    """What of sorted intervals lies from `first` to `last`."""
    return tuple((max(a, first), min(b, last)) for a, b in intervals if a <= last and b >= first)


def size(intervals: Iterable[Interval]) -> int:
    """How many numbers intervals have."""
    return sum(last - first + 1 for first, last in intervals)


def filled(before: Iterable[Interval], now: Iterable[Interval]) -> list[Interval]:
    """What was missing and is so no longer."""
    still = IntervalSet(now)
    return [part for first, last in before for part in still.missing(first, last)]


def ranges(intervals: Iterable[Interval], most: int = 8) -> str:
    """`101–300, 512`; of many, the first few and how many more."""
    listed = list(intervals)
    words = ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in listed[:most])
    return words + (f" and {len(listed) - most} more ranges" if len(listed) > most else "")


def by_reason(counts: Mapping[str, int]) -> str:
    """`12 full, 3 refused`."""
    return ", ".join(f"{number:,} {reason}" for reason, number in sorted(counts.items(), key=lambda each: -each[1]))
