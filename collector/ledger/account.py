"""One stream's account at one sink: which of its numbers are stored, dead or void, by day, and what its headers claim.

Accounts only ever grow together: merging is a union, in which stored beats dead and dead beats void, so that no order,
repetition or splitting of what happened makes a difference. It never reads or writes anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from collector.foreign.stream import is_foreign
from shippers.batch import Header

from .claims import Claim, appended, at_odds, claim_of, first_and_highest, first_of, last_of, pack, unpack
from .intervals import Interval, IntervalSet

SEVERAL = "several"
"""The service or instance of a stream that truthfully has more than one: a run of foreign records."""
SKEWED = "skewed"
"""How the name of what isn't a day begins: impossible ones, as a store keeps them together."""
PIECES = "too many pieces"
"""The lie of a stream whose numbers are scattered over more days or intervals than any honest one's."""
MOST_DAYS, MOST_PIECES = 1_000, 50_000
_MOST_LIES = 8


@dataclass(frozen=True, slots=True)
class Lie:
    """Two headers of one stream that can't both be true. `kind`: "overlap" (numbers in two different batches), "other
    content" (the same numbers again with another body), "two processes" (one boot id, two senders) or "too many
    pieces" (of such a stream only the span is kept).

    `ranges` are the numbers of both, `where` is the later one's place in the journal, as topic/partition/offset; both
    are (0, 0) and '' where that isn't known any more. A stream that lies is never balanced.
    """

    stream: str
    kind: str
    words: str
    ranges: tuple[Interval, Interval] = field(default=((0, 0), (0, 0)), compare=False)
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Total:
    """How many events were settled, and how."""

    stored: int = 0
    dead: int = 0
    void: int = 0

    def __add__(self, other: Total) -> Total:
        return Total(self.stored + other.stored, self.dead + other.dead, self.void + other.void)

    @property
    def settled(self) -> int:
        """All of them."""
        return self.stored + self.dead + self.void


class Day:
    """The numbers of one day; no number is in two of the sets."""

    __slots__ = ("day", "dead", "stored", "void")

    def __init__(self, day: str) -> None:
        self.day = day
        self.stored = IntervalSet()
        self.dead: IntervalSet | None = None
        self.void: IntervalSet | None = None

    def store(self, first: int, last: int) -> None:
        """These are in the store, whatever else was said of them."""
        self.stored.add(first, last)
        if self.dead is not None:
            self.dead.discard(first, last)
        if self.void is not None:
            self.void.discard(first, last)

    def bury(self, first: int, last: int) -> None:
        """These are dead letters, as far as they aren't in the store."""
        for gap in self.stored.missing(first, last):
            self.dead = self.dead or IntervalSet()
            self.dead.add(*gap)
            if self.void is not None:
                self.void.discard(*gap)

    def give_up(self, first: int, last: int) -> None:
        """These were given up before they came, as far as nothing better is known of them."""
        for gap in self.stored.missing(first, last):
            for left in self.dead.missing(*gap) if self.dead is not None else [gap]:
                self.void = self.void or IntervalSet()
                self.void.add(*left)

    def merge(self, other: Day) -> None:
        """All that the other knows."""
        for span in other.stored:
            self.store(*span)
        for span in other.dead or ():
            self.bury(*span)
        for span in other.void or ():
            self.give_up(*span)

    def sets(self) -> Iterator[IntervalSet]:
        """Those that there are."""
        yield self.stored
        if self.dead:
            yield self.dead
        if self.void:
            yield self.void

    def total(self) -> Total:
        """How many."""
        return Total(len(self.stored), len(self.dead or ()), len(self.void or ()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Day):
            return NotImplemented
        return self.day == other.day and list(map(list, self.sets())) == list(map(list, other.sets()))

    __hash__ = None  # type: ignore[assignment]  # it changes


class Account:
    """One stream at one sink. `certain` says that region, service and instance are a header's own word; else they were
    concluded from a replay, or from what the store has. `aged` are numbers of days past keeping: settled, and no more.
    """

    __slots__ = ("_claims", "aged", "certain", "days", "foreign", "instance", "last", "lies", "region", "service",
                 "stream", "touched")  # fmt: skip

    def __init__(self, stream: str, region: str = "", service: str = "", instance: str = "") -> None:
        self.stream = stream
        self.foreign = is_foreign(stream)
        self.region, self.service, self.instance = region, service, instance
        self.certain = False
        self.days: list[Day] = []
        self.aged: IntervalSet | None = None
        self.last = 0
        """The highest number that is settled."""
        self.lies: tuple[Lie, ...] = ()
        self.touched = 0
        """When it last changed here, in seconds of the owner's clock; not part of what is known."""
        self._claims = b""

    @property
    def dataset(self) -> str:
        """The stream's name says it."""
        return self.stream.rpartition(".")[2]

    @property
    def stored(self) -> IntervalSet:
        """Its numbers in the store, of all days that are kept."""
        return IntervalSet(span for day in self.days for span in day.stored)

    @property
    def dead(self) -> IntervalSet:
        """Its numbers that are dead letters."""
        return IntervalSet(span for day in self.days for span in day.dead or ()).without(self.stored)

    @property
    def void(self) -> IntervalSet:
        """Its numbers that were given up before they came."""
        void = IntervalSet(span for day in self.days for span in day.void or ())
        return void.without(self.stored).without(self.dead)

    @property
    def settled(self) -> IntervalSet:
        """Every number that is accounted for."""
        return IntervalSet(span for numbers in self._sets() for span in numbers)

    def missing(self, first: int, last: int) -> list[Interval]:
        """Which of these numbers are not accounted for, in order."""
        left = [(first, last)] if first <= last else []
        for numbers in self._sets():
            left = [gap for span in left for gap in numbers.missing(*span)]
        return left

    def gaps(self) -> list[Interval]:
        """What is not accounted for between its lowest and its highest number, in order."""
        if len(self.days) == 1 and not (self.aged or self.days[0].dead or self.days[0].void):
            return self.days[0].stored.gaps()  # as nearly all are
        return self.settled.gaps()

    def totals(self) -> dict[str, Total]:
        """By day. What is known of an impossible day only by the place that a store gave it (`skewed…`) counts there
        only as far as no header's day has it."""
        if self.days and self.days[-1].day[0].isdigit():
            return {day.day: day.total() for day in self.days}
        counted, found = IntervalSet(), dict[str, Total]()
        for day in self.days:  # those of headers come first
            sets = day.stored, day.dead or IntervalSet(), day.void or IntervalSet()
            found[day.day] = Total(*(len(numbers.without(counted)) for numbers in sets))
            for numbers in sets:
                counted.merge(numbers)
        return found

    def settle(self, header: Header, dead: Sequence[Interval] = (), void: Sequence[Interval] = ()) -> Lie | None:
        """All of a header's numbers are settled: `dead` are in the dead letters, the `void` ones among them as such,
        all others are in the store. See `bound` for what this returns."""
        day = self.day(header.day)
        if not dead:
            day.store(header.first, header.last)
        else:
            for span in IntervalSet(dead).missing(header.first, header.last):
                day.store(*span)
            for span in IntervalSet(dead).without(IntervalSet(void)):
                day.bury(*span)
            for span in void:
                day.give_up(*span)
        self.last = max(self.last, header.last)
        return self.bound() if self.lies or len(self.days) > MOST_DAYS else None

    @property
    def scattered(self) -> bool:
        """Whether of its numbers only the span is kept: as settled, and unproven."""
        return any(lie.kind == PIECES for lie in self.lies)

    @property
    def pieces(self) -> int:
        """How many intervals it takes to say all that is known of it."""
        return sum(numbers.pieces for numbers in self._sets())

    def bound(self) -> Lie | None:
        """Keep no more than the span of one that has too many pieces; the lie that this is, if it wasn't known."""
        if not (known := self.scattered) and len(self.days) <= MOST_DAYS and self.pieces <= MOST_PIECES:
            return None
        spans = [span for numbers in self._sets() for span in numbers]
        if spans:
            self.aged = IntervalSet([(min(spans)[0], max(last for _, last in spans))])
        self.days = []
        words = f"its numbers are scattered over more than {MOST_DAYS:,} days or {MOST_PIECES:,} intervals"
        return None if known else self.lie(Lie(self.stream, PIECES, words))

    def day(self, name: str) -> Day:
        """One day's numbers, to be changed."""
        for day in reversed(self.days):
            if day.day == name:
                return day
        self.days = sorted((*self.days, day := Day(sys.intern(name))), key=lambda one: one.day)
        return day

    def identify(self, region: str, service: str, instance: str, *, certain: bool, where: str = "") -> Lie | None:
        """Say who sends it. A header's own word replaces a conclusion; two headers that differ are a lie."""
        if not service or (self.certain and not certain):
            return None
        if certain and not self.certain:
            self._is_of(region, service, instance)
            self.certain = True
            return None
        mine, theirs = (self.region, self.service, self.instance), (region, service, instance)
        if mine == theirs:
            return None
        lower, higher = sorted((mine, theirs))
        self._is_of(*(lower if self.service else theirs))
        if not certain:
            return None
        words = f"{'/'.join(lower)} and {'/'.join(higher)}"
        return self.lie(Lie(self.stream, "two processes", words, ((0, 0), (0, 0)), where))

    def include(self, region: str, service: str, instance: str) -> None:
        """Say who sends it, of foreign records: a stream of theirs truthfully has several senders."""
        self._is_of(
            region,
            service if self.service in ("", service) else SEVERAL,
            instance if self.instance in ("", instance) else SEVERAL,
        )

    def claim(self, header: Header, where: str = "", *, judged: bool = True) -> Lie | None:
        """Remember what a header claims; a lie if it is at odds with what an earlier one claimed. Only the first
        and the highest batches are remembered, but a stream that goes back comes up to them as it goes on."""
        claim, new = claim_of(header), None
        if judged and header.first <= self.last:
            for other in at_odds(self._claims, claim):
                new = self.lie(_lie_of(self.stream, other, claim, where)) or new
        if not self._claims or claim > last_of(self._claims):
            self._claims = appended(self._claims, claim)
        else:
            self._claims = pack([*self.claims(), claim])
        return new

    def claims(self) -> list[Claim]:
        """What is remembered, in order."""
        return unpack(self._claims)

    @property
    def packed_claims(self) -> bytes:
        """The same, as it is kept."""
        return self._claims

    def lie(self, lie: Lie) -> Lie | None:
        """Keep a lie; None if it was known."""
        known = [one for one in self.lies if one == lie]
        if known and (known[0].where or not lie.where):
            return None
        others = [one for one in self.lies if one != lie]
        by_weight = sorted((*others, lie), key=lambda one: (one.kind != PIECES, one.kind, one.words))
        self.lies = tuple(by_weight[:_MOST_LIES])
        return None if known else lie

    def merge(self, other: Account) -> None:
        """All that the other knows of the same stream; what the two claim is held against each other."""
        if self.foreign:
            self.include(other.region, other.service, other.instance)
        else:
            self.identify(other.region, other.service, other.instance, certain=other.certain)
        for day in other.days:
            self.day(day.day).merge(day)
        if other.aged:
            self.aged = self.aged or IntervalSet()
            self.aged.merge(other.aged)
        self.last = max(self.last, other.last)
        self.touched = max(self.touched, other.touched)
        for lie in other.lies:
            self.lie(lie)
        if self.lies or len(self.days) > MOST_DAYS:
            self.bound()
        self.merge_claims(other.packed_claims)

    def merge_claims(self, packed: bytes) -> None:
        """What headers claimed, as it was kept elsewhere; in order, and held against each other there."""
        if packed == self._claims or not packed:
            return
        if not self._claims:
            self._claims = packed
            return
        first, count, _ = last_of(self._claims)
        if last_of(first_of(packed))[0] >= first + count:
            self._claims = first_and_highest(self._claims + packed)
            return
        claims = sorted({*self.claims(), *unpack(packed)})
        for i, claim in enumerate(claims):
            for other in claims[i + 1 :]:
                if other[0] >= claim[0] + claim[1]:
                    break
                self.lie(_lie_of(self.stream, claim, other, ""))
        self._claims = pack(claims)

    def age(self, before: str) -> None:
        """Forget the days before this one, but for which numbers they had; of months of impossible days those before
        its own."""
        old = [day for day in self.days if day.day < before or f"{SKEWED}-" < day.day < f"{SKEWED}-{before[:7]}"]
        if old:
            self.aged = self.aged or IntervalSet()
            for numbers in (numbers for day in old for numbers in day.sets()):
                self.aged.merge(numbers)
            self.days = [day for day in self.days if day not in old]

    def set_apart(self, after: str, month: str) -> None:
        """Days beyond `after` are no sound clock's, and would never be past keeping: from now on all that they have
        counts under the month in which it came, as it does in Elasticsearch."""
        if wild := [day for day in self.days if after < day.day < SKEWED]:
            self.days = [day for day in self.days if day not in wild]
            for day in wild:
                self.day(f"{SKEWED}-{month}").merge(day)

    @property
    def is_brief(self) -> bool:
        """Whether folding it loses nothing: there was one batch."""
        return self._claims == first_of(self._claims)

    def _is_of(self, region: str, service: str, instance: str) -> None:
        self.region, self.service, self.instance = sys.intern(region), sys.intern(service), instance

    def _sets(self) -> Iterator[IntervalSet]:
        if self.aged:
            yield self.aged
        for day in self.days:
            yield from day.sets()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Account):
            return NotImplemented
        return self._known() == other._known()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def _known(self) -> tuple[object, ...]:
        who = self.stream, self.region, self.service, self.instance, self.certain
        return *who, self.days, list(self.aged or ()), self._claims, self.lies

    def __repr__(self) -> str:
        return f"Account({self.stream!r}, {self.totals()!r})"


def _lie_of(stream: str, one: Claim, other: Claim, where: str) -> Lie:
    low, high = sorted((one, other))
    kind = "other content" if low[:2] == high[:2] else "overlap"
    words = " and ".join(f"{first}-{first + count - 1} with crc {crc}" for first, count, crc in (low, high))
    ranges = (one[0], one[0] + one[1] - 1), (other[0], other[0] + other[1] - 1)
    return Lie(stream, kind, words, ranges, where)
