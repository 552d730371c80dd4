"""Lines of JSON to rows, by DuckDB, which parses 600,000 of them a second on two cores.

A row is told from its neighbours by its position alone. Lines that can't be stored come back by their position with
the reason; they never cost a neighbour. Nothing here is written anywhere.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .schema import FROM_BODY, FROM_FOREIGN, select_lines

_EPOCH_US, _YEAR_10000_US = 0, 253_402_300_800_000_000


@dataclass(frozen=True, slots=True)
class Parsed:
    """One row a line, columns FROM_BODY; `bad` are the positions of lines that could not be read (rows of NULLs)."""

    rows: pa.Table
    bad: tuple[int, ...]


def connect(memory_mb: int, threads: int) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory, for times in UTC, that never reaches for the network. Beyond `memory_mb` it sorts on disk."""
    con = duckdb.connect(
        config={
            "memory_limit": f"{memory_mb}MB",
            "threads": threads,
            "autoinstall_known_extensions": False,
            "temp_directory": str(Path(tempfile.gettempdir()) / f"lastbeat-duckdb-{os.getpid()}"),
        }
    )
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    return con


def parse(
    con: duckdb.DuckDBPyConnection,
    dataset: str,
    bodies: Sequence[bytes],
    counts: Sequence[int],
    *,
    foreign: bool = False,
) -> Parsed:
    """Read the bodies' lines, all of one dataset; `counts` is how many lines each has. Those of foreign producers,
    which we wrote ourselves, also say who sent each.

    Where DuckDB gives up, or sees another number of lines than were counted (so that positions say nothing), bodies
    are read one by one, then line by line; what is still in doubt then is given back as bad.
    """
    lines = sum(counts)
    try:
        rows = _read(con, dataset, bodies, foreign)
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        rows = None
    if rows is not None and rows.num_rows == lines:
        return Parsed(rows, _without_time(rows))
    if lines == 1:
        return Parsed(_nothing(lines, foreign), (0,))
    if len(bodies) == 1:
        alone = [line + b"\n" for line in bodies[0].split(b"\n")[:lines]]
        return _apart(con, dataset, alone, [1] * lines, foreign)
    return _apart(con, dataset, bodies, counts, foreign)


def _apart(
    con: duckdb.DuckDBPyConnection, dataset: str, bodies: Sequence[bytes], counts: Sequence[int], foreign: bool
) -> Parsed:
    each = zip(bodies, counts, strict=True)
    parts = [parse(con, dataset, [body], [count], foreign=foreign) for body, count in each]
    starts = np.cumsum([0, *counts[:-1]]).tolist()
    bad = [start + i for start, part in zip(starts, parts, strict=True) for i in part.bad]
    return Parsed(pa.concat_tables([part.rows for part in parts]), tuple(bad))


def _read(con: duckdb.DuckDBPyConnection, dataset: str, bodies: Sequence[bytes], foreign: bool) -> pa.Table:
    with _as_file(bodies) as path:
        found = con.sql(select_lines(path, dataset, foreign=foreign)).to_arrow_table()
        return found.cast(FROM_FOREIGN if foreign else FROM_BODY)


def _without_time(rows: pa.Table) -> tuple[int, ...]:
    at = rows["at"].combine_chunks().cast(pa.int64())
    possible = pc.and_(pc.greater_equal(at, _EPOCH_US), pc.less(at, _YEAR_10000_US))
    return tuple(pc.indices_nonzero(pc.invert(possible.fill_null(False))).to_pylist())


def _nothing(lines: int, foreign: bool) -> pa.Table:
    schema = FROM_FOREIGN if foreign else FROM_BODY
    return pa.table([pa.nulls(lines, field.type) for field in schema], schema=schema)


@contextmanager
def _as_file(parts: Sequence[bytes]) -> Iterator[str]:
    """The parts end to end as a file with a name: in memory where the system can, so that nothing can be left over."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("lastbeat-lines")
        try:
            with open(fd, "wb", closefd=False) as file:
                file.writelines(parts)
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
        return
    with tempfile.NamedTemporaryFile(suffix=".ndjson") as file:
        file.writelines(parts)
        file.flush()
        yield file.name
