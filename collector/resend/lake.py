"""Copies in the lake: rows made into lines again. Reads beside the lake's one writer, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from collector.lake.files import DataFile, active_files, read_files
from collector.lake.lines import COLUMNS, line_of
from collector.lake.parse import connect
from collector.lake.schema import SKEWED
from shippers.batch import Batch
from shippers.clock import Clock
from shippers.errors import Unavailable

from .sealing import Stored, sealed
from .wanted import LAKE, Wanted

_ROWS = 500
_AHEAD_S = 3 * 86_400.0
_MEMORY_MB = 256


class LakeSource:
    """See Source. `path` is the lake's folder; one that isn't there has nothing."""

    name = LAKE

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock

    def find(self, wanted: Wanted) -> Iterator[Batch]:
        """See Source.find."""
        root = self._path / wanted.dataset
        try:
            if not DeltaTable.is_deltatable(str(root)):
                return
            files = [file for file in active_files(DeltaTable(root)) if _may_have(file, wanted)]
            if files:
                yield from sealed(wanted.stream, self._events(root, files, wanted), self._clock.time())
        except (OSError, DeltaError, duckdb.Error) as error:
            raise Unavailable(f"the lake at {root} can't be read: {error}") from error

    def _events(self, root: Path, files: list[DataFile], wanted: Wanted) -> Iterator[Stored]:
        columns = ", ".join(f'"{name}"' for name in COLUMNS)
        asked = (
            f'SELECT sequence, epoch_us("at"), region, "date", {columns} FROM {read_files(root, files)} '
            "WHERE stream = ? AND sequence BETWEEN ? AND ? ORDER BY sequence"
        )
        with connect(memory_mb=_MEMORY_MB, threads=1) as con:
            for first, last in wanted.numbers:
                answer = con.execute(asked, [wanted.stream, first, last])
                while rows := answer.fetchmany(_ROWS):
                    for row in rows:
                        yield _stored(wanted.stream, row)


def _may_have(file: DataFile, wanted: Wanted) -> bool:
    """An event is rarely from after it was taken in, but may be from long before: it waited in a spool."""
    if wanted.region and file.region != wanted.region:
        return False
    return file.date == SKEWED or file.min_us < (wanted.until + _AHEAD_S) * 1_000_000


def _stored(stream: str, row: tuple[Any, ...]) -> Stored:
    number, at_us, region, date, *values = row
    named = dict(zip(COLUMNS, values, strict=True))
    # What went to `skewed` bore another day, which is its events' own: so it goes there again, and is known there.
    day = f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d}".rjust(10, "0") if date == SKEWED else date
    line = line_of(named, at_us, region, stream, number)
    return Stored(number, line, at_us / 1e6, region, day, named["service"], named["instance"])
