"""LakeStore: the boards' questions, answered by DuckDB over the lake's files and the journal's tail.

Each question looks at one snapshot of the lake and at what the journal has beyond it, so an event counts once, whether
or not it has been moved meanwhile. It only reads, from any thread, in any process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb
from deltalake.exceptions import DeltaError

from collector.ports import Event, Field, Hits, Journal, Latency, Page, Peak, Tail, Volume, Where
from collector.settings import LakeSettings
from shippers.batch import DATASETS
from shippers.clock import Clock
from shippers.errors import Unavailable

from .arrivals import Cursor, behind, moved, numbered
from .files import read_files
from .parse import connect
from .questions import (
    BUCKET,
    COLUMNS,
    PLACE,
    WHOLE,
    Condition,
    add_ids,
    condition_of,
    event_of,
    span_us,
    split_by,
    step_of,
)
from .view import View, Viewer

MAX_CORRELATED = 10_000
MAX_FIELDS = 200
_ATTEMPTS = 3

T = TypeVar("T")
Rows = list[tuple[Any, ...]]


class LakeStore:
    """See the port Store."""

    def __init__(self, path: Path, journal: Journal, settings: LakeSettings, clock: Clock) -> None:
        self._path = path
        self._settings = settings
        self._con = connect(settings.memory_mb, settings.threads)
        self._viewer = Viewer(path, journal, self._con, clock)

    def volume(self, where: Where, step_s: float, by: str | None = None) -> Volume:
        """See Store.volume."""
        split, step = split_by(by), step_of(step_s)
        times = steps_of(where, step_s)
        series = {} if by else {"": [0] * len(times)}
        base = math.floor(where.start / step_s)
        for index, value, count in self._ask(where, f"SELECT {step}, {split}, count(*) FROM events GROUP BY ALL"):
            series.setdefault(value, [0] * len(times))[index - base] = count
        return Volume(step_s, times, {value: tuple(counts) for value, counts in series.items()})

    def latency(self, where: Where, step_s: float, by: str | None = None) -> Latency:
        """See Store.latency."""
        split, step = split_by(by), step_of(step_s)
        times = steps_of(where, step_s)
        base = math.floor(where.start / step_s)
        series: dict[str, list[dict[int, int]]] = {} if by else {"": [{} for _ in times]}
        found = self._ask(
            where,
            f"SELECT {step}, {split}, {BUCKET}, count(*) FROM events WHERE duration_ns IS NOT NULL GROUP BY ALL",
        )
        for index, value, bucket, count in found:
            counts = series.get(value)
            if counts is None:
                counts = series[value] = [{} for _ in times]
            counts[index - base][bucket] = count
        return Latency(step_s, times, {value: tuple(counts) for value, counts in series.items()})

    def peaks(self, where: Where, step_s: float, by: str = "service", limit: int = 1) -> list[Peak]:
        """See Store.peaks."""
        found = self._ask(
            where,
            f"SELECT step, sum(n)::BIGINT AS total, arg_min(value, (-n, value)), max(n) FROM ("
            f"SELECT {step_of(step_s)} AS step, {split_by(by)} AS value, count(*) AS n FROM events GROUP BY ALL) "
            f"GROUP BY step ORDER BY total DESC, step LIMIT {limit:d}",
        )
        return [Peak(step * step_s, step_s, count, top, top_count) for step, count, top, top_count in found]

    def top(self, where: Where, field: str, limit: int = 10) -> list[tuple[str, int]]:
        """See Store.top."""
        label = field.removeprefix("labels.") if field.startswith("labels.") else None
        value = "coalesce(labels[?], '')" if label is not None else split_by(field)
        return [
            (value, count)
            for value, count in self._ask(
                where,
                f"SELECT {value} AS value, count(*) AS n FROM events WHERE value != '' GROUP BY ALL "
                f"ORDER BY n DESC, value LIMIT {limit:d}",
                [] if label is None else [label],
            )
        ]

    def search(self, where: Where, page: Page = Page()) -> Hits:
        """See Store.search."""
        condition = condition_of(where)
        if page.before is not None:
            at_us, stream, sequence = _decode(page.before)
            at = f"make_timestamptz({at_us})"
            condition.add(f'"at" < {at} OR ("at" = {at} AND (stream, sequence) < (?, ?))', stream, sequence)
        newest = f'SELECT {PLACE} FROM events ORDER BY "at" DESC, stream DESC, sequence DESC LIMIT {page.limit + 1:d}'
        found = self._ask(where, newest, condition=condition)
        events = self._whole(where, found[: page.limit])
        return Hits(events[::-1], _encode(found[page.limit - 1]) if len(found) > page.limit > 0 else None)

    def tail(self, where: Where, after: str | None = None, limit: int = 500) -> Tail:
        """See Store.tail. What is at hand answers; a cursor from before that is read from the journal again."""
        if after is None:
            ends, _ = self._with_retry(lambda _: self._viewer.arrivals(None))
            return Tail((), Cursor({tp: (end, 0) for tp, end in ends.items()}).encode())
        cursor = Cursor.decode(after)
        ends, chunks = self._with_retry(lambda _: self._viewer.arrivals(cursor))
        parts = behind(cursor, chunks)
        rows = numbered(parts)
        if rows is None:
            return Tail((), moved(cursor, parts, ends, None).encode())
        condition = condition_of(where, times=False)
        if where.datasets:
            condition.add(f"dataset IN ({', '.join('?' * len(where.datasets))})", *where.datasets)
        with self._con.cursor() as con:
            con.register("arrived", rows)
            found = con.execute(
                f"SELECT {WHOLE}, arrival FROM arrived WHERE {condition.sql} ORDER BY arrival LIMIT {limit:d}",
                condition.values,
            ).fetchall()
        shown = found[-1][-1] + 1 if len(found) == limit else None
        events = tuple(event_of(row[:-1]) for row in found)
        return Tail(events, moved(cursor, parts, ends, shown).encode())

    def correlate(self, id: str, start: float, end: float) -> tuple[Event, ...]:
        """See Store.correlate."""
        where = Where(start, end, datasets=())
        condition = condition_of(where)
        add_ids(condition, (id,))
        oldest = f'SELECT {PLACE} FROM events ORDER BY "at", stream, sequence LIMIT {MAX_CORRELATED}'
        return self._whole(where, self._ask(where, oldest, condition=condition))

    def fields(self, where: Where) -> list[Field]:
        """See Store.fields."""
        parts = [
            f"SELECT '{kind}.' || e.key AS name, any_value(e.value)::VARCHAR AS example, count(e.value) AS n "
            f"FROM (SELECT unnest(map_entries({kind})) AS e FROM events) GROUP BY e.key HAVING n > 0"
            for kind in ("labels", "measures")
        ]
        most = f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY n DESC, name LIMIT {MAX_FIELDS}"
        found = self._ask(where, most)
        return [Field(name, "text" if name.startswith("labels.") else "number", example) for name, example, _ in found]

    def close(self) -> None:
        """Let go of the journal and the memory."""
        self._viewer.close()
        self._con.close()

    def _whole(self, where: Where, places: Rows) -> tuple[Event, ...]:
        """The events at these places, oldest first. They are looked for by what a question needs, and only then read
        whole: most of an event's bytes are in columns that nobody asked about."""
        if not places:
            return ()
        times = sorted({at_us for at_us, _, _ in places})
        narrow = Where(times[0] / 1_000_000, (times[-1] + 1) / 1_000_000, where.regions, datasets=where.datasets)
        condition = Condition()
        condition.add(f'"at" IN ({", ".join(f"make_timestamptz({at_us})" for at_us in times)})')
        wanted = {(stream, sequence) for _, stream, sequence in places}
        oldest = f'SELECT {WHOLE} FROM events ORDER BY "at", stream, sequence'
        events = map(event_of, self._ask(narrow, oldest, condition=condition))
        return tuple(event for event in events if (event.stream, event.sequence) in wanted)

    def _ask(self, where: Where, question: str, values: Sequence[Any] = (), condition: Condition | None = None) -> Rows:
        """Answer a question over `events`: the rows for `where`, of one snapshot and the journal's tail behind it."""
        condition = condition or condition_of(where)
        start_us, end_us = span_us(where)

        def answer(view: View) -> Rows:
            datasets = where.datasets or DATASETS
            sources = [
                read_files(self._path / dataset, files)
                for dataset in datasets
                if (files := view.snapshot.matching(dataset, where.regions, start_us, end_us))
            ]
            with self._con.cursor() as con:
                if view.tail.num_rows or not sources:
                    con.register("tail", view.tail)
                    sources.append("tail")
                # A file's dataset is known and costs nothing to ask for; a tail has all of them.
                asked = f"{condition.sql} AND dataset IN ({', '.join('?' * len(datasets))})"
                union = " UNION ALL ".join(f"SELECT {COLUMNS} FROM {source} WHERE {asked}" for source in sources)
                bound = [*[*condition.values, *datasets] * len(sources), *values]
                return con.execute(f"WITH events AS NOT MATERIALIZED ({union}) {question}", bound).fetchall()

        return self._with_retry(answer)

    def _with_retry(self, answer: Callable[[View], T]) -> T:
        """Files can vanish under a question (compaction, then vacuum): it is asked again of a new snapshot."""
        for _ in range(_ATTEMPTS):
            try:
                return answer(self._viewer.look())
            except duckdb.OutOfMemoryException as error:
                raise Unavailable(
                    f"the question needs more than {self._settings.memory_mb} MB: narrow it, or raise [lake] memory_mb"
                ) from error
            except (OSError, DeltaError, duckdb.Error) as error:
                self._viewer.begin_anew()
                last: Exception = error
        raise Unavailable(f"the lake at {self._path} can't be read: {last}") from last


def steps_of(where: Where, step_s: float) -> tuple[float, ...]:
    """Where the steps begin that cover all of `where`: multiples of `step_s`."""
    return tuple(index * step_s for index in range(math.floor(where.start / step_s), math.ceil(where.end / step_s)))


def _encode(row: tuple[Any, ...]) -> str:
    return f"{row[0]}|{row[1]}|{row[2]}"


def _decode(cursor: str) -> tuple[int, str, int]:
    at_us, stream, sequence = cursor.split("|")
    return int(at_us), stream, int(sequence)
