"""LakeSink: batches into Delta tables, each event exactly once.

What makes it once: the journal's position and the rows are one commit; a commit holds only on the snapshot that the
ledger and the position were read from; and a batch that comes at two positions is known by its stream and numbers.
Dead letters are committed first, with a position of their own, so that a kill in between neither loses nor doubles one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from collector.ports import DeadLetter, Outcome, Record, TopicPartition
from collector.settings import LakeSettings
from shippers.batch import DATASETS
from shippers.clock import Clock
from shippers.errors import Unavailable

from .files import DataFile, active_files, add_action, write_file
from .ledgers import Ledgers
from .parse import connect
from .plan import Planned, Planner
from .rows import Read, read, rows_of_dead
from .schema import DEAD, TABLES, date_of
from .table import LakeTable, Stale

log = logging.getLogger("lastbeat.lake")

_ATTEMPTS = 5
_REPLAY = b'"replay":true'
_FILE_BYTES = 128 * 1024 * 1024
"""Bodies beyond this go to another file, so that one write needs a bounded memory."""
_PIECE_BYTES = 8 * 1024 * 1024
"""What one thread reads in one go."""


@dataclass(slots=True)
class _Work:
    """One dataset's share of a write."""

    plans: list[Planned]
    writes: list[Future[DataFile]] = field(default_factory=list)
    files: list[DataFile] = field(default_factory=list)
    stored: dict[int, int] = field(default_factory=dict)
    dead: dict[int, list[DeadLetter]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Group:
    """What goes to one file: pieces of plans, each with what is being read of it."""

    work: _Work
    root: Path
    region: str
    date: str
    reads: list[tuple[list[Planned], Future[Read]]]


class LakeSink:
    """The lake's one writer, a folder of tables under `path`. See the port Sink; `lake.upkeep` does what is not
    writing. Thread-safe: writing and upkeep may run at once."""

    def __init__(self, path: Path, settings: LakeSettings, clock: Clock) -> None:
        self.path = path
        self.settings = settings
        self.clock = clock
        self.lock = threading.RLock()
        self._con = connect(settings.memory_mb, 1)
        self._tables: dict[str, LakeTable] = {}
        self._ledgers = Ledgers(self._con, lambda name: (self.table(name).root, self.table(name).files()))
        self._written: list[tuple[Path, DataFile]] = []

    def write(self, records: Sequence[Record]) -> list[Outcome]:
        """See Sink.write."""
        if not any(_REPLAY in record.header for record in records):
            return self._write_together(records) if records else []
        outcomes: list[Outcome] = []
        for _, run in groupby(records, lambda record: _REPLAY in record.header):
            some = list(run)  # what a replay mends must have been settled before it
            try:
                outcomes += self._write_together(some)
            except Unavailable:
                if not outcomes:
                    raise
                return [*outcomes, *(Outcome(record, retry=True) for record in records[len(outcomes) :])]
        return outcomes

    def _write_together(self, records: Sequence[Record]) -> list[Outcome]:
        with self.lock:
            for _ in range(_ATTEMPTS):
                try:
                    return self._write(records)
                except Stale:
                    self.forget()
                except (OSError, DeltaError, duckdb.Error) as error:
                    raise Unavailable(f"the lake at {self.path} can't be written: {error}") from error
        raise Unavailable(f"the lake at {self.path}: another writer keeps committing first; run only one indexer on it")

    def positions(self) -> Mapping[TopicPartition, int]:
        """See Sink.positions. Each topic belongs to one table, so its position there is the one to read on from."""
        with self.lock:
            try:
                found: dict[TopicPartition, int] = {}
                for dataset in DATASETS:
                    found |= self.table(dataset).positions()
                return found
            except (OSError, DeltaError) as error:
                self.forget()
                raise Unavailable(f"the lake at {self.path} can't be read: {error}") from error

    def close(self) -> None:
        """See Sink.close."""
        with self.lock:
            self.forget()
            self._con.close()

    def table(self, name: str) -> LakeTable:
        """The table `name`. Only with the lock held."""
        if name not in self._tables:
            assert name in TABLES
            self._tables[name] = LakeTable(self.path / name, name)
        return self._tables[name]

    def refreshed(self, name: str) -> LakeTable:
        """The table `name` as it is now, whoever changed it. Only with the lock held."""
        table = self.table(name)
        if table.refresh():
            self._ledgers.clear()  # what it knows goes with the snapshot it was read from
        return table

    def forget(self) -> None:
        """Throw away everything that was read, so that it is read again. Only with the lock held."""
        self._tables.clear()
        self._ledgers.clear()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection for another thread, within the same bounds."""
        return self._con.cursor()

    def _write(self, records: Sequence[Record]) -> list[Outcome]:
        now = self.clock.time()
        plans = self._plan(records, now)
        works: dict[str, _Work] = {}
        for plan in plans:
            works.setdefault(_dataset(plan.record.tp), _Work([])).plans.append(plan)
        self._written = []
        try:
            self._read(works, now)
            self._commit_dead(works, now)
            outcomes, failed = self._commit_all(works)
        except BaseException:
            self._sweep()
            raise
        if failed is not None:
            self._sweep()
            if all(outcome.retry for outcome in outcomes.values()):
                raise failed
        return [outcomes[id(plan)] for plan in plans]

    def _commit_all(self, works: Mapping[str, _Work]) -> tuple[dict[int, Outcome], Exception | None]:
        """Commit table by table: one that fails does not undo another, its records are for the next try."""
        outcomes: dict[int, Outcome] = {}
        failed: Exception | None = None
        for dataset, work in works.items():
            try:
                self._commit(dataset, work)
            except (OSError, DeltaError, duckdb.Error, Stale) as error:
                failed = error
                outcomes |= {id(plan): Outcome(plan.record, retry=True) for plan in work.plans}
            else:
                outcomes |= _outcomes(work)
        return outcomes, failed

    def _sweep(self) -> None:
        """Delete the files of a write that failed: a full disk must not fill with them. But a commit may have landed
        although it raised; so only what a fresh look at the table does not name."""
        for root, file in self._written:
            try:
                if file.path not in {named.path for named in active_files(DeltaTable(root))}:
                    (root / file.path).unlink(missing_ok=True)
            except (OSError, DeltaError):
                log.warning("%s is left over from a failed write; vacuum will delete it", root / file.path)

    def _plan(self, records: Sequence[Record], now: float) -> list[Planned]:
        tps = {record.tp for record in records}
        positions = {tp: self.table(_dataset(tp)).position(tp) for tp in tps}
        return Planner(self._ledgers.knowing, positions, now).plan(records)

    def _read(self, works: Mapping[str, _Work], now: float) -> None:
        """Parse what is to be stored and write it to files that no commit names yet. All cores work: DuckDB reads one
        piece with one thread, so several are read at once, and the next group while one is written."""
        with ThreadPoolExecutor(self.settings.threads) as pool:
            before: _Group | None = None
            for dataset, work in works.items():
                work.dead.update((id(plan), list(plan.dead)) for plan in work.plans)
                for region, date, plans in self._groups(work.plans, now):
                    reads = [
                        (some, pool.submit(self._parse, dataset, some, now)) for some in _pieces(plans, _PIECE_BYTES)
                    ]
                    if before:
                        self._finish(before, pool)
                    before = _Group(work, self.table(dataset).root, region, date, reads)
            if before:
                self._finish(before, pool)
        for work in works.values():
            work.files = [file.result() for file in work.writes]

    def _parse(self, dataset: str, plans: Sequence[Planned], now: float) -> Read:
        with self._con.cursor() as cursor:
            return read(cursor, dataset, plans, now)

    def _finish(self, group: _Group, pool: ThreadPoolExecutor) -> None:
        """Take in what was read of a group, and have its file written."""
        work = group.work
        parts: list[pa.Table] = []
        for plans, reading in group.reads:
            result = reading.result()
            parts.append(result.rows)
            for plan, stored, dead in zip(plans, result.stored, result.dead, strict=True):
                work.stored[id(plan)] = stored
                work.dead[id(plan)] += dead
        rows = pa.concat_tables(parts).unify_dictionaries()
        if rows.num_rows:
            work.writes.append(pool.submit(self._write_rows, group.root, rows, group.region, group.date))

    def _groups(self, plans: Iterable[Planned], now: float) -> Iterator[tuple[str, str, list[Planned]]]:
        """The plans that have lines to store, by the partition they go to, in files of a bounded size."""
        groups: dict[tuple[str, str], list[Planned]] = {}
        for plan in plans:
            if plan.fresh and plan.header is not None:
                date = date_of(plan.header.day, now, self.settings.keep_days)
                groups.setdefault((plan.header.region, date), []).append(plan)
        for (region, date), members in groups.items():
            for part in _pieces(members, _FILE_BYTES):
                yield region, date, part

    def _write_rows(self, root: Path, rows: pa.Table, region: str, date: str) -> DataFile:
        file = write_file(root, rows, region, date, self.clock.time())
        self._written.append((root, file))
        return file

    def _commit_dead(self, works: Mapping[str, _Work], now: float) -> None:
        """Commit the dead letters that are not in their table yet: those of records at or behind its own position."""
        table = self.table(DEAD)
        letters: dict[tuple[str, str], list[DeadLetter]] = {}
        moved: dict[TopicPartition, int] = {}
        date = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
        for work in works.values():
            for plan in work.plans:
                tp = plan.record.tp
                if plan.record.next_offset > (table.position(tp) or 0) and work.dead[id(plan)]:
                    for letter in work.dead[id(plan)]:
                        letters.setdefault((letter.region, date), []).append(letter)
                    moved[tp] = max(moved.get(tp, 0), plan.record.next_offset)
        if letters:
            files = [
                self._write_rows(table.root, rows_of_dead(some), *partition) for partition, some in letters.items()
            ]
            table.commit(adds=[add_action(file, new_data=True) for file in files], positions=moved)

    def _commit(self, dataset: str, work: _Work) -> None:
        table = self.table(dataset)
        moved: dict[TopicPartition, int] = {}
        for plan in work.plans:
            tp = plan.record.tp
            moved[tp] = max(moved.get(tp, table.position(tp) or 0), plan.record.next_offset)
        adds = [add_action(file, new_data=True) for file in work.files]
        if adds or any(moved[tp] != table.position(tp) for tp in moved):
            table.commit(adds=adds, positions=moved)
        for plan in work.plans:
            self._ledgers.settle(plan, work.dead[id(plan)])


def _outcomes(work: _Work) -> dict[int, Outcome]:
    return {
        id(plan): Outcome(
            plan.record,
            stored=work.stored.get(id(plan), 0),
            duplicate=plan.duplicate,
            dead=sum(letter.count for letter in work.dead[id(plan)]),
        )
        for plan in work.plans
    }


def _dataset(tp: TopicPartition) -> str:
    return tp.topic.rpartition(".")[2]


def _pieces(plans: Iterable[Planned], size_bytes: int) -> Iterator[list[Planned]]:
    """The plans in runs of about `size_bytes` of bodies."""
    piece: list[Planned] = []
    size = 0
    for plan in plans:
        piece.append(plan)
        size += len(plan.record.body)
        if size >= size_bytes:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
