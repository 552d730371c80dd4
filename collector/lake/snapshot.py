"""What the lake holds at one moment, for readers: the tables' files and how far the journal is in them, of one commit
each. Read-only, and any number of processes may; a lake that is not there yet is an empty one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable

from collector.ports import TopicPartition

from .files import DataFile, active_files
from .schema import TABLES
from .table import position_in


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Files by table, and everything of a partition below its position is in them."""

    path: Path
    files: Mapping[str, tuple[DataFile, ...]]
    positions: Mapping[TopicPartition, int]

    def matching(self, dataset: str, regions: Iterable[str], start_us: int, end_us: int) -> list[DataFile]:
        """The files that may have events of these regions (none: any) in this time."""
        wanted = frozenset(regions)
        return [
            file
            for file in self.files.get(dataset, ())
            if file.max_us >= start_us and file.min_us < end_us and (not wanted or file.region in wanted)
        ]


class Snapshots:
    """Takes snapshots; each costs a look at the tables' logs, and a listing only where something changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._tables: dict[str, DeltaTable] = {}
        self._files: dict[str, tuple[int, tuple[DataFile, ...]]] = {}

    def take(self, tps: Iterable[TopicPartition]) -> Snapshot:
        """The lake as it is now, with the positions of these partitions. Raises OSError or DeltaError."""
        with self._lock:
            files = {table: self._files_of(table) for table in TABLES}
            positions = {tp: self._position(tp) for tp in tps}
        return Snapshot(self._path, files, {tp: at for tp, at in positions.items() if at is not None})

    def forget(self) -> None:
        """Open everything anew next time, as after the lake was replaced under us."""
        with self._lock:
            self._tables.clear()
            self._files.clear()

    def _files_of(self, dataset: str) -> tuple[DataFile, ...]:
        table = self._tables.get(dataset)
        if table is not None:
            table.update_incremental()
        else:
            root = self._path / dataset
            if not (root / "_delta_log").is_dir() or not DeltaTable.is_deltatable(str(root)):
                return ()
            table = self._tables[dataset] = DeltaTable(root)
        version, files = self._files.get(dataset, (-1, ()))
        if version != table.version():
            files = tuple(active_files(table))
            self._files[dataset] = (table.version(), files)
        return files

    def _position(self, tp: TopicPartition) -> int | None:
        table = self._tables.get(tp.topic.rpartition(".")[2])
        return None if table is None else position_in(table, tp)
