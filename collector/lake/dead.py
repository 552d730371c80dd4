"""The lake's dead letters, for a person who wants to know what could not be stored, and why, and to send it again.

Taking letters off the list rewrites their files, beside the one writer and as it does: a commit that holds only on the
snapshot that was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from collector.dead_letters import WHOLE_BATCH, Among, DeadLetter, void_id
from shippers.batch import Header
from shippers.clock import Clock
from shippers.errors import Unavailable

from .files import DataFile, active_files, add_action, read_dead, read_files, remove_action, write_file
from .parse import connect
from .schema import DEAD, DEAD_LETTERS, SKEWED
from .table import LakeTable, Stale

_TEXT = ("stream", "region", "service", "dataset", "reason", "source", "instance", "day")
_ATTEMPTS = 5
_NAME = (  # as collector.dead_letters.id_of says it
    f"CASE WHEN starts_with(reason, '{WHOLE_BATCH}') THEN source "
    "WHEN starts_with(reason, 'void: ') THEN stream || ':' || first || '+' || count || ':void' "
    "WHEN count = 1 THEN stream || ':' || first "
    "ELSE stream || ':' || first || '+' || count END"
)


def dead_letters_in(path: Path, *, since: float = 0.0, limit: int = 10_000) -> list[DeadLetter]:
    """The newest dead letters of the lake at `path`, oldest first, every one that was kept. Raises Unavailable."""
    return _read(path, f'epoch_us("at") >= {round(since * 1_000_000)}', [], limit, since=since)[::-1]


def settling_letters_in(path: Path) -> list[DeadLetter]:
    """Every letter of the lake at `path` that settles its numbers, without its original bytes. Raises Unavailable."""
    return _read(path, f"NOT starts_with(reason, '{WHOLE_BATCH}')", [], 2**62, originals=False)


class LakeDeadLetters:
    """See the port DeadLetters. `path` is the lake's folder."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock

    def find(self, among: Among, limit: int) -> list[DeadLetter]:
        """See DeadLetters.find."""
        wanted = {name: getattr(among, name) for name in ("region", "service", "dataset", "stream")}
        tests = [f"{name} = ?" for name, value in wanted.items() if value]
        values: list[Any] = [value for value in wanted.values() if value]
        if among.reason:
            tests.append("contains(lower(reason), ?)")
            values.append(among.reason.lower())
        tests.append('epoch_us("at") >= ?')
        values.append(round(among.since * 1_000_000))
        return _read(
            self._path, " AND ".join(tests), values, limit, since=among.since, newest_of_name=True, originals=False
        )

    def get(self, id: str) -> DeadLetter | None:
        """See DeadLetters.get."""
        found = _read(self._path, f"{_NAME} = ?", [id], 1) or _read(self._path, f"{_NAME} = ?", [void_id(id)], 1)
        return next(iter(found), None)

    def stored(self, header: Header) -> int:
        """See DeadLetters.stored."""
        root = self._path / header.dataset
        try:
            if not DeltaTable.is_deltatable(str(root)):
                return 0
            files = [file for file in active_files(DeltaTable(root)) if file.date in (header.day, SKEWED)]
            if not files:
                return 0
            asked = "SELECT count(DISTINCT sequence) FROM {} WHERE stream = ? AND sequence BETWEEN ? AND ?"
            with connect(memory_mb=256, threads=1) as con:
                values = [header.stream, header.first, header.last]
                [(count,)] = con.execute(asked.format(read_files(root, files)), values).fetchall()
        except (OSError, DeltaError, duckdb.Error) as error:
            raise Unavailable(f"the lake at {root} can't be read: {error}") from error
        return int(count)

    def drop(self, letters: Sequence[DeadLetter]) -> None:
        """See DeadLetters.drop."""
        root = self._path / DEAD
        error: Exception | None = None
        for _ in range(_ATTEMPTS):
            try:
                if DeltaTable.is_deltatable(str(root)):
                    self._drop(LakeTable(root, DEAD), letters)
                return
            except Stale as stale:
                error = stale
            except (OSError, DeltaError, duckdb.Error) as broken:
                error = broken
                break
        raise Unavailable(f"the dead letters at {root} can't be changed: {error}") from error

    def _drop(self, table: LakeTable, letters: Sequence[DeadLetter]) -> None:
        keys = [(one.stream, one.first, one.count, one.source) for one in letters]
        if not keys:
            return
        columns = [list(column) for column in zip(*keys, strict=True)]
        gone = pa.table(columns, names=["stream", "first", "count", "source"])
        adds, removes, made = [], [], list[DataFile]()
        try:
            with connect(memory_mb=256, threads=1) as con:
                con.register("gone", gone)
                for file in table.files():
                    rows = read_dead(table.root, [file])
                    kept = con.sql(f"SELECT * FROM {rows} ANTI JOIN gone USING (stream, first, count, source)")
                    left = kept.to_arrow_table().select(DEAD_LETTERS.names).cast(DEAD_LETTERS)
                    if left.num_rows == file.rows:
                        continue
                    removes.append(remove_action(file, self._clock.time(), new_data=True))
                    if left.num_rows:
                        made.append(write_file(table.root, left, file.region, file.date, file.added_at_s))
                        adds.append(add_action(made[-1], new_data=True))
            if removes:
                table.commit(adds=adds, removes=removes)
        except BaseException:
            named = {file.path for file in active_files(DeltaTable(table.root))}
            for file in made:
                if file.path not in named:
                    (table.root / file.path).unlink(missing_ok=True)
            raise


def _read(
    path: Path, test: str, values: Sequence[Any], limit: int, *, since: float = 0.0, newest_of_name: bool = False,
    originals: bool = True,
) -> list[DeadLetter]:  # fmt: skip
    """The newest letters first. Raises Unavailable."""
    root = path / DEAD
    try:
        if not DeltaTable.is_deltatable(str(root)):
            return []
        files = [file for file in active_files(DeltaTable(root)) if file.max_us >= since * 1_000_000]
        if not files:
            return []
        texts = ", ".join(f"coalesce({name}, '')" for name in _TEXT)
        original = "original" if originals else "''::BLOB"
        newest = f'QUALIFY row_number() OVER (PARTITION BY {_NAME} ORDER BY "at" DESC, source DESC) = 1 '
        with connect(memory_mb=256, threads=1) as con:
            rows = con.execute(
                f'SELECT {texts}, first, count, {original}, epoch_us("at") FROM {read_dead(root, files)} WHERE {test} '
                f'{newest if newest_of_name else ""}ORDER BY "at" DESC, source DESC, first DESC LIMIT ?',
                [*values, limit],
            ).fetchall()
    except (OSError, DeltaError, duckdb.Error) as error:
        raise Unavailable(f"the dead letters at {root} can't be read: {error}") from error
    return [
        DeadLetter(**dict(zip(_TEXT, texts, strict=True)), first=first, count=count, original=original, at=at / 1e6)
        for *texts, first, count, original, at in rows
    ]
