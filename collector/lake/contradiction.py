"""Whether a batch whose numbers are all there is the one that is there: two processes with one boot id number alike.

Its first and last line are held against the rows of these numbers. That costs a look into the day's files, so a stream
that was found honest often enough is believed. It reads and never writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from shippers.batch import Header

from .files import DataFile, read_files
from .parse import parse
from .plan import Planned

_HONEST = 16
_MOST_STREAMS = 10_000

Said = tuple[int | None, str | None]
"""An event's time in microseconds and its message."""


class Contradictions:
    """Remembers whom to believe. Used by one thread at a time."""

    def __init__(self) -> None:
        self._honest: Counter[str] = Counter()

    def suspects(self, plans: Iterable[Planned]) -> list[Planned]:
        """Those of a write that are worth a look: plain batches with nothing new, of streams not yet believed."""
        return [plan for plan in plans if plan.again and self._honest.get(_header(plan).stream, 0) < _HONEST]

    def among(
        self,
        con: duckdb.DuckDBPyConnection,
        dataset: str,
        suspects: Sequence[Planned],
        root: Path,
        files: Sequence[DataFile],
    ) -> list[Planned]:
        """Those whose numbers hold other events in `files`, which are all that may have them. Raises duckdb.Error."""
        if not suspects or not files:
            return []
        ends = [(_header(plan), number) for plan in suspects for number in _ends(plan)]
        held = _held(con, read_files(root, files), ends)
        said = _said(con, dataset, [_line(plan, number) for plan in suspects for number in _ends(plan)])
        lying: list[Planned] = []
        for i, plan in enumerate(suspects):
            header = _header(plan)
            mine = zip(_ends(plan), said[2 * i : 2 * i + 2], strict=True)
            if any(held.get((header.stream, number), one) != one for number, one in mine if one[0] is not None):
                lying.append(plan)
            else:
                self._believe(header.stream)
        return lying

    def _believe(self, stream: str) -> None:
        if len(self._honest) >= _MOST_STREAMS:
            self._honest.clear()
        self._honest[stream] += 1


def _header(plan: Planned) -> Header:
    assert plan.header is not None
    return plan.header


def _ends(plan: Planned) -> tuple[int, int]:
    header = _header(plan)
    return header.first, header.last


def _line(plan: Planned, number: int) -> bytes:
    body = plan.record.body
    if number == _header(plan).first:
        return body[: body.index(b"\n") + 1]
    return body[body.rfind(b"\n", 0, -1) + 1 :]


def _said(con: duckdb.DuckDBPyConnection, dataset: str, lines: Sequence[bytes]) -> list[Said]:
    """What lines say; no time for those that can't be read."""
    parsed = parse(con, dataset, lines, [1] * len(lines))
    bad = set(parsed.bad)
    times = parsed.rows["at"].cast(pa.int64()).to_pylist()
    messages = parsed.rows["message"].to_pylist()
    return [(None if i in bad else at, text) for i, (at, text) in enumerate(zip(times, messages, strict=True))]


def _held(
    con: duckdb.DuckDBPyConnection, source: str, ends: Iterable[tuple[Header, int]]
) -> dict[tuple[str, int], Said]:
    """What the rows of these numbers say, as far as there are any."""
    wanted = {(header.stream, number) for header, number in ends}
    rows = con.execute(
        f'SELECT stream, sequence, epoch_us("at"), message FROM {source} '
        "WHERE stream IN (SELECT unnest($streams)) AND sequence IN (SELECT unnest($numbers))",
        {"streams": sorted({stream for stream, _ in wanted}), "numbers": sorted({number for _, number in wanted})},
    ).fetchall()
    return {(stream, number): (at, message) for stream, number, at, message in rows if (stream, number) in wanted}
