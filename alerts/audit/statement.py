"""The statement: for every day, region, service, dataset and sink, what was emitted and what became of it.

emitted = stored + dead-lettered + given up + dropped + on its way + cut off + unaccounted, which should be 0.
Here are its lines and how State keeps them; who works them out is `summing`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from alerts.document import known, to_doc
from collector.ledger.intervals import Interval
from collector.ports import State, Table

from .findings import Finding, read_findings
from .reconcile import ranges

HEAD, DAY = "statement/head", "statement/day/"


@dataclass(frozen=True, slots=True)
class Line:
    """Counts of events. `dead`: in the dead letters. `void`: given up by the sender after they had numbers, `dropped`
    before, by reason. `flight`: on their way. `tail`: cut off with their process. `unaccounted`: lost."""

    day: str
    region: str
    service: str
    dataset: str
    sink: str
    stored: int = 0
    dead: int = 0
    void: int = 0
    flight: int = 0
    tail: int = 0
    unaccounted: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def drops(self) -> int:
        """Everything that was given up and counted, before and after it had a number."""
        return sum(self.dropped.values()) + self.void

    @property
    def emitted(self) -> int:
        """Everything that the service logged."""
        return self.stored + self.dead + self.drops + self.flight + self.tail + self.unaccounted

    def __add__(self, other: Line) -> Line:
        """Both together, under the names of the first."""
        reasons = {*self.dropped, *other.dropped}
        return replace(
            self,
            **{name: getattr(self, name) + getattr(other, name) for name in COUNTS},
            dropped={each: self.dropped.get(each, 0) + other.dropped.get(each, 0) for each in reasons},
        )


COUNTS = ("stored", "dead", "void", "flight", "tail", "unaccounted")


@dataclass(frozen=True, slots=True)
class Tail:
    """A process that ended without having sent all that it had. `counted`: whoever found its spool has counted how much
    that was; else these are the numbers it spoke of, and how much more it had can't be known."""

    sink: str
    stream: str
    region: str
    service: str
    instance: str
    at: float
    interval_s: float
    ranges: tuple[Interval, ...] = ()
    said_goodbye: bool = False
    counted: bool = False

    @property
    def words(self) -> str:
        """What is known of it."""
        if self.counted:
            return f"{self.stream.partition('.')[2]} {ranges(self.ranges)} of {self.instance} were cut off by a kill"
        what = f"{self.stream.partition('.')[2]} {ranges(self.ranges)} of {self.instance} were not sent"
        if self.said_goodbye:
            return what
        return f"{what}, and an unknown tail of at most one interval ({self.interval_s:g} s)"


@dataclass(frozen=True, slots=True)
class Liar:
    """A stream that contradicts itself: nothing that is counted of it is proven."""

    sink: str
    stream: str
    region: str
    service: str
    instance: str
    words: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One stream of one day that two stores have differently; `words` say what, with the ranges. Not `lacking`: there
    is only more than there should be. `sink` is the one that lacks something, `lacks` what, for who gets it back; that
    is not kept in State."""

    day: str
    region: str
    dataset: str
    stream: str
    words: str
    lacking: bool = True
    sink: str = ""
    lacks: tuple[Interval, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """What holds of all lines: as of when, and how many partitions each sink has yet to read to that; `absent` are
    those that should keep an account, and have none. `boots` were heard of. `counted_at` is when the stores of hot
    days were last counted against the ledger, `counted_sinks` which, and `trouble` why they could not be since.
    `unjudged`: how many events sinks lack that were durable before anything was known of who sent them."""

    at: float
    since: float
    boots: int = 0
    behind: Mapping[str, int] = field(default_factory=dict)
    tails: tuple[Tail, ...] = ()
    liars: tuple[Liar, ...] = ()
    counted_at: float | None = None
    counted_days: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    trouble: str = ""
    absent: tuple[str, ...] = ()
    counted_sinks: tuple[str, ...] = ()
    count_every_s: float = 0.0
    unjudged: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """The whole of it, as the auditor last wrote it. `findings` are the open ones, and those that were filled;
    `unreadable` are the rows of others that make no sense, and why."""

    head: Head
    lines: tuple[Line, ...]
    findings: tuple[Finding, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def sinks(self) -> tuple[str, ...]:
        """The stores that are audited, by name."""
        return tuple(sorted({*self.head.behind, *(line.sink for line in self.lines)}))

    @property
    def open(self) -> tuple[Finding, ...]:
        """What is lost as of now."""
        return tuple(each for each in self.findings if each.ended_at is None)

    @property
    def unaccounted(self) -> int:
        """How many events are lost as of now, in the sink that lacks most."""
        return max((self.of(sink).unaccounted for sink in self.sinks), default=0)

    @property
    def is_balanced(self) -> bool:
        """Whether every event is accounted for, nothing that was said is contradicted, and no finding is illegible."""
        return not (self.unaccounted or self.open or self.head.liars or self.head.differences or self.unreadable)

    def of(self, sink: str) -> Line:
        """Everything that one sink has."""
        return total((line for line in self.lines if line.sink == sink), Line("", "", "", "", sink))


def total(lines: Iterable[Line], empty: Line) -> Line:
    """All of them together."""
    for line in lines:
        empty = empty + line
    return empty


def grouped(lines: Iterable[Line], *names: str) -> list[Line]:
    """Lines brought together by these of their names; the others become ''."""
    groups: dict[tuple[str, ...], Line] = {}
    for line in lines:
        key = tuple(getattr(line, name) for name in names)
        empty = Line(**{name: dict(zip(names, key, strict=True)).get(name, "") for name in _NAMES})
        groups[key] = groups.get(key, empty) + line
    return [groups[key] for key in sorted(groups)]


_NAMES = ("day", "region", "service", "dataset", "sink")


class Writer:
    """Writes a statement to State, only what is new of it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._written: dict[str, str] | None = None

    def write(self, statement: Statement) -> None:
        """Keep it. Raises Unavailable; then what State has is not known, and the next one is written in full."""
        days: dict[str, list[list[Any]]] = {}
        for line in statement.lines:
            row = [line.region, line.service, line.dataset, line.sink, *(getattr(line, name) for name in COUNTS)]
            days.setdefault(line.day, []).append([*row, dict(line.dropped)])
        docs: dict[str, Mapping[str, Any]] = {f"{DAY}{day}": {"rows": rows} for day, rows in days.items()}
        texts = {key: json.dumps(doc) for key, doc in docs.items()}
        before = self._written
        if before is None:
            before = {row.key: "" for row in self._state.scan(Table.AUDIT, DAY)}
        fresh = {key: docs[key] for key, text in texts.items() if before.get(key) != text}
        self._written = None
        self._state.put_many(Table.AUDIT, {**fresh, HEAD: _head_doc(statement.head)})
        for key in before.keys() - texts.keys():
            self._state.delete(Table.AUDIT, key)
        self._written = texts


def read_head(state: State) -> Head | None:
    """What holds of the whole; None if there never was a statement. Raises Unavailable. From any thread."""
    row = state.get(Table.AUDIT, HEAD)
    return None if row is None else _head(row.doc)


def read_statement(state: State) -> Statement | None:
    """The statement as the auditor last wrote it; None if there never was one. Raises Unavailable. From any thread."""
    head = read_head(state)
    if head is None:
        return None
    lines = [Line(day.key.removeprefix(DAY), *row) for day in state.scan(Table.AUDIT, DAY) for row in day.doc["rows"]]
    unreadable: dict[str, str] = {}
    findings = read_findings(state, unreadable)
    return Statement(head, tuple(lines), tuple(findings), tuple(f"{key} ({why})" for key, why in unreadable.items()))


def _head_doc(head: Head) -> dict[str, Any]:
    doc = to_doc(replace(head, tails=(), differences=tuple(replace(each, lacks=()) for each in head.differences)))
    doc["tails"] = [{**to_doc(replace(each, ranges=())), "ranges": list(each.ranges)} for each in head.tails]
    return doc


def _head(doc: Mapping[str, Any]) -> Head:
    lists = {
        "tails": tuple(
            Tail(**{**known(Tail, each), "ranges": tuple((a, b) for a, b in each["ranges"])})
            for each in doc.get("tails", ())
        ),
        "liars": tuple(Liar(**known(Liar, each)) for each in doc.get("liars", ())),
        "differences": tuple(Difference(**known(Difference, each)) for each in doc.get("differences", ())),
    }
    return Head(**{**known(Head, doc), **lists})
