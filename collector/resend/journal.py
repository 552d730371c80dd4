"""Copies in the journal: it keeps what it took in for days after everybody has read it.

Read by time, from an offset on, partition by partition; only headers are looked at until one fits. It reads beside
everybody else, in no group: it moves nobody's position and holds back no retention.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing

from collector.ledger.intervals import IntervalSet
from collector.ports import Gap, Journal, Reader, Record, TopicPartition
from shippers.batch import Batch, Header
from shippers.clock import Clock
from shippers.errors import BadBatch, Unavailable

from .wanted import JOURNAL, Wanted, without

_POLL_BYTES = 4 * 1024 * 1024
_POLL_S = 1.0
_MOST_IN_VAIN = 10
_LEEWAY_S = 60.0
"""Append times are of several brokers' clocks."""
_NEWEST_S, _TIMES = 600.0, 12.0
"""What is missed is mostly from just now: the last minutes are read first, then twelve times as much, and so on."""


class JournalSource:
    """See Source. `open_journal` opens it for reading."""

    name = JOURNAL

    def __init__(self, open_journal: Callable[[], Journal], clock: Clock) -> None:
        self._open, self._clock = open_journal, clock

    def find(self, wanted: Wanted) -> Iterator[Batch]:
        """See Source.find. Void batches come last, and only for numbers that nobody has a body of here."""
        seen = IntervalSet()
        voids: list[Batch] = []
        with closing(self._open()) as journal:
            for record in self._newest_first(journal, wanted, seen):
                batch = self._copy(record, wanted, seen)
                if batch is None:
                    continue
                if batch.header.void is not None:
                    voids.append(batch)
                    continue
                seen.add(batch.header.first, batch.header.last)
                yield batch
        for void in voids:
            if seen.missing(void.header.first, void.header.last):
                seen.add(void.header.first, void.header.last)
                yield void

    def _newest_first(self, journal: Journal, wanted: Wanted, seen: IntervalSet) -> Iterator[Record]:
        """What may be wanted, until all of it is in `seen`: of the instance's own partition, where that is known, then,
        if need be, of all others; of each the newest span of time first."""
        read: set[TopicPartition] = set()
        for instance in (wanted.instance, "") if wanted.instance else ("",):
            there: set[TopicPartition] = set()
            for span in spans(wanted.since, wanted.until):
                if not without(wanted.numbers, seen):
                    return
                with closing(journal.reader(None, [wanted.dataset])) as reader:
                    yield from self._records(reader, wanted, span, instance, read, there)
            read |= there

    def _records(
        self,
        reader: Reader,
        wanted: Wanted,
        span: tuple[float, float],
        instance: str,
        but: set[TopicPartition],
        there: set[TopicPartition],
    ) -> Iterator[Record]:
        """The records of a span of time, of all partitions that may have them `but` these; `there` tells which."""
        known = reader.assigned()
        starts = reader.offsets_at(max(0.0, span[0] - _LEEWAY_S), instance)
        region = f".{wanted.region}." if wanted.region else "."
        starts = {tp: at for tp, at in starts.items() if tp in known and tp not in but and region in tp.topic}
        reader.pause(list(known - starts.keys()))
        for tp, at in starts.items():
            reader.seek(tp, at)
        ends = {tp: starts[tp] + behind for tp, behind in reader.lag().items() if behind and tp in starts}
        there.update(starts)
        in_vain = 0
        while ends:
            try:
                records = reader.poll(_POLL_BYTES, _POLL_S)
            except Gap:
                continue  # gone is gone: there is no copy of it here
            for record in records:
                end = ends.get(record.tp)
                if end is None:
                    continue
                late = record.appended_at > span[1] + _LEEWAY_S
                if late or record.next_offset >= end:
                    del ends[record.tp]
                    reader.pause([record.tp])
                if not late:
                    yield record
            if records:
                in_vain = 0
                continue
            behind_now = reader.lag()
            ends = {tp: end for tp, end in ends.items() if behind_now.get(tp)}
            in_vain += 1
            if ends and in_vain > _MOST_IN_VAIN:
                raise Unavailable(f"the journal gives nothing of {', '.join(sorted(tp.topic for tp in ends))}")

    def _copy(self, record: Record, wanted: Wanted, seen: IntervalSet) -> Batch | None:
        """The record's batch, if it has what is wanted and was not seen yet, and is sound."""
        if wanted.stream.encode() not in record.header:
            return None
        try:
            header = Header.decode(record.header)
            batch = Batch(header, record.body)
            if header.stream != wanted.stream or header.canary or not wanted.parts(header.first, header.last):
                return None
            if not without(wanted.parts(header.first, header.last), seen):
                return None
            batch.check()
        except BadBatch:
            return None
        return aged(batch, record.appended_at, self._clock.time())


def spans(since: float, until: float) -> Iterator[tuple[float, float]]:
    """The time from `since` to `until` in spans, the newest and shortest first."""
    length = _NEWEST_S
    while until - length > since:
        yield until - length, until
        until -= length
        length *= _TIMES
    yield since, until


def aged(batch: Batch, at: float, now: float) -> Batch:
    """A beat as it is sent again: its header says how old it is, so that it moves no deadline. Others as they are."""
    header = batch.header
    if header.dataset != "heartbeat" or header.void is not None:
        return batch
    age_s = round((header.age_s or 0.0) + max(0.0, now - at), 3)
    return Batch(dataclasses.replace(header, age_s=age_s), batch.body)
