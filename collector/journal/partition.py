"""The writing side of one partition: written, made durable, published, in that order; rolled back where that failed.

Used by the committer's thread alone. After a failure the file is suspect (a failed fsync may have dropped pages that
look clean): it is cut back to its last durable byte and never written to again.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from shippers.durable import sync

from . import frame
from .frame import Encoded
from .recovery import Recovered, recover
from .segment import HEADER_BYTES, SegmentWriter, bases, path_of, read_header
from .shared import ACTIVE, END, LAST_NS, Words


@dataclass(slots=True)
class Closed:
    """A segment that is no longer written to. `last_ns` is when its last record was appended, 0 if unknown."""

    base: int
    size: int
    last_ns: int


class Partition:
    """Appends to one partition. Methods raise OSError; after that `roll_back` must be called."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        sync(folder.parent)
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._words = Words(folder / "end", writable=True)
        self.recovered: Recovered = recover(folder, self._words[END], self._words[LAST_NS])
        self.durable_end = self._end = self.recovered.end
        self.last_ns = self._pending_ns = self.recovered.last_ns
        self._writer: SegmentWriter | None = None
        self._parts: list[bytes] = []
        self._parts_at = self._end
        self.closed = self._look_at_segments()
        self._publish()

    def _look_at_segments(self) -> list[Closed]:
        found = bases(self.folder)
        ends = [*found, self.durable_end][1:]
        closed = []
        for i, (base, end) in enumerate(zip(found, ends, strict=True)):
            following = read_header(path_of(self.folder, found[i + 1])) if i + 1 < len(found) else None
            last_ns = self.last_ns if i + 1 == len(found) else following.floor_ns if following else 0
            if end > base:
                closed.append(Closed(base, end - base, last_ns))
        return closed

    @property
    def size(self) -> int:
        """Bytes kept: closed segments and the one being written."""
        return self.durable_end - (self.closed[0].base if self.closed else self._active_base)

    @property
    def _active_base(self) -> int:
        return self._writer.base if self._writer else self.durable_end

    def add(self, encoded: Encoded, at_ns: int) -> None:
        """Take a record for the next `write`. A full segment is finished first."""
        writer = self._writer
        if writer is None or (self._end > writer.base and self._end - writer.base + encoded.size > self._segment_bytes):
            writer = self._roll()
        self._parts += (frame.prefix(encoded, at_ns, writer.seed), encoded.header, encoded.body)
        self._end += encoded.size
        self._pending_ns = at_ns

    def write(self) -> None:
        """Hand what was added to the operating system."""
        if self._parts and self._writer:
            self._writer.write(self._parts_at, self._parts)
            self._parts, self._parts_at = [], self._end

    def sync(self) -> None:
        """Make it durable. The only method that may run beside other partitions' in another thread."""
        if self._writer and self._end > self.durable_end:
            self._writer.sync()

    def publish(self) -> None:
        """Show what is durable to readers."""
        self.durable_end, self.last_ns = self._end, self._pending_ns
        self._publish()

    def _publish(self) -> None:
        self._words[LAST_NS] = self.last_ns
        self._words[ACTIVE] = self._active_base
        self._words[END] = self.durable_end

    def _roll(self) -> SegmentWriter:
        """Finish the segment and begin the next. The finished one is durable before the next exists, so that only
        the last segment can ever have a torn tail. Nothing is published yet: a failure rolls back all of the group."""
        self.write()
        self.sync()
        fresh = SegmentWriter(self.folder, self._end, self._pending_ns)
        self._close_writer(self._end, self._pending_ns)
        self._writer = fresh
        return fresh

    def _close_writer(self, end: int, last_ns: int) -> None:
        if self._writer is None:
            return
        if end > self._writer.base:
            self.closed.append(Closed(self._writer.base, end - self._writer.base, last_ns))
        with contextlib.suppress(OSError):  # nothing hangs on it: what counts was synced
            self._writer.close()
        self._writer = None

    def roll_back(self) -> None:
        """Forget everything beyond the durable end. What can't be cut off now is hidden by the next segment's base."""
        self._parts, self._parts_at = [], self.durable_end
        self._end, self._pending_ns = self.durable_end, self.last_ns
        self._close_writer(self.durable_end, self.last_ns)
        while self.closed and self.closed[-1].base >= self.durable_end:
            self.closed.pop()
        if self.closed:
            self.closed[-1].size = self.durable_end - self.closed[-1].base
        with contextlib.suppress(OSError):
            for base in bases(self.folder):
                if base >= self.durable_end:
                    self._unlink(base)
            if self.closed:
                os.truncate(path_of(self.folder, self.closed[-1].base), HEADER_BYTES + self.closed[-1].size)
        self._publish()

    def segments(self) -> list[Closed]:
        """All segments with durable records, oldest first; the one being written only while nothing is on its way."""
        writer = self._writer
        if writer is None or writer.base == self.durable_end or self._end > self.durable_end:
            return list(self.closed)
        return [*self.closed, Closed(writer.base, self.durable_end - writer.base, self.last_ns)]

    def drop(self, base: int) -> None:
        """Delete a segment for good; if it is the one being written, the next append begins another."""
        if self._writer is not None and self._writer.base == base:
            self._close_writer(self.durable_end, self.last_ns)
            self._publish()
        self._unlink(base)
        self.closed = [segment for segment in self.closed if segment.base != base]

    def _unlink(self, base: int) -> None:
        path_of(self.folder, base).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go; what is durable stays."""
        self._close_writer(self.durable_end, self.last_ns)
        self._words.close()
