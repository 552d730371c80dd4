"""The journal's tail: events that are appended but not in the lake yet, parsed once and kept until they are.

It plans and parses exactly as the sink does, so that an event looks the same, and counts once, on both sides. What was
read lately stays for a while after the lake has it: live views ask for arrivals, not for times.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pyarrow as pa

from collector.ledger.streams import StreamLedger
from collector.ports import Gap, Journal, Reader, Record, TopicPartition
from shippers.batch import DATASETS, Header
from shippers.clock import Clock

from .plan import Planned, Planner, account
from .rows import read
from .schema import EVENTS

_POLL_BYTES = 8 * 1024 * 1024
_RECENT_ROWS = 50_000
_MEMORY_ROWS = 250_000
ROWS = pa.schema([*EVENTS, ("region", pa.string()), ("offset", pa.int64())])
_CANARY = b'"canary":true'


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one partition in their order, read from `first` up to `end`; columns EVENTS, region and offset."""

    tp: TopicPartition
    first: int
    end: int
    rows: pa.Table

    def since(self, offset: int, sequence: int = 0) -> pa.Table:
        """The rows of records at or behind `offset`; of the one at `offset`, those numbered from `sequence`."""
        if self.first > offset:
            return self.rows
        start = int(self.rows["offset"].to_numpy().searchsorted(offset))
        rows = self.rows.slice(start)
        if not sequence:
            return rows
        numbers = rows["sequence"].to_numpy()
        same = int(rows["offset"].to_numpy().searchsorted(offset, side="right"))
        return rows.slice(int(numbers[:same].searchsorted(sequence)))


class Tail:
    """Not thread-safe: its owner has the lock. `ledger_for` knows what the lake had when reading began."""

    def __init__(
        self,
        journal: Journal,
        con: duckdb.DuckDBPyConnection,
        clock: Clock,
        ledger_for: Callable[[Header], StreamLedger],
    ) -> None:
        self._reader: Reader = journal.reader(None, DATASETS)
        self._con = con
        self._clock = clock
        self._ledger_for = ledger_for
        self._chunks: deque[Chunk] = deque()
        self._begins: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}

    def partitions(self) -> set[TopicPartition]:
        """The partitions that the journal has now."""
        return self._reader.assigned()

    def read_on(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read to the journal's end; `positions` is how far the lake is. Raises Unavailable."""
        self._place(positions)
        while True:
            try:
                records = self._reader.poll(_POLL_BYTES, 0)
            except Gap:
                continue  # the indexer's to report; what is gone can't be shown
            if not records:
                break
            known = [record for record in records if record.tp in self._ends]
            self._take(known)
            if len(known) < len(records):
                self._place(positions)  # partitions that came into being this moment are read from where they belong
        self._drop(positions)

    def unsettled(self, positions: Mapping[TopicPartition, int]) -> pa.Table:
        """The rows that the lake does not have."""
        found = [ROWS.empty_table()]
        for chunk in self._chunks:
            position = positions.get(chunk.tp, 0)
            if chunk.end > position:
                found.append(chunk.since(position))
        return pa.concat_tables(found)

    def ends(self) -> dict[TopicPartition, int]:
        """How far every partition is read."""
        return dict(self._ends)

    def kept(self) -> tuple[dict[TopicPartition, int], list[Chunk]]:
        """What is at hand in order of arrival, and since which offset it is whole."""
        return dict(self._begins), list(self._chunks)

    def close(self) -> None:
        """Let go of the journal."""
        self._reader.close()

    def _place(self, positions: Mapping[TopicPartition, int]) -> None:
        for tp in self._reader.assigned() - self._ends.keys():
            self._begins[tp] = self._ends[tp] = positions.get(tp, 0)
            self._reader.seek(tp, self._ends[tp])

    def _take(self, records: Sequence[Record]) -> None:
        for chunk in chunks_of(self._con, records, self._ledger_for, self._clock.time()):
            held = sum(other.rows.num_rows for other in self._chunks)
            self._chunks.append(chunk if held < _MEMORY_ROWS else replace(chunk, rows=_on_disk(chunk.rows)))
        for record in records:
            self._ends[record.tp] = record.next_offset

    def _drop(self, positions: Mapping[TopicPartition, int]) -> None:
        """Forget the oldest chunks that the lake has, but for the most recent rows."""

        def in_lake(chunk: Chunk) -> bool:
            return chunk.end <= positions.get(chunk.tp, 0)

        surplus = sum(chunk.rows.num_rows for chunk in self._chunks if in_lake(chunk)) - _RECENT_ROWS
        kept: deque[Chunk] = deque()
        for chunk in self._chunks:
            if surplus > 0 and in_lake(chunk):
                surplus -= chunk.rows.num_rows
                self._begins[chunk.tp] = chunk.end
            else:
                kept.append(chunk)
        self._chunks = kept


def chunks_of(
    con: duckdb.DuckDBPyConnection, records: Sequence[Record], ledger_for: Callable[[Header], StreamLedger], now: float
) -> list[Chunk]:
    """Records as rows, one chunk a partition, without canaries, voids, unreadable lines and what `ledger_for` knows
    already; it knows these afterwards."""
    plans = Planner(ledger_for, {}, now).plan([record for record in records if _CANARY not in record.header])
    by_partition: dict[TopicPartition, list[Planned]] = {}
    for plan in plans:
        if plan.header is not None:
            account(ledger_for(plan.header), plan)
        if plan.fresh:
            by_partition.setdefault(plan.record.tp, []).append(plan)
    return [_chunk(con, tp, some, now) for tp, some in by_partition.items()]


def _chunk(con: duckdb.DuckDBPyConnection, tp: TopicPartition, plans: Sequence[Planned], now: float) -> Chunk:
    result = read(con, tp.topic.rpartition(".")[2], plans, now)
    offsets = np.repeat([plan.record.offset for plan in plans], result.stored)
    foreign = np.repeat([plan.record.foreign for plan in plans], result.stored)
    if foreign.any():  # what was one run for us was perhaps two for the lake
        offsets = np.where(foreign, result.rows["sequence"].to_numpy() - 1, offsets)
    regions = [tp.topic.split(".")[1]] * result.rows.num_rows
    rows = result.rows.append_column("region", pa.array(regions, pa.string()))
    rows = rows.append_column("offset", pa.array(offsets, pa.int64())).cast(ROWS)
    return Chunk(tp, plans[0].record.offset, plans[-1].record.next_offset, rows)


def _on_disk(rows: pa.Table) -> pa.Table:
    """The same rows, in a file without a name that is mapped: however long the indexer stands still, what waits for it
    takes the system's cache, not this process's memory."""
    with tempfile.NamedTemporaryFile(prefix="lastbeat-tail-", suffix=".arrow") as file:
        with pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows)
        file.flush()
        return pa.ipc.open_file(pa.memory_map(file.name)).read_all()
