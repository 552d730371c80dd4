"""Works the statement out from what everybody said, what the sinks have, and what was judged. Pure but for what the
ledger has read already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from collector.ledger.intervals import Interval
from collector.ports import TopicPartition

from .accounts import Accounts, Key
from .assess import Assessor
from .said import AUDITED, Boot, Roll
from .statement import COUNTS, Difference, Head, Liar, Line, Statement, Tail
from .unheard import Unsaid

MOST_NAMED = 200
"""So many tails and liars are named; all of them count."""


class Sums:
    """Lines in the making, by key and sink."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Key, str], dict[str, int]] = {}
        self._drops: dict[Key, dict[str, int]] = {}

    def add(self, key: Key, sink: str, **counts: int) -> None:
        """Count events of one sink."""
        line = self._counts.setdefault((key, sink), {})
        for name, number in counts.items():
            line[name] = line.get(name, 0) + number

    def drop(self, key: Key, reasons: Mapping[str, int]) -> None:
        """Count what never had a number: it is missing in every sink alike."""
        total = self._drops.setdefault(key, {})
        for reason, number in reasons.items():
            total[reason] = total.get(reason, 0) + number

    def lines(self, sinks: Sequence[str]) -> tuple[Line, ...]:
        """The lines, in order."""
        for key in self._drops:
            for sink in sinks:
                self._counts.setdefault((key, sink), {})
        return tuple(
            _line(key, sink, counts, self._drops.get(key, {}))
            for (key, sink), counts in sorted(self._counts.items(), key=lambda each: each[0])
        )


def _line(key: Key, sink: str, counts: Mapping[str, int], dropped: Mapping[str, int]) -> Line:
    numbers = {name: counts.get(name, 0) for name in COUNTS}
    return replace(Line(*key, sink, dropped=dropped), **numbers)  # type: ignore[arg-type]  # they are all counts


class Counts(NamedTuple):
    """When the stores were last counted and what came of it; `trouble`, why they could not be since."""

    at: float | None = None
    days: tuple[str, ...] = ()
    sinks: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    trouble: str = ""


def work_out(
    roll: Roll,
    accounts: Accounts,
    assessor: Assessor,
    ends: Mapping[TopicPartition, int],
    now: float,
    *,
    counts: Counts = Counts(),  # it never changes
    count_every_s: float = 0.0,
    unsaid: Sequence[Unsaid] = (),
) -> Statement:
    """The statement as of now. `unsaid` is what is missing of streams that nobody ever spoke of. `count_every_s`: how
    often the stores should be counted; 0 for never."""
    sums, sinks = Sums(), list(assessor.sinks)
    tails: list[Tail] = []
    liars: list[Liar] = []
    _add_settled(sums, roll, accounts, sinks)
    for boot in roll.boots.values():
        for dataset in boot.datasets:
            for sink in sinks:
                if (lack := assessor.lack_of(boot, dataset, sink)) is not None:
                    sums.add(Key(lack.day, boot.region, boot.service, dataset), sink, **lack.counts)
                    if lack.tail:
                        tails.append(_tail(boot, dataset, sink, lack.tail))
                if words := assessor.lie_of(boot, sink, boot.stream(dataset)):
                    liars.append(Liar(sink, boot.stream(dataset), *_who(boot), words))
    tails += _killed(roll, assessor)
    liars += _unsaid_liars(roll, accounts, sinks)
    for each in unsaid:
        sums.add(each.key, each.sink, unaccounted=each.number)
    late = behind(accounts, [*sinks, *accounts.absent], ends)
    head = Head(
        now,
        min(assessor.sinks.values(), default=now),
        len(roll.boots),
        late,
        tuple(sorted(tails, key=lambda each: -each.at)[:MOST_NAMED]),
        tuple(liars[:MOST_NAMED]),
        counts.at,
        counts.days,
        _named((*counts.differences, *(each.difference for each in unsaid))),
        counts.trouble,
        tuple(sink for sink in accounts.absent if late[sink]),
        counts.sinks,
        count_every_s,
        assessor.unjudged(),
    )
    return Statement(head, sums.lines(sinks), tuple(assessor.findings.values()))


def _named(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Of too many, those that lack something, and of each day and region the first: none of these seems to agree."""
    seen: Counter[tuple[str, str]] = Counter()
    ranked = []
    for each in sorted(differences, key=lambda each: not each.lacking):
        ranked.append((seen[each.day, each.region], each))
        seen[each.day, each.region] += 1
    return tuple(each for _, each in sorted(ranked, key=lambda pair: pair[0])[:MOST_NAMED])


def _add_settled(sums: Sums, roll: Roll, accounts: Accounts, sinks: Sequence[str]) -> None:
    """What needs no judging: what sinks have, what never had a number, and what stays of the forgotten."""
    for sink in sinks:
        for key, held in accounts.totals(sink).items():
            if key.dataset in AUDITED:
                sums.add(key, sink, stored=held.stored, dead=held.dead, void=held.void)
    for day, name, reasons in roll.dropped():
        region, service, dataset = name.split("/")
        sums.drop(Key(day, region, service, dataset), reasons)
    for day, name, counts in roll.gone:
        region, service, dataset, sink = name.split("/")
        if sink in sinks:
            sums.add(Key(day, region, service, dataset), sink, **counts)


def _tail(boot: Boot, dataset: str, sink: str, tail: tuple[Interval, ...]) -> Tail:
    return Tail(sink, boot.stream(dataset), *_who(boot), boot.at, boot.interval_s, tail, boot.stopping)


def _killed(roll: Roll, assessor: Assessor) -> list[Tail]:
    """What kills cut off, of boots that aren't forgotten yet."""
    found = []
    for (sink, stream), run in assessor.killed.items():
        if (boot := roll.boots.get(stream.partition(".")[0])) is not None:
            found.append(Tail(sink, stream, *_who(boot), boot.at, boot.interval_s, (run,), counted=True))
    return found


def _who(boot: Boot) -> tuple[str, str, str]:
    return boot.region, boot.service, boot.instance


def _unsaid_liars(roll: Roll, accounts: Accounts, sinks: Sequence[str]) -> list[Liar]:
    """Those of whom no beat was ever read."""
    return [
        Liar(sink, lie.stream, "", "", "", lie.words)
        for sink in sinks
        for lie in accounts.lies(sink)
        if lie.stream.partition(".")[0] not in roll.boots
    ]


class Positions(Protocol):
    """Who knows how far sinks have read."""

    def position(self, sink: str, tp: TopicPartition) -> int | None:
        """Up to where a sink has accounted for a partition; None if it knows nothing of it."""
        ...


def behind(accounts: Positions, sinks: Sequence[str], ends: Mapping[TopicPartition, int]) -> dict[str, int]:
    """How many partitions each sink has not read to these ends."""
    return {sink: sum(1 for tp, end in ends.items() if end and (accounts.position(sink, tp) or 0) < end)
            for sink in sinks}  # fmt: skip
