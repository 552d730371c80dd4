"""MemoryStore: the reference implementation of Store, over a list of events.

Every other implementation is held to its answers, so it is written to be obviously right, not fast: each question
reads the whole list. It ships so that boards and rules can be tested without a server; it never touches a disk.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from collector.latency import bucket_of
from collector.peaks import peaks_of
from collector.ports import BY, Event, Field, Hits, Latency, Page, Peak, Tail, Volume, Where
from shippers.clock import Clock
from shippers.errors import Unavailable

MAX_CORRELATED = 10_000
MAX_FIELDS = 200


class MemoryStore:
    """A Store over events given by `add`. Set `unavailable` to words for a person, and it can't be reached."""

    def __init__(self, clock: Clock) -> None:
        self.unavailable: str | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._ids: set[str] = set()

    def add(self, event: Event) -> None:
        """Keep an event, unless it is here already."""
        with self._lock:
            if event.id not in self._ids:
                self._ids.add(event.id)
                self._events.append(event)

    def say(self, message: str, **fields: Any) -> Event:
        """Keep a new event that happens now; `fields` are Event's. Returns it."""
        dataset = fields.setdefault("dataset", "business")
        stream = fields.setdefault("stream", f"memory00.{dataset}")
        number = 1 + sum(event.stream == stream for event in self._arrived())
        event = Event(at=self._clock.time(), sequence=number, message=message, **fields)
        self.add(event)
        return event

    def volume(self, where: Where, step_s: float, by: str | None = None) -> Volume:
        _check(by)
        times = steps(where, step_s)
        series: dict[str, list[int]] = defaultdict(lambda: [0] * len(times))
        if by is None:
            series[""]  # it is there even where nothing is
        for event in self._matching(where):
            series[value_of(event, by)][index_of(event.at, times, step_s)] += 1
        return Volume(step_s, times, {value: tuple(counts) for value, counts in series.items()})

    def latency(self, where: Where, step_s: float, by: str | None = None) -> Latency:
        _check(by)
        times = steps(where, step_s)
        series: dict[str, list[Counter[int]]] = defaultdict(lambda: [Counter() for _ in times])
        if by is None:
            series[""]  # it is there even where nothing is
        for event in self._matching(where):
            if event.duration_ns is not None:
                step = series[value_of(event, by)][index_of(event.at, times, step_s)]
                step[bucket_of(event.duration_ns)] += 1
        return Latency(step_s, times, {value: tuple(map(dict, counts)) for value, counts in series.items()})

    def peaks(self, where: Where, step_s: float, by: str = "service", limit: int = 1) -> list[Peak]:
        return peaks_of(self.volume(where, step_s, by), limit)

    def top(self, where: Where, field: str, limit: int = 10) -> list[tuple[str, int]]:
        if not field.startswith("labels."):
            _check(field)
        counts = Counter(value_of(event, field) for event in self._matching(where))
        del counts[""]
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]

    def search(self, where: Where, page: Page = Page()) -> Hits:
        found = sorted(self._matching(where), key=_place, reverse=True)
        if page.before is not None:
            found = [event for event in found if _place(event) < _decode(page.before)]
        more = len(found) > page.limit
        events = tuple(found[: page.limit])
        return Hits(events, _encode(_place(events[-1])) if more and events else None)

    def tail(self, where: Where, after: str | None = None, limit: int = 500) -> Tail:
        arrived = self._arrived()
        if after is None:
            return Tail((), str(len(arrived)))
        events: list[Event] = []
        position = int(after)
        while position < len(arrived) and len(events) < limit:
            if _matches(arrived[position], where):
                events.append(arrived[position])
            position += 1
        return Tail(tuple(events), str(position))

    def correlate(self, id: str, start: float, end: float) -> tuple[Event, ...]:
        found = [event for event in self._arrived() if start <= event.at < end and id in ids_of(event)]
        return tuple(sorted(found, key=_place)[:MAX_CORRELATED])

    def fields(self, where: Where) -> list[Field]:
        used: Counter[tuple[str, str]] = Counter()
        examples: dict[str, str] = {}
        for event in self._matching(where):
            for name, value in (*event.labels.items(), *event.measures.items()):
                kind = "text" if name in event.labels else "number"
                full = f"{'labels' if kind == 'text' else 'measures'}.{name}"
                used[full, kind] += 1
                examples[full] = str(value)
        most = sorted(used.items(), key=lambda item: (-item[1], item[0]))
        return [Field(name, kind, examples[name]) for (name, kind), _ in most[:MAX_FIELDS]]

    def _arrived(self) -> list[Event]:
        if self.unavailable is not None:
            raise Unavailable(self.unavailable)
        with self._lock:
            return list(self._events)

    def _matching(self, where: Where) -> Iterator[Event]:
        return (event for event in self._arrived() if where.start <= event.at < where.end and _matches(event, where))


def steps(where: Where, step_s: float) -> tuple[float, ...]:
    """Where the steps begin that cover all of `where`: multiples of `step_s`."""
    return tuple(index * step_s for index in range(math.floor(where.start / step_s), math.ceil(where.end / step_s)))


def index_of(at: float, times: tuple[float, ...], step_s: float) -> int:
    """Which of the steps a time falls into."""
    return math.floor(at / step_s) - round(times[0] / step_s)


def value_of(event: Event, field: str | None) -> str:
    """The value of one of BY or of `labels.<name>`; '' where there is none."""
    if field is None:
        return ""
    if field.startswith("labels."):
        return event.labels.get(field.removeprefix("labels."), "")
    return str(getattr(event, field))


def _check(by: str | None) -> None:
    if by is not None and by not in BY:
        raise ValueError(f"can't split by {by!r}: it must be one of {', '.join(BY)}")


def ids_of(event: Event) -> set[str]:
    """All that an event can be found by: trace, span and transaction id, and every label's value."""
    return {event.trace_id, event.span_id, event.transaction_id, *event.labels.values()} - {""}


def is_error(event: Event) -> bool:
    """Level ERROR and worse, or outcome failure."""
    return event.level in ("ERROR", "CRITICAL") or event.outcome == "failure"


def _matches(event: Event, where: Where) -> bool:
    """Everything that `where` asks for, but the times."""
    said = f"{event.message}\n{event.error_message}".casefold()
    return (
        _any_of(event.region, where.regions)
        and _any_of(event.service, where.services)
        and _any_of(event.dataset, where.datasets)
        and _any_of(event.level, where.levels)
        and _any_of(event.version, where.versions)
        and _any_of(event.instance, where.instances)
        and _any_of(event.action, where.actions)
        and (not where.errors or is_error(event))
        and all(word in said for word in where.text.casefold().split())
        and (not where.ids or not ids_of(event).isdisjoint(where.ids))
    )


def _any_of(value: str, wanted: Iterable[str]) -> bool:
    return not wanted or value in wanted


def _place(event: Event) -> tuple[float, str, int]:
    return event.at, event.stream, event.sequence


def _encode(place: tuple[float, str, int]) -> str:
    at, stream, sequence = place
    return f"{at!r}|{stream}|{sequence}"


def _decode(cursor: str) -> tuple[float, str, int]:
    at, stream, sequence = cursor.split("|")
    return float(at), stream, int(sequence)
