"""One Delta table of the lake, for its one writer: which files it has, how far each partition of the journal is in it,
and commits that change both at once or not at all.

A commit holds only on exactly the snapshot it was decided on: if anybody else committed meanwhile it is refused, and
the caller reads and decides anew. (A commit that the library may move onto a newer snapshot can double rows.)
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from collector.ports import TopicPartition
from shippers.durable import sync
from shippers.errors import LastbeatError

from .files import DataFile, active_files
from .schema import PARTITIONS, delta_schema

log = logging.getLogger("lastbeat.lake")

_CONFIGURATION = {
    "delta.logRetentionDuration": "interval 1 days",
    "delta.deletedFileRetentionDuration": "interval 1 hours",
    "delta.checkpointInterval": "100",
}


class Stale(LastbeatError):
    """Somebody else committed to the table first: nothing was changed; read it again and decide again."""


class LakeTable:
    """The table `name` in the folder `root`, created if it isn't there. Not thread-safe: its owner has the lock."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        _mend_log(root / "_delta_log")
        if DeltaTable.is_deltatable(str(root)):
            self._delta = DeltaTable(root)
        else:
            self._delta = DeltaTable.create(
                root, delta_schema(name), mode="ignore", partition_by=PARTITIONS, configuration=_CONFIGURATION
            )
        self._widen()
        self._known: set[TopicPartition] | None = None
        self._positions: dict[TopicPartition, int | None] = {}

    def _widen(self) -> None:
        """Give a table from before the columns that it lacks; in its files they are NULL."""
        had = {field.name for field in self._delta.schema().fields}
        wanted = Schema.from_arrow(delta_schema(self.name)).fields
        lacking = [field for field in wanted if field.name not in had]
        if lacking:
            try:
                self._delta.alter.add_columns(lacking)
            except CommitFailedError as error:
                raise Stale(f"{self.root}: somebody else committed first: {error}") from error

    def refresh(self) -> bool:
        """See what others committed; says whether they did."""
        before = self._delta.version()
        self._delta.update_incremental()
        self._positions.clear()
        return bool(self._delta.version() != before)

    def files(self) -> list[DataFile]:
        """The files of this snapshot."""
        return active_files(self._delta)

    def position(self, tp: TopicPartition) -> int | None:
        """Everything of `tp` below this offset is in the table for good; None if nothing is."""
        if tp not in self._positions:
            self._positions[tp] = position_in(self._delta, tp)
        return self._positions[tp]

    def positions(self) -> dict[TopicPartition, int]:
        """All positions that the table has."""
        if self._known is None:
            self._known = _partitions_in_log(self.root / "_delta_log")
        found = {tp: self.position(tp) for tp in self._known}
        return {tp: offset for tp, offset in found.items() if offset is not None}

    def commit(
        self,
        adds: Sequence[AddAction] = (),
        removes: Sequence[RemoveAction] = (),
        positions: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        """Change files and positions at once; on the disk when it returns. Raises Stale, OSError or DeltaError."""
        moved = [Transaction(_app_id(tp), offset) for tp, offset in (positions or {}).items()]
        try:
            self._delta.create_write_transaction(
                [*adds, *removes],
                "append",
                delta_schema(self.name),
                PARTITIONS,
                commit_properties=CommitProperties(app_transactions=moved or None, max_commit_retries=0),
            )
        except CommitFailedError as error:
            raise Stale(f"{self.root}: somebody else committed first: {error}") from error
        self.refresh()
        self._sync_log()
        if self._known is not None:
            self._known.update(positions or {})

    def vacuum(self, retention_hours: int) -> int:
        """Delete files that no snapshot of the last hours names, leftovers of killed writes included; says how many."""
        gone = self._delta.vacuum(retention_hours, dry_run=False, enforce_retention_duration=False, full=True)
        self.refresh()
        return len(gone)

    def checkpoint(self) -> None:
        """Write the table's state in one file, so that readers need not replay the log, and drop the log's past."""
        self._delta.create_checkpoint()
        self._delta.cleanup_metadata()

    def _sync_log(self) -> None:
        folder = self.root / "_delta_log"
        sync(folder / f"{self._delta.version():020d}.json")
        sync(folder)


def position_in(delta: DeltaTable, tp: TopicPartition) -> int | None:
    """How far `tp` is in the snapshot that `delta` holds."""
    return delta.transaction_version(_app_id(tp))


def _app_id(tp: TopicPartition) -> str:
    return f"lastbeat:{tp.topic}/{tp.partition}"


def _partition_of(app_id: str) -> TopicPartition | None:
    kind, _, rest = app_id.partition(":")
    topic, _, partition = rest.rpartition("/")
    return TopicPartition(topic, int(partition)) if kind == "lastbeat" else None


def _partitions_in_log(folder: Path) -> set[TopicPartition]:
    """Delta answers only for a transaction whose name is known; the names stand in its checkpoint and log."""
    names: set[str] = set()
    since = -1
    pointer = folder / "_last_checkpoint"
    if pointer.exists():
        since = json.loads(pointer.read_bytes())["version"]
        rows = pq.read_table(folder / f"{since:020d}.checkpoint.parquet", columns=["txn"])["txn"].to_pylist()
        names.update(row["appId"] for row in rows if row)
    for path in sorted(folder.glob("*.json")):
        if int(path.stem) > since:
            actions = map(json.loads, path.read_bytes().splitlines())
            names.update(action["txn"]["appId"] for action in actions if "txn" in action)
    return {tp for tp in map(_partition_of, names) if tp is not None}


def _mend_log(folder: Path) -> None:
    """Take away a last commit that a power cut left torn: it was never answered for, so its records are read again."""
    commits = sorted(folder.glob("*.json"))
    if commits and not _is_whole(commits[-1]):
        log.warning("%s: the last commit is torn (a power cut?); it was never acknowledged and is removed", commits[-1])
        commits[-1].unlink()


def _is_whole(commit: Path) -> bool:
    lines = commit.read_bytes().splitlines()
    try:
        return bool(lines) and all(isinstance(json.loads(line), dict) for line in lines)
    except ValueError:
        return False
