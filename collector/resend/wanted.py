"""What is missing, who may have a copy of it, and what came of asking: the words that all sources share.

Pure. A source finds copies and never sends; `recovery` sends and never looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from collector.ledger.intervals import Interval, IntervalSet
from shippers.batch import Batch

JOURNAL, ARCHIVE, SPOOL = "journal", "archive", "spool"
ORDER = (JOURNAL, ARCHIVE, SPOOL)
"""The cheapest copy first; the first two are the platform's own, the last is asked of a service."""

LAKE, ELASTIC = "lake", "elastic"
"""The stores' names, as the ledger has them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Numbers of a stream that are looked for.

    since, until: between which times (seconds since the epoch) the journal took them in, as far as that is known.
    Region, service and instance are the sender's where they are known, else ''.
    """

    stream: str
    numbers: tuple[Interval, ...]
    since: float
    until: float
    region: str = ""
    service: str = ""
    instance: str = ""

    @property
    def dataset(self) -> str:
        """What the stream is of."""
        return self.stream.rpartition(".")[2]

    @property
    def boot(self) -> str:
        """Whose it is."""
        return self.stream.partition(".")[0]

    def parts(self, first: int, last: int) -> list[Interval]:
        """Which of the numbers from `first` to `last` are wanted."""
        return [(max(first, low), min(last, high)) for low, high in self.numbers if low <= last and high >= first]


class Source(Protocol):
    """Where there may be copies. Used by one thread; each call opens what it needs and lets go of it."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def find(self, wanted: Wanted) -> Iterator[Batch]:
        """Sound batches that have wanted numbers, in bounded memory; perhaps others beside them, none in vain.

        Blocks for as long as looking takes. Raises Unavailable, in the midst of it as well: then what it gave counts.
        """
        ...


class Asking(Protocol):
    """A service's own spool: it can only be asked, and answers later or never."""

    def ask(self, wanted: Wanted) -> Asked:
        """Ask for these, or see what became of asking before. Returns at once. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of numbers that a service was asked for: sent again, not there any more, or not yet known."""

    sent: tuple[Interval, ...] = ()
    lacking: tuple[Interval, ...] = ()
    pending: tuple[Interval, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of it: the numbers that were sent again, by the source they were in, and those that were in none.

    `pending` is what of `left` its service was asked for and may yet send; `lacking` what it said it has no more.
    `trouble` says, by source, why it could not be asked, or what it had and could not be sent.
    """

    found: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    left: tuple[Interval, ...] = ()
    pending: tuple[Interval, ...] = ()
    lacking: tuple[Interval, ...] = ()
    trouble: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether nothing is left."""
        return not self.left


def without(numbers: Iterable[Interval], gone: IntervalSet) -> tuple[Interval, ...]:
    """The numbers that are not in `gone`."""
    return tuple(part for first, last in numbers for part in gone.missing(first, last))


def count_of(numbers: Iterable[Interval]) -> int:
    """How many numbers there are."""
    return sum(last - first + 1 for first, last in numbers)


def spelled(numbers: Iterable[Interval]) -> str:
    """Numbers for people: `101–300, 412`."""
    return ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in numbers)


def words_of(found: Recovered) -> str:
    """What came of it, for people, in one line."""
    parts = [f"{spelled(numbers)} sent again from the {name}" for name, numbers in found.found.items()]
    nowhere = without(found.left, IntervalSet((*found.pending, *found.lacking)))
    for numbers, words in (
        (found.pending, "asked of its service"),
        (found.lacking, "which its service has no more"),
        (nowhere, "nowhere to be had"),
    ):
        if numbers:
            parts.append(f"{spelled(numbers)} {words}")
    return "; ".join([*parts, *(f"{name} can't be asked: {why}" for name, why in found.trouble.items())])
