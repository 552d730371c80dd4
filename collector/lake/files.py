"""The lake's data files: written once, on the disk before a commit names them, never changed. Fresh ones are in the
order of arrival; compaction brings them together, sorted by time.

A file that no commit names is nobody's: it is neither read nor counted, and vacuum takes it away.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from shippers.durable import sync


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file that a snapshot names. Times are microseconds since the epoch, both of events in it; `added_at_s` is
    when it was written."""

    path: str
    region: str
    date: str
    rows: int
    size_bytes: int
    min_us: int
    max_us: int
    added_at_s: float


def active_files(delta: DeltaTable) -> list[DataFile]:
    """Every file of the snapshot that `delta` holds; `path` is relative to the table."""
    adds = pa.table(delta.get_add_actions(flatten=True))
    if adds.num_rows == 0:
        return []
    columns = [
        adds["path"].to_pylist(),
        adds["partition.region"].to_pylist(),
        adds["partition.date"].to_pylist(),
        adds["num_records"].to_pylist(),
        adds["size_bytes"].to_pylist(),
        adds["min.at"].cast(pa.int64()).to_pylist(),
        adds["max.at"].cast(pa.int64()).to_pylist(),
        [modified / 1_000 for modified in adds["modification_time"].to_pylist()],
    ]
    return [DataFile(*values) for values in zip(*columns, strict=True)]


def holds(lake: Path, dataset: str, region: str, day: str, events: int) -> bool:
    """Whether the lake at `lake` holds as many events of a day as another store has: the proof that it is archived."""
    root = lake / dataset
    if not DeltaTable.is_deltatable(str(root)):
        return events == 0
    files = active_files(DeltaTable(root))
    return sum(file.rows for file in files if (file.region, file.date) == (region, day)) >= events


def write_file(root: Path, rows: pa.Table, region: str, date: str, added_at_s: float) -> DataFile:
    """Write rows as a new file of one partition; it is on the disk on return.

    Raises OSError; then nothing is left behind.
    """
    with FileWriter(root, rows.schema, region, date) as writer:
        writer.write(rows)
        return writer.finish(added_at_s)


class FileWriter:
    """Writes one new file, piece by piece. Leaving it unfinished deletes the file."""

    def __init__(self, root: Path, schema: pa.Schema, region: str, date: str) -> None:
        self._name = f"region={region}/date={date}/{uuid.uuid4().hex}.parquet"
        self._path = root / self._name
        self._region, self._date = region, date
        self._rows, self._min_us, self._max_us = 0, 0, 0
        self._finished = False
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._path, schema, **_encodings(schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._path.unlink(missing_ok=True)

    def write(self, rows: pa.Table) -> None:
        """Add rows; a file sorted by time is read with less effort."""
        if not rows.num_rows:
            return
        times = pc.min_max(rows["at"].cast(pa.int64())).as_py()
        self._min_us = min(times["min"], self._min_us) if self._rows else times["min"]
        self._max_us = max(times["max"], self._max_us) if self._rows else times["max"]
        self._rows += rows.num_rows
        self._writer.write_table(rows, row_group_size=_ROW_GROUP)

    def finish(self, added_at_s: float) -> DataFile:
        """Bring the file to the disk."""
        self._writer.close()
        sync(self._path)
        sync(self._path.parent)
        self._finished = True
        size = self._path.stat().st_size
        return DataFile(self._name, self._region, self._date, self._rows, size, self._min_us, self._max_us, added_at_s)


_ROW_GROUP = 122_880
"""What DuckDB reads in one go with one thread."""

_RUNS = ("at", "sequence", "duration_ns", "pid", "first", "count")
_UNIQUE = ("message", "error_message", "error_stack", "original")


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """How each column packs best; measured: half of what the writer's defaults take, at half of their cost."""
    runs = dict.fromkeys((name for name in _RUNS if name in schema.names), "DELTA_BINARY_PACKED")
    unique = dict.fromkeys((name for name in _UNIQUE if name in schema.names), "DELTA_LENGTH_BYTE_ARRAY")
    maps = [f"{name}.key_value.{part}" for name in ("labels", "measures") if name in schema.names for part in _ENTRY]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "column_encoding": runs | unique,
        "write_statistics": [name for name in ("at", "sequence") if name in schema.names],
        "use_dictionary": [name for name in schema.names if name not in runs and name not in unique] + maps,
    }


_ENTRY = ("key", "value")


def add_action(file: DataFile, *, new_data: bool) -> AddAction:
    """The commit's line that makes `file` part of the table. Its statistics are what readers leave files out by."""
    stats = {
        "numRecords": file.rows,
        "minValues": {"at": _rfc3339(file.min_us)},
        "maxValues": {"at": _rfc3339(file.max_us)},
        "nullCount": {"at": 0},
    }
    partition = {"region": file.region, "date": file.date}
    added_ms = int(file.added_at_s * 1_000)
    return AddAction(file.path, file.size_bytes, partition, added_ms, new_data, json.dumps(stats))


def remove_action(file: DataFile, now: float, *, new_data: bool) -> RemoveAction:
    """The commit's line that takes `file` out of the table; the file itself stays until vacuum."""
    partition: dict[str, str | None] = {"region": file.region, "date": file.date}
    return RemoveAction(file.path, new_data, int(now * 1_000), file.size_bytes, partition)


def read_files(root: Path, files: Iterable[DataFile]) -> str:
    """SQL for the rows of `files` under `root`, with their partitions as columns."""
    paths = ", ".join(f"'{quoted(root / file.path)}'" for file in files)
    return f"read_parquet([{paths}], hive_partitioning = true, hive_types_autocast = false)"


def read_dead(root: Path, files: Iterable[DataFile]) -> str:
    """The same for files of dead letters, the oldest of which have fewer columns: those are NULL there."""
    paths = ", ".join(f"'{quoted(root / file.path)}'" for file in files)
    return (
        f"(SELECT * FROM read_parquet([{paths}], hive_partitioning = true, hive_types_autocast = false, "
        'union_by_name = true) UNION ALL BY NAME SELECT NULL::VARCHAR AS instance, NULL::VARCHAR AS "day" WHERE false)'
    )


def quoted(path: Path) -> str:
    """A path inside an SQL string."""
    return str(path).replace("'", "''")


def _rfc3339(us: int) -> str:
    seconds, rest = divmod(us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"
