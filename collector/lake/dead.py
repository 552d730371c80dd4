"""Reading the lake's dead letters, for a person who wants to know what could not be stored, and why."""

from __future__ import annotations

from pathlib import Path

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from collector.ports import DeadLetter
from shippers.errors import Unavailable

from .files import active_files, read_files
from .parse import connect
from .schema import DEAD

_FIELDS = ("stream", "first", "count", "region", "service", "dataset", "reason", "source", "original")


def dead_letters_in(path: Path, *, since: float = 0.0, limit: int = 10_000) -> list[DeadLetter]:
    """The newest dead letters of the lake at `path`, oldest first. Raises Unavailable."""
    root = path / DEAD
    try:
        if not DeltaTable.is_deltatable(str(root)):
            return []
        files = [file for file in active_files(DeltaTable(root)) if file.max_us >= since * 1_000_000]
        if not files:
            return []
        with connect(memory_mb=256, threads=1) as con:
            rows = con.execute(
                f'SELECT {", ".join(_FIELDS)}, epoch_us("at") FROM {read_files(root, files)} WHERE epoch_us("at") >= ? '
                'ORDER BY "at" DESC, source DESC, first DESC LIMIT ?',
                [round(since * 1_000_000), limit],
            ).fetchall()
    except (OSError, DeltaError, duckdb.Error) as error:
        raise Unavailable(f"the dead letters at {root} can't be read: {error}") from error
    return [
        DeadLetter(**dict(zip(_FIELDS, values, strict=True)), at=at_us / 1_000_000) for *values, at_us in reversed(rows)
    ]
