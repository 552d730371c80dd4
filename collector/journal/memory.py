"""The journal in memory: the reference of the port, for tests and for trying things out. It survives nothing.

Faults are values: `fail_appends` scripts what the next appends raise, `delete_before` makes a gap.
"""

from __future__ import annotations

import threading
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from collector.ports import Gap, Record, TopicPartition, topic_of
from shippers.batch import Batch
from shippers.clock import Clock
from shippers.errors import LastbeatError, Unavailable


@dataclass(slots=True)
class _Log:
    """One partition. The record at `records[i]` has the offset `base + i`."""

    base: int = 0
    records: list[Record] = field(default_factory=list)
    last_at: float = 0.0

    @property
    def end(self) -> int:
        return self.base + len(self.records)

    def offset_at(self, at: float) -> int:
        return next((record.offset for record in self.records if record.appended_at >= at), self.end)


class MemoryJournal:
    """Keeps batches in lists. Offsets count records. Batches of one instance stay in one partition."""

    def __init__(self, clock: Clock, partitions: int = 1) -> None:
        self._clock = clock
        self._partitions = partitions
        self._lock = threading.Lock()
        self._logs: dict[TopicPartition, _Log] = {}
        self._committed: dict[str, dict[TopicPartition, int]] = {}
        self._readers: list[MemoryReader] = []
        self._faults: deque[LastbeatError | None] = deque()
        self._closed = False

    def append(self, batches: Sequence[Batch]) -> None:
        """See Journal.append. All or nothing here."""
        with self._lock:
            if self._closed:
                raise Unavailable("the journal is closed")
            fault = self._faults.popleft() if self._faults else None
            if fault is not None:
                raise fault
            now = self._clock.time()
            for batch in batches:
                self._add(batch, now)
            readers = list(self._readers)
        for reader in readers:
            reader._news.set()

    def append_foreign(self, tp: TopicPartition, *bodies: bytes) -> None:
        """Append what a stranger would, straight to Kafka: records without our header."""
        with self._lock:
            log, now = self._logs.setdefault(tp, _Log()), self._clock.time()
            log.last_at = max(log.last_at, now)
            for body in bodies:
                log.records.append(Record(tp, log.end, log.end + 1, log.last_at, b"", body))
            readers = list(self._readers)
        for reader in readers:
            reader._news.set()

    def cluster_id(self) -> str:
        """A name for what foreign records' identities begin with."""
        return "memory"

    def _add(self, batch: Batch, now: float) -> None:
        partition = zlib.crc32(batch.header.instance.encode()) % self._partitions
        tp = TopicPartition(topic_of(batch.header), partition)
        log = self._logs.setdefault(tp, _Log())
        log.last_at = max(log.last_at, now)
        log.records.append(Record(tp, log.end, log.end + 1, log.last_at, batch.header.encode(), batch.body))

    def reader(self, group: str | None, datasets: Sequence[str]) -> MemoryReader:
        """See Journal.reader."""
        wanted = frozenset(datasets)
        with self._lock:
            start = {tp: log.base for tp, log in self._logs.items() if tp.topic.rpartition(".")[2] in wanted}
            if group is not None:
                start = dict(self._committed.setdefault(group, start))
            reader = MemoryReader(self, group, wanted, start)
            self._readers.append(reader)
        return reader

    def close(self) -> None:
        """See Journal.close. What was appended can still be read."""
        with self._lock:
            self._closed = True

    def fail_appends(self, *faults: LastbeatError | None) -> None:
        """Let the next appends raise these, one each; None lets one through."""
        with self._lock:
            self._faults.extend(faults)

    def delete_before(self, tp: TopicPartition, offset: int) -> None:
        """Forget the records of `tp` below `offset`, read or not, as an operator or a broker's retention would."""
        with self._lock:
            log = self._logs[tp]
            gone = max(0, min(offset, log.end) - log.base)
            del log.records[:gone]
            log.base += gone

    def records(self) -> list[Record]:
        """Everything that is kept, partition by partition: for tests to look at."""
        with self._lock:
            return [record for _, log in sorted(self._logs.items()) for record in log.records]


class MemoryReader:
    """Reads a MemoryJournal. Every reader of a group gets all partitions: run one at a time."""

    def __init__(
        self,
        journal: MemoryJournal,
        group: str | None,
        datasets: frozenset[str],
        positions: dict[TopicPartition, int],
    ) -> None:
        self._journal = journal
        self._group = group
        self._datasets = datasets
        self._positions = positions
        self._paused: set[TopicPartition] = set()
        self._turn = 0
        self._news = threading.Event()
        self._closed = False

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        """See Reader.poll. Waits on the clock that the journal was given."""
        self._news.clear()
        records = self._take(max_bytes)
        if not records and timeout_s > 0 and self._journal._clock.wait(self._news, timeout_s):
            records = self._take(max_bytes)
        return records

    def _take(self, max_bytes: int) -> list[Record]:
        taken: list[Record] = []
        size = 0
        with self._journal._lock:
            if self._closed:
                raise Unavailable("the reader is closed")
            tps = sorted(self._mine() - self._paused)
            self._turn += 1  # no busy partition keeps the others waiting
            for i in range(len(tps)):
                tp = tps[(i + self._turn) % len(tps)]
                log = self._journal._logs[tp]
                at = self._positions.setdefault(tp, 0)
                if not log.base <= at <= log.end:
                    if taken:
                        break  # hand over what is read; the gap is told on the next call
                    self._positions[tp] = log.base
                    raise Gap(tp, at, log.base)
                while at < log.end and size <= max_bytes:
                    record = log.records[at - log.base]
                    taken.append(record)
                    size += len(record.body)
                    at = record.next_offset
                self._positions[tp] = at
        return taken

    def _mine(self) -> set[TopicPartition]:
        return {tp for tp in self._journal._logs if tp.topic.rpartition(".")[2] in self._datasets}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """See Reader.seek."""
        self._positions[tp] = offset

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Reader.commit."""
        if self._group is None:
            raise ValueError("a reader without a group has nothing to commit to")
        with self._journal._lock:
            self._journal._committed.setdefault(self._group, {}).update(positions)

    def committed(self) -> Mapping[TopicPartition, int]:
        """See Reader.committed."""
        with self._journal._lock:
            return {} if self._group is None else dict(self._journal._committed.get(self._group, {}))

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        """See Reader.pause."""
        self._paused.update(tps)

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        """See Reader.resume."""
        self._paused.difference_update(tps)
        self._news.set()

    def assigned(self) -> set[TopicPartition]:
        """See Reader.assigned."""
        with self._journal._lock:
            return self._mine()

    def lag(self) -> dict[TopicPartition, int]:
        """See Reader.lag: in records."""
        with self._journal._lock:
            logs = self._journal._logs
            return {tp: logs[tp].end - self._position(tp) for tp in self._mine()}

    def offsets_at(self, at: float, instance: str = "") -> dict[TopicPartition, int]:
        """See Reader.offsets_at."""
        with self._journal._lock:
            own = zlib.crc32(instance.encode()) % self._journal._partitions
            tps = {tp for tp in self._mine() if not instance or tp.partition == own}
            return {tp: self._journal._logs[tp].offset_at(at) for tp in tps}

    def ends(self) -> dict[TopicPartition, int]:
        """See Reader.ends."""
        with self._journal._lock:
            return {tp: self._journal._logs[tp].end for tp in self._mine()}

    def _position(self, tp: TopicPartition) -> int:
        log = self._journal._logs[tp]
        at = self._positions.get(tp, 0)
        return at if at <= log.end else log.base

    def close(self) -> None:
        """See Reader.close."""
        with self._journal._lock:
            self._closed = True
            if self in self._journal._readers:
                self._journal._readers.remove(self)
