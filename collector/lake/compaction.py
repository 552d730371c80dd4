"""Compaction: a stream of small writes becomes files worth reading, and no event is ever lost or doubled by it.

A merged file replaces exactly the files that it was read from, in one commit, and only if all of them are still in
the table then. (Delta's own optimize is not used: two of them at once doubled rows when we tried.)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from .files import DataFile, FileWriter, add_action, read_dead, read_files, remove_action
from .schema import DEAD, columns_of
from .sink import LakeSink
from .table import Stale

log = logging.getLogger("lastbeat.lake")

FULL_ROWS = 500_000
"""A file of this many rows is left alone."""
MOST_ROWS = 1_000_000
"""No merge makes a larger file: that bounds its memory."""
_FAN_IN = 8
_QUIET_S = 3_600
_PIECE_ROWS = 122_880
_ATTEMPTS = 5


def choose(files: Iterable[DataFile], now: float) -> list[list[DataFile]]:
    """Which files to merge with each other, each group of one partition.

    While a day is being written, files merge when there are eight of about one size, so an event is rewritten a few
    times in all, not each time that something arrives. A day that is over and quiet becomes as few files as may be.
    """
    today = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
    partitions: dict[tuple[str, str], list[DataFile]] = {}
    for file in files:
        if file.rows < FULL_ROWS:
            partitions.setdefault((file.region, file.date), []).append(file)
    groups: list[list[DataFile]] = []
    for (_, date), small in sorted(partitions.items()):
        quiet = date < today and all(file.added_at_s < now - _QUIET_S for file in small)
        for alike, least in [(small, 2)] if quiet else [(tier, _FAN_IN) for tier in _tiers(small)]:
            groups += [group for group in _packed(alike) if len(group) >= least]
    return groups


def _tiers(files: Iterable[DataFile]) -> list[list[DataFile]]:
    tiers: dict[int, list[DataFile]] = {}
    for file in files:
        tier = (max(file.rows, 1).bit_length() - 1) // 3  # a factor of eight
        tiers.setdefault(tier, []).append(file)
    return list(tiers.values())


def _packed(files: Iterable[DataFile]) -> list[list[DataFile]]:
    """In order of time, as many together as fit into one file."""
    groups: list[list[DataFile]] = [[]]
    rows = 0
    for file in sorted(files, key=lambda file: (file.min_us, file.path)):
        if rows + file.rows > MOST_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append(file)
        rows += file.rows
    return groups


def merge(sink: LakeSink, table: str, group: list[DataFile]) -> bool:
    """Make one file of these, while writing goes on. False: the table changed meanwhile, so nothing was done."""
    with sink.lock:
        root = sink.table(table).root
    columns = columns_of(table)
    names = ", ".join(f'"{name}"' for name in columns.names)
    with (
        sink.cursor() as con,
        FileWriter(root, columns, group[0].region, group[0].date) as writer,
    ):
        rows = read_dead(root, group) if table == DEAD else read_files(root, group)
        _copy(con, f'SELECT {names} FROM {rows} ORDER BY "at"', columns, writer)
        merged = writer.finish(max(file.added_at_s for file in group))
        done = False
        try:
            done = merged.rows == sum(file.rows for file in group) and _replace(sink, table, group, merged)
        finally:
            if not done:
                (root / merged.path).unlink(missing_ok=True)
    return done


def _copy(con: duckdb.DuckDBPyConnection, select: str, columns: pa.Schema, writer: FileWriter) -> None:
    for batch in con.sql(select).to_arrow_reader(_PIECE_ROWS):
        writer.write(pa.Table.from_batches([batch]).cast(columns))


def _replace(sink: LakeSink, table: str, group: list[DataFile], merged: DataFile) -> bool:
    """Commit the exchange, on a snapshot that is seen to have every one of the old files."""
    for _ in range(_ATTEMPTS):
        with sink.lock:
            owner = sink.refreshed(table)
            if not {file.path for file in group} <= {file.path for file in owner.files()}:
                return False
            try:
                owner.commit(
                    adds=[add_action(merged, new_data=False)],
                    removes=[remove_action(file, sink.clock.time(), new_data=False) for file in group],
                )
                return True
            except Stale:
                continue
    return False
