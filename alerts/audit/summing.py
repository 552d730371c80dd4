"""Works the statement out from what everybody said, what the sinks have, and what was judged. Pure but for what the
ledger has read already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from collector.ledger.intervals import Interval
from collector.ports import TopicPartition

from .accounts import Accounts, Key
from .assess import Assessor
from .reconcile import cut, size
from .said import AUDITED, Boot, Roll, Stream, day_of
from .statement import COUNTS, Difference, Head, Liar, Line, Statement, Tail

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


def work_out(
    roll: Roll,
    accounts: Accounts,
    assessor: Assessor,
    ends: Mapping[TopicPartition, int],
    now: float,
    *,
    counted: tuple[float | None, tuple[str, ...], tuple[Difference, ...]] = (None, (), ()),
) -> Statement:
    """The statement as of now."""
    sums, sinks = Sums(), list(assessor.sinks)
    tails: list[Tail] = []
    liars: list[Liar] = []
    for sink in sinks:
        for key, held in accounts.totals(sink).items():
            if key.dataset in AUDITED:
                sums.add(key, sink, stored=held.stored, dead=held.dead, void=held.void)
    for day, name, reasons in roll.dropped():
        region, service, dataset = name.split("/")
        sums.drop(Key(day, region, service, dataset), reasons)
    for boot in roll.boots.values():
        for dataset, stream in boot.datasets.items():
            for sink in sinks:
                _count(sums, accounts, assessor, boot, dataset, stream, sink, tails)
                if words := assessor.lie_of(boot, sink, boot.stream(dataset)):
                    liars.append(Liar(sink, boot.stream(dataset), *_who(boot), words))
    tails += _killed(roll, assessor)
    liars += _unsaid_liars(roll, accounts, sinks)
    counted_at, days, differences = counted
    head = Head(
        now,
        min(assessor.sinks.values(), default=now),
        len(roll.boots),
        behind(accounts, sinks, ends),
        tuple(sorted(tails, key=lambda each: -each.at)[:MOST_NAMED]),
        tuple(liars[:MOST_NAMED]),
        counted_at,
        days,
        differences[:MOST_NAMED],
    )
    return Statement(head, sums.lines(sinks), tuple(assessor.findings.values()))


def _count(
    sums: Sums,
    accounts: Accounts,
    assessor: Assessor,
    boot: Boot,
    dataset: str,
    stream: Stream,
    sink: str,
    tails: list[Tail],
) -> None:
    """What of one stream is in no interval of one sink."""
    name, proven = boot.stream(dataset), stream.proven_to(sink)
    last = max(stream.last, accounts.last(sink, name))
    if last <= proven:
        return
    judged = assessor.wrong.get((sink, name))
    gone = accounts.missing(sink, name, proven + 1, last)
    if not gone:
        return
    holes = _common(gone, judged.holes) if judged is not None else ()
    tail = _common(gone, judged.tail) if judged is not None else ()
    counts = {"unaccounted": size(holes), "tail": size(tail)}
    counts["flight"] = size(gone) - sum(counts.values())
    day = accounts.day_of(sink, name, gone[0][0] - 1) or day_of(boot.at)
    sums.add(Key(day, boot.region, boot.service, dataset), sink, **counts)
    if tail:
        tails.append(Tail(sink, name, *_who(boot), boot.at, boot.interval_s, tail, boot.stopping))


def _killed(roll: Roll, assessor: Assessor) -> list[Tail]:
    """What kills cut off, of boots that aren't forgotten yet."""
    found = []
    for (sink, stream), run in assessor.killed.items():
        if (boot := roll.boots.get(stream.partition(".")[0])) is not None:
            found.append(Tail(sink, stream, *_who(boot), boot.at, boot.interval_s, (run,), counted=True))
    return found


def _common(these: Sequence[Interval], those: Sequence[Interval]) -> tuple[Interval, ...]:
    return tuple(part for first, last in those for part in cut(these, first, last))


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
