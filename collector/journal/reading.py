"""A reader of the local journal: all partitions of its datasets, in turn; in the writer's process or in another.

It shows only what is durable. While nothing is new it looks at one mapped word, up to fifty times a second.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from collector.ports import Gap, Record, TopicPartition
from shippers.clock import Clock
from shippers.errors import Unavailable

from .cursor import Cursor
from .offsets import Group, Offsets
from .shared import COMMITS, Words

_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.02


class LocalReader:
    """See Reader. Lag is in bytes."""

    def __init__(
        self,
        path: Path,
        offsets: Offsets,
        group: str | None,
        datasets: frozenset[str],
        clock: Clock,
        closing: threading.Event,
    ) -> None:
        self._path = path
        self._topics = path / "topics"
        self._offsets = offsets
        self._datasets = datasets
        self._clock = clock
        self._closing = closing
        self._commits: Words | None = None
        self._cursors: dict[TopicPartition, Cursor] = {}
        self._order: list[Cursor] = []
        self._sought: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._gap: Gap | None = None
        self._turn = 0
        self._closed = False
        self._group = None if group is None else self._join(group)
        self._discover()

    def _join(self, name: str) -> Group:
        """Register the group: from now on nothing that it has not committed is deleted."""
        known = self._offsets.load(name)
        positions = dict(known.positions) if known else {}
        for topic in self._topic_names():
            if topic not in positions and not (known and known.reads(topic)):
                positions[topic] = self._oldest(topic)
        group = Group(name, self._datasets, positions)
        if group != known:
            self._offsets.store(group)
        return group

    def _oldest(self, topic: str) -> int:
        try:
            cursor = Cursor(self._topics / topic, None)
        except FileNotFoundError:
            return 0
        cursor.close()
        return cursor.position

    def _topic_names(self) -> list[str]:
        try:
            with os.scandir(self._topics) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return []
        return sorted(name for name in names if name.rpartition(".")[2] in self._datasets)

    def _discover(self) -> None:
        with self._readable():
            for topic in self._topic_names():
                tp = TopicPartition(topic, 0)
                if tp not in self._cursors:
                    start = self._group.positions.get(topic, 0) if self._group else None
                    try:
                        cursor = Cursor(self._topics / topic, self._sought.get(tp, start))
                    except FileNotFoundError:
                        continue  # it is just being made
                    self._cursors[tp] = cursor
                    self._order = [self._cursors[key] for key in sorted(self._cursors)]

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """The system's errors (no more files, a sick disk) as the one that our callers decide on."""
        try:
            yield
        except OSError as error:
            raise Unavailable(f"the journal in {self._path} can't be read: {error}") from error

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        """See Reader.poll. Returns early, with nothing, when the journal is closed."""
        deadline = self._clock.monotonic() + timeout_s
        delay = _SHORTEST_WAIT_S
        while True:
            seen = self._commits_seen()
            try:
                records = self._take(max_bytes)
            except Unavailable:
                self._clock.wait(self._closing, timeout_s)  # who asks again at once must not spin
                raise
            if records:
                return records
            while seen is None or self._commits_seen() == seen:
                left = deadline - self._clock.monotonic()
                if left <= 0 or self._clock.wait(self._closing, min(delay, left)):
                    return []
                delay = min(delay * 1.5, _LONGEST_WAIT_S)
                if seen is None:
                    break

    def _commits_seen(self) -> int | None:
        if self._commits is None:
            with self._readable():
                try:
                    self._commits = Words(self._path / "commits", writable=False)
                except FileNotFoundError:
                    return None
        return self._commits[COMMITS]

    def _take(self, max_bytes: int) -> list[Record]:
        if self._closed:
            raise Unavailable("the reader is closed")
        gap, self._gap = self._gap, None
        if gap is not None:
            raise gap
        self._discover()
        self._turn += 1  # no busy partition keeps the others waiting
        taken: list[Record] = []
        left = max_bytes
        for i in range(len(self._order)):
            cursor = self._order[(i + self._turn) % len(self._order)]
            if cursor.tp in self._paused:
                continue
            try:
                records = cursor.read(left)
            except Gap as found:
                if not taken:
                    raise
                self._gap = found  # hand over what was read first
                break
            except (OSError, Unavailable) as error:
                if taken:
                    break  # the cursors have moved past it; its turn comes to be the first, and that call raises
                raise Unavailable(f"{cursor.tp.topic} can't be read: {error}") from error
            taken += records
            left -= sum(len(record.body) for record in records)
            if left < 0:
                break
        return taken

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """See Reader.seek."""
        self._sought[tp] = offset
        if tp in self._cursors:
            self._cursors[tp].position = offset
        if self._gap is not None and self._gap.tp == tp:
            self._gap = None

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Reader.commit."""
        if self._group is None:
            raise ValueError("a reader without a group has nothing to commit to")
        on_disk = self._offsets.load(self._group.name) or self._group
        merged = {**on_disk.positions, **{tp.topic: offset for tp, offset in positions.items()}}
        if merged != on_disk.positions:
            self._group = Group(self._group.name, self._datasets, merged)
            try:
                self._offsets.store(self._group)
            except OSError as error:
                raise Unavailable(f"the offsets of group {self._group.name} can't be kept: {error}") from error

    def committed(self) -> Mapping[TopicPartition, int]:
        """See Reader.committed."""
        positions = self._group.positions if self._group else {}
        return {TopicPartition(topic, 0): offset for topic, offset in positions.items()}

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        """See Reader.pause."""
        self._paused.update(tps)

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        """See Reader.resume."""
        self._paused.difference_update(tps)

    def assigned(self) -> set[TopicPartition]:
        """See Reader.assigned."""
        self._discover()
        return set(self._cursors)

    def lag(self) -> dict[TopicPartition, int]:
        """See Reader.lag: in bytes."""
        self._discover()
        return {tp: cursor.lag() for tp, cursor in self._cursors.items()}

    def offsets_at(self, at: float, instance: str = "") -> dict[TopicPartition, int]:
        """See Reader.offsets_at: the beginning of a segment. Each topic has but one partition, whoever sends."""
        del instance
        self._discover()
        with self._readable():
            return {tp: cursor.offset_at(at) for tp, cursor in self._cursors.items()}

    def ends(self) -> dict[TopicPartition, int]:
        """See Reader.ends."""
        if self._closed:
            raise Unavailable("the reader is closed")
        self._discover()
        return {tp: cursor.end for tp, cursor in self._cursors.items()}

    def close(self) -> None:
        """See Reader.close."""
        self._closed = True
        for cursor in self._order:
            cursor.close()
        self._order = []
        self._cursors = {}
        if self._commits is not None:
            self._commits.close()
            self._commits = None
