"""Runs of foreign records as batches of ours, so that everything behind knows only batches. It does no I/O.

A record's number in its stream is its offset + 1, so a record that is read again, in whatever run, is the same event.
A run ends where the offsets have a hole or a batch of ours between them, and where the day changes.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from collector.ports import Record, TopicPartition
from shippers.batch import Header

from .event import UNKNOWN, Foreign, Normaliser
from .parse import Unreadable
from .stream import foreign_stream
from .times import Times

SEVERAL = "several"
"""The service or instance in the header of a run that comes from more than one: its lines say which is whose."""
_MAX_COUNT = 1_000
_MAX_BODY_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class _Run:
    """Consecutive records of one day."""

    first: Record
    day: str
    service: str
    instance: str
    lines: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    next_offset: int = 0

    def takes(self, record: Record, event: Foreign) -> bool:
        """Whether this event can be the run's next."""
        return (
            record.offset == self.next_offset
            and event.day == self.day
            and len(self.lines) < _MAX_COUNT
            and self.size_bytes < _MAX_BODY_BYTES
        )

    def add(self, record: Record, event: Foreign, line: bytes) -> None:
        """Make it the next."""
        self.lines.append(line)
        self.size_bytes += len(line)
        self.next_offset = record.next_offset
        if event.service != self.service:
            self.service = SEVERAL
        if event.instance != self.instance:
            self.instance = SEVERAL


class Sealer:
    """Seals what one reader reads of the cluster `cluster`. Used by one thread."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._partitions: dict[TopicPartition, tuple[str, bytes, Normaliser]] = {}
        self._times = Times()

    def seal(self, records: Sequence[Record]) -> list[Record]:
        """The same records in their order: ours untouched, foreign ones in runs, those that are no events `refused`."""
        sealed: list[Record] = []
        run: _Run | None = None
        for record in records:
            if run is not None and (record.header or record.tp != run.first.tp):
                sealed.append(self._close(run))
                run = None
            if record.header:
                sealed.append(record)
                continue
            stream, end, normaliser = self._partition(record.tp)
            try:
                event = normaliser.read(record.body, record.appended_at)
            except Unreadable as error:
                if run is not None:
                    sealed.append(self._close(run))
                    run = None
                sealed.append(self._refuse(record, stream, str(error)))
                continue
            if run is None or not run.takes(record, event):
                if run is not None:
                    sealed.append(self._close(run))
                run = _Run(record, event.day, event.service, event.instance)
            run.add(record, event, b"%b%b%d}}\n" % (event.line, end, record.offset + 1))
        if run is not None:
            sealed.append(self._close(run))
        return sealed

    def _partition(self, tp: TopicPartition) -> tuple[str, bytes, Normaliser]:
        known = self._partitions.get(tp)
        if known is None:
            stream = foreign_stream(self._cluster, tp)
            _, region, dataset = tp.topic.split(".")[:3]
            end = f',"stream":"{stream}","sequence":'.encode()
            known = stream, end, Normaliser(region, dataset, _instance_of(tp))
            self._partitions[tp] = known
        return known

    def _close(self, run: _Run) -> Record:
        first = run.first
        stream, _, _ = self._partition(first.tp)
        body = b"".join(run.lines)
        header = _header(first, stream, len(run.lines), run.day, run.service, run.instance, zlib.crc32(body))
        return Record(first.tp, first.offset, run.next_offset, first.appended_at, header.encode(), body, foreign=True)

    def _refuse(self, record: Record, stream: str, reason: str) -> Record:
        day = self._times.appended(record.appended_at).day
        crc = zlib.crc32(record.body)
        header = _header(record, stream, 1, day, UNKNOWN, _instance_of(record.tp), crc).encode()
        return Record(
            record.tp, record.offset, record.next_offset, record.appended_at, header, record.body, refused=reason
        )


def _header(first: Record, stream: str, count: int, day: str, service: str, instance: str, crc: int) -> Header:
    _, region, dataset = first.tp.topic.split(".")[:3]
    return Header(stream, first.offset + 1, count, region, dataset, day, service, instance, crc)


def _instance_of(tp: TopicPartition) -> str:
    return f"kafka-{tp.partition}"
