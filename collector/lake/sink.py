"""LakeSink: batches into Delta tables, each event exactly once.

What makes it once: the journal's position and the rows are one commit; a commit holds only on the snapshot that the
ledger and the position were read from; and a batch that comes at two positions is known by its stream and numbers.
Dead letters are committed first, with a position of their own, so that a kill in between neither loses nor doubles one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from collector.dead_letters import DeadLetter
from collector.ports import Outcome, Record, TopicPartition
from collector.settings import LakeSettings
from shippers.batch import DATASETS
from shippers.clock import Clock
from shippers.errors import Unavailable

from .contradiction import Contradictions
from .files import DataFile, active_files, add_action, write_file
from .filling import Filled, Filling, Made, Place
from .ledgers import Ledgers
from .parse import connect
from .plan import Planned, Planner, at_odds
from .rows import read, rows_of_dead
from .schema import DEAD, SKEWED, TABLES, date_of
from .table import LakeTable, Stale

log = logging.getLogger("lastbeat.lake")

_ATTEMPTS = 5
_REPLAY = b'"replay":true'


class LakeSink:
    """The lake's one writer, a folder of tables under `path`. See the port Sink; `lake.upkeep` does what is not
    writing. Thread-safe: writing and upkeep may run at once."""

    lanes = 1

    def __init__(self, path: Path, settings: LakeSettings, clock: Clock) -> None:
        self.path = path
        self.settings = settings
        self.clock = clock
        self.lock = threading.RLock()
        self._con = connect(settings.memory_mb, 1)
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="lastbeat-lake")
        self._tables: dict[str, LakeTable] = {}
        self._ledgers = Ledgers(self._con, lambda name: (self.table(name).root, self.table(name).files()))
        self._contradictions = Contradictions()
        self._written: list[tuple[Path, DataFile]] = []
        self.came_at = 0.0
        """When the journal took in the youngest record of the last write, by its clock."""

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
                break
            if any(outcome.retry for outcome in outcomes):
                break  # the position must not pass what isn't settled
        return [*outcomes, *(Outcome(record, retry=True) for record in records[len(outcomes) :])]

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
            self._pool.shutdown()
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
        self.came_at = max(record.appended_at for record in records)
        now = max(self.clock.time(), self.came_at)  # what a clock that is behind stamps would seem old soon
        self._written = []
        try:
            plans, filled = self._fill(records, now)
            self._commit_dead(plans, filled, now)
            outcomes, failed = self._commit_all(plans, filled)
        except BaseException:
            self._sweep()
            raise
        if failed is not None:
            self._sweep()
            if all(outcome.retry for outcome in outcomes.values()):
                raise failed
        return [outcomes[id(plan)] for plan in plans]

    def _fill(self, records: Sequence[Record], now: float) -> tuple[list[Planned], Filled]:
        """Plan each record, and have what is to be stored read and written to files that no commit names yet."""
        tps = {record.tp for record in records}
        positions = {tp: self.table(_dataset(tp)).position(tp) for tp in tps}
        plans: list[Planned] = []
        with Filling(self._pool, partial(self._make, now)) as filling:
            for plan in Planner(self._ledgers.knowing, positions, now).plan(records):
                plans.append(plan)
                if plan.fresh and plan.header is not None:
                    date = date_of(plan.header.day, plan.record.appended_at, self.settings.keep_days)
                    filling.add(Place(_dataset(plan.record.tp), plan.header.region, date), plan)
            return self._held_against_rows(plans, now), filling.finish()

    def _held_against_rows(self, plans: Sequence[Planned], now: float) -> list[Planned]:
        """The plans, but that what would be dropped as a duplicate and is none becomes a dead letter."""
        places: dict[tuple[str, str], list[Planned]] = {}
        for plan in self._contradictions.suspects(plans):
            if plan.header is not None:
                places.setdefault((plan.header.dataset, plan.header.day), []).append(plan)
        lying: set[int] = set()
        for (dataset, day), suspects in places.items():
            table = self.table(dataset)
            files = [file for file in table.files() if file.date in (day, SKEWED)]
            with self._con.cursor() as cursor:
                found = self._contradictions.among(cursor, dataset, suspects, table.root, files)
            lying.update(map(id, found))
        return [at_odds(plan, now) if id(plan) in lying else plan for plan in plans]

    def _commit_all(self, plans: Iterable[Planned], filled: Filled) -> tuple[dict[int, Outcome], Exception | None]:
        """Commit table by table: one that fails does not undo another, its records are for the next try."""
        shares: dict[str, list[Planned]] = {}
        for plan in plans:
            shares.setdefault(_dataset(plan.record.tp), []).append(plan)
        outcomes: dict[int, Outcome] = {}
        failed: Exception | None = None
        for dataset, share in shares.items():
            try:
                self._commit(dataset, share, filled)
            except (OSError, DeltaError, duckdb.Error, Stale) as error:
                failed = error
                outcomes |= {id(plan): Outcome(plan.record, retry=True) for plan in share}
            else:
                outcomes |= {id(plan): self._outcome(plan, filled) for plan in share}
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

    def _make(self, now: float, place: Place, plans: Sequence[Planned]) -> Made:
        with self._con.cursor() as cursor:
            found = read(cursor, place.dataset, plans, now)
        file = self._write_rows(place, found.rows, now) if found.rows.num_rows else None
        return Made(file, found.stored, found.dead)

    def _write_rows(self, place: Place, rows: pa.Table, now: float) -> DataFile:
        root = self.path / place.dataset
        file = write_file(root, rows, place.region, place.date, now)
        self._written.append((root, file))
        return file

    def _commit_dead(self, plans: Sequence[Planned], filled: Filled, now: float) -> None:
        """Commit the dead letters that are not in their table yet: those of records at or behind its own position. That
        goes back with a journal that begins anew, whether it has letters or not: later ones must not seem kept."""
        table = self.table(DEAD)
        letters: dict[str, list[DeadLetter]] = {}
        moved: dict[TopicPartition, int] = {}
        anew = {plan.record.tp for plan in plans if plan.anew}
        for plan in plans:
            tp, dead = plan.record.tp, _dead(plan, filled)
            position = table.position(tp)
            if dead and (tp in anew or plan.record.next_offset > (position or 0)):
                for letter in dead:
                    letters.setdefault(letter.region, []).append(letter)
            elif tp not in anew or position is None:
                continue
            moved[tp] = max(moved.get(tp, 0), plan.record.next_offset)
        if moved:
            date = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
            files = [
                self._write_rows(Place(DEAD, region, date), rows_of_dead(some), now) for region, some in letters.items()
            ]
            table.commit(adds=[add_action(file, new_data=True) for file in files], positions=moved)

    def _commit(self, dataset: str, plans: Sequence[Planned], filled: Filled) -> None:
        table = self.table(dataset)
        moved: dict[TopicPartition, int] = {}
        anew = {plan.record.tp for plan in plans if plan.anew}
        for plan in plans:
            tp = plan.record.tp
            reached = 0 if tp in anew else table.position(tp) or 0  # what it was in another journal says nothing
            moved[tp] = max(moved.get(tp, reached), plan.record.next_offset)
        for tp in anew:
            log.warning("%s/%d begins anew: the lake was at %s, and goes on at %d", *tp, table.position(tp), moved[tp])
        adds = [add_action(file, new_data=True) for file in filled.files.get(dataset, [])]
        if adds or any(moved[tp] != table.position(tp) for tp in moved):
            table.commit(adds=adds, positions=moved)
        for plan in plans:
            self._ledgers.settle(plan, _dead(plan, filled))

    def _outcome(self, plan: Planned, filled: Filled) -> Outcome:
        """What became of a plan that is committed; its numbers as the lake has them now."""
        stored = filled.stored.get(id(plan), 0)
        dead = sum(letter.count for letter in _dead(plan, filled))
        if plan.header is None or plan.open:
            return Outcome(plan.record, stored, plan.duplicate, dead, at_odds=plan.header if plan.at_odds else None)
        lost = self._ledgers.lost(plan.header)
        if lost.unknown:  # only its offset says that it was written before, which settles no numbers
            return Outcome(plan.record, stored, plan.duplicate, dead)
        return Outcome(
            plan.record, stored, plan.duplicate, dead,
            header=plan.header, dead_numbers=lost.dead, void_numbers=lost.void,
        )  # fmt: skip


def _dead(plan: Planned, filled: Filled) -> tuple[DeadLetter, ...]:
    """Its dead letters: those that were planned, and those that its lines made."""
    return plan.dead + filled.dead.get(id(plan), ())


def _dataset(tp: TopicPartition) -> str:
    return tp.topic.rpartition(".")[2]
