"""What the indexer has read and not settled: records, what they cost in memory, and those that are held apart.

Held apart is what a sink gave back (one index is blocked, one table is being changed): it is tried again by itself,
less and less often, while all else flows on. Pure bookkeeping; it reads and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from .ports import Outcome, Record, TopicPartition

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 5.0
_LONGEST_ABSENCE_S = 30.0
_RECORD_OVERHEAD = 500


class Hold:
    """Records in the order of reading, how many of each partition, and their size."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records: list[Record] = []
        self.size_bytes = 0
        self.of: Counter[TopicPartition] = Counter()
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Put one behind the others."""
        self.records.append(record)
        self.of[record.tp] += 1
        self.size_bytes += size_of(record)

    def without(self, tps: Collection[TopicPartition]) -> Hold:
        """What is left without these partitions."""
        return Hold(record for record in self.records if record.tp not in tps) if tps else self


class Apart:
    """Records to be tried again by themselves. Beyond `max_bytes` whole partitions are given back: they are read anew
    once their time has come, so that memory stays bounded however much is blocked."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.hold = Hold()
        self._wait_s = 0.0
        self.due = 0.0
        self._absent: dict[TopicPartition, float] = {}
        self._absence_s = 0.0

    def take(self, records: Sequence[Record], now: float, *, tried: bool) -> None:
        """Hold what a write gave back: of all that was in here (`tried`), or of others."""
        if tried or (records and not self.hold.records):
            self._wait_s = min(_LONGEST_WAIT_S, self._wait_s * 2 or _FIRST_WAIT_S) if records else 0.0
            self.due = now + self._wait_s
        self.hold = Hold((*self.hold.records, *records))

    def failed(self, records: Sequence[Record], due: float) -> None:
        """A try of all that was in here came to nothing, for reasons that aren't its own."""
        self.hold, self.due = Hold(records), due

    def overflow(self, waiting: Hold, now: float, unread: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The partitions that must be given back, the largest first, each with the offset to read on from. Their
        records are gone from here; those in `waiting` are the caller's to let go. Those in `unread` could not be read
        again, and stay."""
        sizes: Counter[TopicPartition] = Counter()
        for record in self.hold.records:
            sizes[record.tp] += size_of(record)
        gone: dict[TopicPartition, int] = {}
        left = self.hold.size_bytes
        for tp, size in sizes.most_common():
            if left <= self._max_bytes:
                break
            if tp in unread:
                continue
            gone[tp] = min(record.offset for record in (*self.hold.records, *waiting.records) if record.tp == tp)
            left -= size
        if gone:
            self.hold = self.hold.without(gone)
            self._absence_s = min(_LONGEST_ABSENCE_S, self._absence_s * 2 or _LONGEST_WAIT_S)
            self._absent.update(dict.fromkeys(gone, now + self._absence_s))
        return gone

    def paused(self, now: float) -> set[TopicPartition]:
        """The partitions that nothing more is to be read of for now."""
        self._absent = {tp: until for tp, until in self._absent.items() if until > now}
        if not self._absent and not self.hold.records:
            self._absence_s = 0.0
        return {*self.hold.of, *self._absent}

    def forget(self, tps: Collection[TopicPartition]) -> None:
        """These partitions are another's."""
        self.hold = self.hold.without(tps)
        self._absent = {tp: until for tp, until in self._absent.items() if tp not in tps}


@dataclass(frozen=True, slots=True)
class Write:
    """A write under way. Of partitions in `gone` nothing it says counts: another reads them, or they are read anew."""

    future: Future[list[Outcome]]
    hold: Hold
    apart: bool
    gone: set[TopicPartition] = field(default_factory=set)

    def kept(self) -> list[Record]:
        """Its records, without those of partitions in `gone`."""
        return [record for record in self.hold.records if record.tp not in self.gone]


def lowest(records: Iterable[Record]) -> dict[TopicPartition, int]:
    """The lowest offset of each partition: no commit may pass it."""
    found: dict[TopicPartition, int] = {}
    for record in records:
        if record.offset < found.get(record.tp, record.next_offset):
            found[record.tp] = record.offset
    return found


def capped(positions: Mapping[TopicPartition, int], lowest: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """Positions to commit, none beyond the lowest record of its partition that isn't settled."""
    return {tp: min(at, lowest.get(tp, at)) for tp, at in positions.items()}


def size_of(record: Record) -> int:
    """What a record costs in memory."""
    return len(record.header) + len(record.body) + _RECORD_OVERHEAD
