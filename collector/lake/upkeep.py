"""The lake's upkeep, beside writing: merging small files, ageing out old days, deleting what nobody names any more.

Called every minute or so by a scheduler's thread, never by the indexer's. What it deletes, it counts; and no day goes
because a clock was wrong for a while.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import duckdb
from deltalake.exceptions import DeltaError

from shippers.errors import Unavailable

from .compaction import choose, merge
from .files import DataFile, remove_action
from .schema import SKEWED, TABLES, too_old
from .sink import LakeSink
from .table import Stale

log = logging.getLogger("lastbeat.lake")

_SURE_AFTER_S = _STEP_S = 3_600.0
_VACUUM_EVERY_S = 3_600
_READERS_HAVE_HOURS = 1
"""How long files stay that a commit replaced: a board's question may still be reading them."""


@dataclass(frozen=True, slots=True)
class Upkept:
    """What one round did: files merged away, events of days past keeping (dead letters among them) deleted, files
    that nobody named any more deleted."""

    merged_files: int
    aged_events: int
    vacuumed_files: int


class Upkeep:
    """Keeps one sink's lake. Used by one thread."""

    def __init__(self, sink: LakeSink) -> None:
        self._sink = sink
        self._vacuumed_at: float | None = None
        self._ahead_s, self._steady_since = -math.inf, 0.0
        """How far the wall's clock was ahead of the monotonic one, and since when it has not jumped further."""

    def maintain(self) -> Upkept:
        """One round: merge what is due, age, and each hour vacuum. Raises Unavailable; the next round goes on."""
        try:
            now = self._sure_time()
            aged = 0 if now is None else sum(self._age(table, now) for table in TABLES)
            merged = sum(self._merge(table) for table in TABLES)
            return Upkept(merged, aged, self._vacuum_if_due())
        except (OSError, DeltaError, duckdb.Error, Stale) as error:
            raise Unavailable(f"upkeep of the lake at {self._sink.path} stopped: {error}") from error

    def compact(self, date: str) -> int:
        """Merge what is due of one day now; says how many files were merged away."""
        return sum(self._merge(table, date) for table in TABLES)

    def _merge(self, table: str, date: str | None = None) -> int:
        files = [file for file in self._files(table) if date is None or file.date == date]
        groups = choose(files, self._sink.clock.time())
        return sum(len(group) for group in groups if merge(self._sink, table, group))

    def _sure_time(self) -> float | None:
        """The time by which days may be deleted: no later than the journal says of what was written last. None for an
        hour from our start on, and after each jump ahead: who corrects a clock does it by then."""
        now, monotonic = min(self._sink.clock.time(), self._sink.came_at), self._sink.clock.monotonic()
        if now - monotonic > self._ahead_s + _STEP_S:
            self._steady_since = monotonic
        self._ahead_s = now - monotonic
        return now if monotonic - self._steady_since >= _SURE_AFTER_S else None

    def _age(self, table: str, now: float) -> int:
        with self._sink.lock:
            old = [file for file in self._files(table) if self._is_past_keeping(file, now)]
            if old:
                self._sink.table(table).commit(removes=[remove_action(file, now, new_data=True) for file in old])
                self._sink.forget()
        gone = sum(file.rows for file in old)
        if gone:
            days = ", ".join(sorted({file.date for file in old}))
            log.info("%d of %s deleted, of %s: kept for %d days", gone, table, days, self._sink.settings.keep_days)
        return gone

    def _is_past_keeping(self, file: DataFile, now: float) -> bool:
        keep_days = self._sink.settings.keep_days
        if file.date == SKEWED:  # its events' times are not to be believed: it is kept from when it came
            return file.added_at_s < now - keep_days * 86_400
        return too_old(file.date, now, keep_days)

    def _vacuum_if_due(self) -> int:
        now = self._sink.clock.monotonic()
        if self._vacuumed_at is not None and now - self._vacuumed_at < _VACUUM_EVERY_S:
            return 0
        gone = 0
        for table in TABLES:
            with self._sink.lock:
                owner = self._sink.refreshed(table)
                owner.checkpoint()
                gone += owner.vacuum(_READERS_HAVE_HOURS)
                _remove_empty(owner.root)
        self._vacuumed_at = now
        return gone

    def _files(self, table: str) -> list[DataFile]:
        with self._sink.lock:
            return self._sink.refreshed(table).files()


def _remove_empty(root: Path) -> None:
    """Take away folders of days that are gone."""
    for folder in (*root.glob("region=*/date=*"), *root.glob("region=*")):
        if not any(folder.iterdir()):
            folder.rmdir()
