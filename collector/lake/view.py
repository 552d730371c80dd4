"""One look at everything there is: a snapshot of the lake, and the journal's rows that are not in that snapshot.

The two fit together because both go by the positions that stand in the snapshot's own commits.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from collector.ledger.streams import StreamLedger
from collector.ports import Gap, Journal, TopicPartition
from shippers.batch import DATASETS
from shippers.clock import Clock

from .arrivals import Cursor
from .ledgers import Ledgers
from .snapshot import Snapshot, Snapshots
from .tail import Chunk, Tail, chunks_of

_REREAD_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class View:
    """What one question is answered from; every event is in exactly one of the two."""

    snapshot: Snapshot
    tail: pa.Table


class Viewer:
    """Looks, from any thread. The tail is read on by whoever looks, one at a time."""

    def __init__(self, path: Path, journal: Journal, con: duckdb.DuckDBPyConnection, clock: Clock) -> None:
        self._path = path
        self._journal = journal
        self._con = con
        self._clock = clock
        self._lock = threading.Lock()
        self._snapshots = Snapshots(path)
        self._tail: Tail | None = None

    def look(self) -> View:
        """The view as of now. Raises OSError, DeltaError, duckdb.IOException, Unavailable."""
        with self._lock:
            tail = self._tail or self._open_tail()
            snapshot = self._snapshots.take(tail.partitions())
            tail.read_on(snapshot.positions)
            return View(snapshot, tail.unsettled(snapshot.positions))

    def arrivals(self, cursor: Cursor | None) -> tuple[Mapping[TopicPartition, int], list[Chunk]]:
        """What has arrived since `cursor`, perhaps with what came before it, as far as the last look read; and how far
        that is. Without a cursor: only how far."""
        with self._lock:
            tail = self._tail or self._open_tail()
            ends = tail.ends()
            if cursor is None:
                return ends, []
            begins, chunks = tail.kept()
            if all(cursor.place(tp)[0] >= begins[tp] for tp in ends):
                return ends, chunks
            return self._reread(cursor)

    def begin_anew(self) -> None:
        """Forget what was read of lake and journal."""
        with self._lock:
            self._snapshots.forget()
            if self._tail is not None:
                self._tail.close()
                self._tail = None

    def close(self) -> None:
        """Let go of the journal."""
        self.begin_anew()

    def _open_tail(self) -> Tail:
        # Duplicates are told by what the lake had before the first record that this tail will read.
        start = self._snapshots.take(())
        ledgers = Ledgers(self._con.cursor(), lambda table: (self._path / table, start.files[table]))
        self._tail = Tail(self._journal, self._con.cursor(), self._clock, ledgers.knowing)
        return self._tail

    def _reread(self, cursor: Cursor) -> tuple[dict[TopicPartition, int], list[Chunk]]:
        """Read the journal again from the cursor, a bounded piece. What was sent twice before and after it shows twice:
        which of the two the lake has can't be told any more."""
        seen = StreamLedger()
        chunks: list[Chunk] = []
        reader = self._journal.reader(None, DATASETS)
        try:
            ends = {tp: cursor.place(tp)[0] for tp in reader.assigned()}
            for tp, offset in ends.items():
                reader.seek(tp, offset)
            left = _REREAD_BYTES
            while left > 0:
                try:
                    records = [record for record in reader.poll(left, 0) if record.tp in ends]
                except Gap as gap:
                    ends[gap.tp] = gap.found
                    continue
                if not records:
                    break
                chunks += chunks_of(self._con, records, lambda _: seen, self._clock.time())
                ends |= {record.tp: record.next_offset for record in records}
                left -= sum(len(record.body) for record in records)
        finally:
            reader.close()
        return ends, chunks
