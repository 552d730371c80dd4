"""`lastbeat drill --observe`: reads and counts on somebody's own platform, and breaks nothing.

What each process's beats said was sent in the time, as the watch keeps it, is held against what the store holds of
these very numbers. The senders' own logs aren't there to be asked: what was lost before the gateway, it can't find.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alerts.fleet import read_fleet
from alerts.incidents import Incident, read_incidents
from collector.dead_letters import WHOLE_BATCH, Among, is_void
from collector.ledger.intervals import IntervalSet
from collector.ports import State
from compose.settings import Settings
from compose.wiring import open_dead_letters, open_state
from shippers.clock import Clock

from .evidence import counts_in_elastic, counts_in_lake

_LOOKS_EVERY_S = 1.0
_STORED_WITHIN_S = 60.0
_ALL = 1_000_000

Ranges = Mapping[str, tuple[int, int]]
"""By stream: the first and the last number of those that are looked at."""


@dataclass(slots=True)
class Seen:
    """One stream as its process's beats told it: `before` and `last` are acknowledged numbers, at the start of the time
    (or of the process) and at its end; `dropped` what it said it dropped in the time."""

    before: int
    last: int
    dropped_before: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Observed:
    """What came of it."""

    streams: int
    emitted: int
    stored: int
    dead: int
    void: int
    dropped: int
    missing: Mapping[str, int] = field(default_factory=dict)
    double: Mapping[str, int] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether something was looked at, nothing of it is missing, and nothing is there twice."""
        return bool(self.streams) and not self.missing and not self.double


def observe(settings: Settings, clock: Clock, seconds: float, stop: threading.Event) -> Observed:
    """Watch for `seconds`, then count. Raises Unavailable if State or the store can't be asked."""
    with closing(open_state(settings)) as state:
        began = clock.time()
        seen: dict[str, Seen] = {}
        _look(state, seen, began, first=True)
        until = clock.monotonic() + seconds
        while clock.monotonic() < until and not clock.wait(stop, _LOOKS_EVERY_S):
            _look(state, seen, began)
        incidents = tuple(one for one in read_incidents(state) if one.opened_at >= began or one.is_open)
    return _count(settings, clock, seen, incidents)


def _look(state: State, seen: dict[str, Seen], began: float, *, first: bool = False) -> None:
    """Take in every row. Who was there before had sent something, though the watch may say it only later; who was
    started since, nothing."""
    for row in read_fleet(state).instances:
        older = first or row.started_at < began
        for dataset, counts in row.streams.items():
            stream, acked, dropped = f"{row.boot}.{dataset}", counts.get("acked", 0), counts.get("dropped", 0)
            known = seen.get(stream)
            if known is None:
                seen[stream] = Seen(acked if older else 0, acked, dropped if older else 0, dropped)
            else:
                known.last, known.dropped = max(known.last, acked), max(known.dropped, dropped)


def _count(settings: Settings, clock: Clock, seen: Mapping[str, Seen], incidents: Iterable[Incident]) -> Observed:
    ranges = {stream: (one.before + 1, one.last) for stream, one in seen.items() if one.last > one.before}
    until, waited = clock.monotonic() + _STORED_WITHIN_S, threading.Event()
    while True:
        found = _verdict(ranges, *_stored(settings, ranges), *_gone(settings, ranges))
        if not found.missing or clock.monotonic() > until:
            break
        clock.wait(waited, 2.0)  # the indexer may be about to store it
    dropped = sum(one.dropped - one.dropped_before for one in seen.values())
    return Observed(
        found.streams, found.emitted + dropped, found.stored, found.dead, found.void, dropped, found.missing,
        found.double, tuple(incidents),
    )  # fmt: skip


def _verdict(
    ranges: Ranges,
    rows: Mapping[str, int],
    distinct: Mapping[str, int],
    dead: Mapping[str, int],
    void: Mapping[str, int],
) -> Observed:
    """Hold what is there against what was sent. Pure."""
    missing, double = {}, {}
    for stream, (first, last) in ranges.items():
        there = distinct.get(stream, 0)
        if lacks := last - first + 1 - there - dead.get(stream, 0) - void.get(stream, 0):
            missing[stream] = lacks
        if more := rows.get(stream, 0) - there:
            double[stream] = more
    emitted = sum(last - first + 1 for first, last in ranges.values())
    return Observed(
        len(ranges), emitted, sum(distinct.values()), sum(dead.values()), sum(void.values()), 0, missing, double
    )


def _stored(settings: Settings, ranges: Ranges) -> tuple[dict[str, int], dict[str, int]]:
    if settings.elastic:
        return counts_in_elastic(settings.elastic, ranges)
    return counts_in_lake(settings.lake_path, ranges)


def _gone(settings: Settings, ranges: Ranges) -> tuple[dict[str, int], dict[str, int]]:
    """By stream: how many of the numbers are dead letters, and how many void batches account for. One that is stored as
    well, since it was sent again, is none of them: else it would hide another one that is missing."""
    dead: dict[str, IntervalSet] = {}
    void: dict[str, IntervalSet] = {}
    keeper = open_dead_letters(settings)["elastic" if settings.elastic else "lake"]
    for letter in keeper.find(Among(), _ALL):
        if letter.stream in ranges and not letter.reason.startswith(WHOLE_BATCH):
            first, last = ranges[letter.stream]
            numbers = max(first, letter.first), min(last, letter.first + letter.count - 1)
            (void if is_void(letter) else dead).setdefault(letter.stream, IntervalSet()).add(*numbers)
    only_void = {stream: numbers.without(dead.get(stream, IntervalSet())) for stream, numbers in void.items()}
    return _not_stored(settings, dead), _not_stored(settings, only_void)


def _not_stored(settings: Settings, numbers: Mapping[str, IntervalSet]) -> dict[str, int]:
    """How many of these are not in the store: asked for by the first run of each stream, then by the second …"""
    left = {stream: len(some) for stream, some in numbers.items()}
    runs = {stream: list(some) for stream, some in numbers.items()}
    for number in range(max(map(len, runs.values()), default=0)):
        _, there = _stored(settings, {stream: some[number] for stream, some in runs.items() if number < len(some)})
        for stream, stored in there.items():
            left[stream] -= stored
    return left


def show(console: Console, observed: Observed) -> None:
    """The drill's table, as far as it applies."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="bright_black")
    for name, count, note in (
        ("emitted", observed.emitted, f"by the beats of {observed.streams} streams, acknowledged or dropped"),
        ("stored", observed.stored, "by stream and number"),
        ("dead-lettered", observed.dead, ""),
        ("dropped and counted", observed.dropped + observed.void, "by beats and void batches"),
    ):
        table.add_row(name, f"{count:,}", note)
    for name, count in (
        ("unaccounted", sum(map(abs, observed.missing.values()))),
        ("visible duplicates", sum(observed.double.values())),
    ):
        style = "bold red" if count else "bold green"
        table.add_row(Text(name, style=style), Text(f"{count:,}", style=style), "")
    table.add_row(
        "incidents", str(len(observed.incidents)), "open, or opened meanwhile: whether they are right only you know"
    )
    console.print(table)
    if not observed.streams:
        why = "no beat told of an event that was sent meanwhile"
        todo = "log something, or see with `lastbeat doctor` whether the watch hears your services"
        console.print(f"✖ nothing was looked at: {why}; {todo}", style="red", markup=False)
    for stream, count in sorted(observed.missing.items()):
        console.print(f"✖ {stream}: {count:+,} unaccounted", style="red", markup=False)
    for stream, count in sorted(observed.double.items()):
        console.print(f"✖ {stream}: {count:,} stored more than once", style="red", markup=False)
    for incident in observed.incidents:
        console.print(f"  {incident.kind}: {incident.summary}", style="bright_black", markup=False)
