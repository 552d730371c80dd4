"""What was logged and has no number yet: bounded in events and in bytes, every drop counted by dataset and reason.

`put` never blocks on I/O: the lock is held for a few instructions only. What is dropped here never had a number, so
it can leave no hole; what has been taken is the sender's, and is dropped no more.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from .event import Line
from .tally import AT

LINE_OVERHEAD = 160
"""Bytes that a buffered line takes beyond its own: two objects, a tuple, a slot in the queue."""

_MAX_LATE = 1_000


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of events before they had numbers. `emitted` = taken + still here + all of `dropped`."""

    emitted: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    events: int = 0
    size_bytes: int = 0


class Buffer:
    """A queue of lines. Any thread may put; one thread takes.

    The last tenth is kept for warnings and worse, so that a flood of chatter can't crowd out what explains it.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events, self._max_bytes = max_events, max_bytes
        self._lock = threading.RLock()
        self._inside = False
        self._closed = ""
        self._late: deque[tuple[Line, int]] = deque()
        self._crowded: dict[str, int] = {}
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._emitted: dict[str, int] = {}
        self._dropped: dict[str, dict[str, int]] = {}
        self._cells: memoryview | None = None
        self.kept = 0
        """How many lines `put` has kept since the start; they are taken in the same order."""

    def put(self, line: Line, level: int) -> int:
        """Keep a line, or drop and count it. Returns how many lines wait now, 0 if this one was dropped."""
        with self._lock:
            if self._inside:  # a signal handler or a finaliser that logs, in the very thread that holds the lock
                if len(self._late) < _MAX_LATE:
                    self._late.append((line, level))
                else:
                    self._crowded[line.dataset] = self._crowded.get(line.dataset, 0) + 1
                return 0
            self._inside = True
            try:
                waiting = self._put(line, level)
                return self._take_late() or waiting
            finally:
                self._inside = False

    def _take_late(self) -> int:
        """Put what came while the lock was held by its own thread; how many lines wait then, 0 if nothing was kept."""
        waiting = 0
        while self._late:
            waiting = self._put(*self._late.popleft()) or waiting
        while self._crowded:
            dataset, count = self._crowded.popitem()
            self._count_emitted(dataset, count)
            self._count_drops(dataset, "full", count)
        return waiting

    def _put(self, line: Line, level: int) -> int:
        dataset = line.dataset
        self._count_emitted(dataset, 1)
        lines, size = self._lines, len(line.data) + LINE_OVERHEAD
        full = len(lines) >= self._max_events or self._bytes + size > self._max_bytes
        if self._closed:
            self._count_drops(dataset, self._closed, 1)
            return 0
        if full or (level < logging.WARNING and self._nearly_full()):
            self._count_drops(dataset, "full", 1)
            return 0
        lines.append(line)
        self._bytes += size
        self.kept += 1
        return len(lines)

    def refuses(self, level: int) -> bool:
        """Whether `put` would drop even a short line now: then it needn't be rendered at all."""
        if len(self._lines) >= self._max_events or self._bytes + 2 * LINE_OVERHEAD > self._max_bytes:
            return True
        return level < logging.WARNING and self._nearly_full()

    def _nearly_full(self) -> bool:
        return 10 * len(self._lines) >= 9 * self._max_events or 10 * self._bytes >= 9 * self._max_bytes

    def take(self, max_events: int, max_bytes: int) -> list[Line]:
        """Take lines from the front, in order: at least one if there is any, then while they fit."""
        taken: list[Line] = []
        size = freed = 0
        with self._exclusive():
            lines = self._lines
            while lines and len(taken) < max_events and (not taken or size + len(lines[0].data) <= max_bytes):
                line = lines.popleft()
                taken.append(line)
                size += len(line.data)
                freed += len(line.data) + LINE_OVERHEAD
            self._bytes -= freed
        return taken

    def drop(self, dataset: str, reason: str, count: int = 1, *, emitted: bool = False) -> None:
        """Count events that were given up elsewhere; with `emitted`, ones that never came to `put`."""
        with self._exclusive():
            if emitted:
                self._count_emitted(dataset, count)
            self._count_drops(dataset, reason, count)

    def close(self, reason: str) -> int:
        """Give up everything that waits, and from now on everything that comes; returns how many waited."""
        with self._exclusive():
            self._closed = reason
            total = len(self._lines)
            for line in self._lines:
                self._count_drops(line.dataset, reason, 1)
            self._lines.clear()
            self._bytes = 0
        return total

    def counts(self) -> Counts:
        """A consistent picture; takes microseconds."""
        with self._exclusive():
            dropped = {dataset: dict(reasons) for dataset, reasons in self._dropped.items()}
            return Counts(dict(self._emitted), dropped, len(self._lines), self._bytes)

    @property
    def waiting(self) -> int:
        """How many lines wait now."""
        return len(self._lines)

    def count_into(self, cells: memoryview) -> None:
        """From now on also count in `cells`, which outlive this process (see `tally`)."""
        with self._exclusive():
            for dataset, emitted in self._emitted.items():
                cells[AT[dataset]] = emitted
                cells[AT[dataset] + 1] = sum(self._dropped.get(dataset, {}).values())
            self._cells = cells

    def _count_emitted(self, dataset: str, count: int) -> None:
        emitted = self._emitted.get(dataset, 0) + count
        self._emitted[dataset] = emitted
        if self._cells is not None:
            self._cells[AT[dataset]] = emitted

    def _count_drops(self, dataset: str, reason: str, count: int) -> None:
        reasons = self._dropped.setdefault(dataset, {})
        reasons[reason] = reasons.get(reason, 0) + count
        if self._cells is not None:
            self._cells[AT[dataset] + 1] += count

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._lock:
            nested, self._inside = self._inside, True
            try:
                yield
                if not nested:
                    self._take_late()
            finally:
                self._inside = nested
