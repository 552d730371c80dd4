"""The journal on the local disk: for one machine, without a server. One process writes, any number read.

    <path>/lock                      held by the writer, with its process id
    <path>/commits                   one mapped word that grows with each commit
    <path>/groups/<group>.json       how far each reader group is
    <path>/topics/<topic>/           one partition (0): segment files, and `end`, its mapped words

It refuses appends rather than delete what is unread.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from collector.ports import JournalFull, TopicPartition, topic_of
from collector.settings import JournalSettings
from shippers.batch import Batch
from shippers.clock import Clock
from shippers.errors import Misconfigured

from . import frame
from .commit import Append, Committer
from .offsets import Group, Offsets, read_below
from .partition import Partition
from .reading import LocalReader
from .retention import Candidate, choose
from .shared import COMMITS, Words
from .timeline import Timeline

log = logging.getLogger("lastbeat.journal")

_TOPIC = re.compile(r"lastbeat\.[a-z0-9-]+\.[a-z]+")
_RETRY_FULL_S = 5.0
_HOUSEKEEPING_S = 10.0
_RESERVED_FOR_BEATS = 0.05
_FULL = (errno.ENOSPC, errno.EDQUOT)


class LocalJournal:
    """See Journal. Opened with `writable=False` it only reads, and may be opened before its writer ever ran."""

    def __init__(self, path: Path, settings: JournalSettings, clock: Clock, *, writable: bool) -> None:
        self._path = Path(path)
        self._settings = settings
        self._clock = clock
        self._offsets = Offsets(self._path / "groups")
        self._closing = threading.Event()
        self._writer = _Writer(self._path, settings, clock, self._offsets) if writable else None

    def append(self, batches: Sequence[Batch]) -> None:
        """See Journal.append. A part is kept only if several topics are concerned and one of them fails."""
        if self._writer is None:
            raise Misconfigured(f"the journal in {self._path} was opened for reading only")
        if batches:
            self._writer.append(batches)

    def reader(self, group: str | None, datasets: Sequence[str]) -> LocalReader:
        """See Journal.reader. Every reader of a group reads every topic: run one a group at a time."""
        return LocalReader(self._path, self._offsets, group, frozenset(datasets), self._clock, self._closing)

    def cut(self) -> dict[TopicPartition, int]:
        """Bytes of torn, never acknowledged records that were cut off when this journal was opened."""
        return self._writer.cut() if self._writer else {}

    def retain(self) -> int:
        """Delete what is read and too old or too much; returns the bytes kept. Done every few seconds by itself."""
        return self._writer.retain() if self._writer else 0

    def close(self) -> None:
        """See Journal.close."""
        self._closing.set()
        if self._writer is not None:
            self._writer.close()


class _Writer:
    """What only the one writing process has: the lock, the partitions, the committer."""

    def __init__(self, path: Path, settings: JournalSettings, clock: Clock, offsets: Offsets) -> None:
        self._topics = path / "topics"
        self._settings = settings
        self._clock = clock
        self._offsets = offsets
        self._timeline = Timeline(clock)
        self._partitions: dict[str, Partition] = {}
        self._total = 0
        self._retained_at = clock.monotonic()
        self._guard = threading.RLock()
        self._closed = False
        try:
            self._topics.mkdir(parents=True, exist_ok=True)
            self._lock_fd = _lock(path / "lock")
        except OSError as error:
            if error.errno in _FULL:
                raise  # not for ever: started again, it may have room
            raise Misconfigured(
                f"the journal in {path} can't be written: {error.strerror}: make it writable for uid {os.getuid()}, or "
                "use another folder (`data`, LASTBEAT_DATA)"
            ) from None
        self._commits = Words(path / "commits", writable=True)
        for folder in sorted(self._topics.iterdir()):
            if _TOPIC.fullmatch(folder.name):
                self._open(folder.name)
        self._shown()
        self._committer = Committer(self._timeline, self._open, self._admit, self._shown, self.retain, self._guard)

    def append(self, batches: Sequence[Batch]) -> None:
        append = Append([(topic_of(batch.header), frame.encode(batch)) for batch in batches])
        self._committer.submit(append)
        append.done.result()

    def _open(self, topic: str) -> Partition:
        partition = self._partitions.get(topic)
        if partition is None:
            partition = Partition(self._topics / topic, self._settings.segment_bytes)
            self._partitions[topic] = partition
            self._timeline.not_before(partition.last_ns)
            if partition.recovered.cut_bytes:
                log.warning("journal: cut %d torn bytes off the end of %s", partition.recovered.cut_bytes, topic)
        return partition

    def _admit(self, append: Append) -> None:
        """Called by the committer for each append: make room for it, or refuse it.

        Beats have a reserve of their own: a journal that is full of logs must not blind the watch.
        """
        allowed = self._settings.max_bytes
        if all(topic.endswith(".heartbeat") for topic, _ in append.records):
            allowed += int(allowed * _RESERVED_FOR_BEATS)
        if self._total + append.size > allowed:
            self.retain(append.size)
        if self._total + append.size <= allowed:
            self._total += append.size
            return
        raise JournalFull(
            f"the journal is full: {self._total:,} bytes, {self._settings.max_bytes:,} allowed, and {self._blame()}",
            retry_after_s=_RETRY_FULL_S,
        )

    def _blame(self) -> str:
        groups = self._offsets.all()
        behind = {name for topic in self._partitions for _, name in [read_below(topic, groups)] if name}
        if not behind:
            return "no reader group has ever read it"
        paths = ", ".join(str(self._offsets.path_of(name)) for name in sorted(behind))
        return f"the rest is unread by {', '.join(sorted(behind))}: start it, or give up what it has not read: {paths}"

    def _shown(self) -> None:
        self._commits[COMMITS] = self._commits[COMMITS] + 1
        self._count()
        if self._clock.monotonic() - self._retained_at >= _HOUSEKEEPING_S:
            self.retain()

    def retain(self, room: int = 0) -> int:
        """Delete what may go; more of it if `room` is needed. Returns the bytes kept."""
        with self._guard:
            self._retained_at = self._clock.monotonic()
            groups = self._offsets.all()
            candidates = [c for topic, part in self._partitions.items() for c in _candidates(topic, part, groups)]
            oldest = self._clock.time() - self._settings.max_age_s
            for chosen in choose(candidates, self._total + room, self._settings.max_bytes, oldest):
                self._partitions[chosen.topic].drop(chosen.base)
            self._count()
            return self._total

    def _count(self) -> None:
        self._total = sum(partition.size for partition in self._partitions.values())

    def cut(self) -> dict[TopicPartition, int]:
        return {
            TopicPartition(topic, 0): partition.recovered.cut_bytes
            for topic, partition in self._partitions.items()
            if partition.recovered.cut_bytes
        }

    def close(self) -> None:
        with self._guard:
            if self._closed:
                return
            self._closed = True
        self._committer.close()
        for partition in self._partitions.values():
            partition.close()
        self._commits.close()
        os.close(self._lock_fd)


def _candidates(topic: str, partition: Partition, groups: Sequence[Group]) -> list[Candidate]:
    below, _ = read_below(topic, groups)
    found, last_ns = [], 0
    for segment in partition.segments():
        last_ns = max(last_ns, segment.last_ns)
        found.append(Candidate(topic, segment.base, segment.base + segment.size, last_ns / 1e9, below))
    return found


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise Misconfigured(
            f"the journal in {path.parent} is being written by process {holder} already: "
            "stop that one, or use another folder"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd
