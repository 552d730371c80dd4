"""Sealed batches on disk: a chain of append-only files in one folder, written and read in order by one process.

A frame is a mark, a checksum and the batch as the wire has it. `append` returns once it is fsynced. What can't be read
again, or is pushed out because the folder is full, comes out of `next` as void batches over the same numbers: never a
hole. A file whose batches are all settled stays, named `.ack`, while there is room, in case somebody wants them again;
it goes before anything unsent does. Takes no locks and knows nothing of who else might use the folder.
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .batch import Batch
from .durable import sync
from .frames import frame, merge_voids, scan
from .kept import Kept, Spans, add_span

log = logging.getLogger("lastbeat.spool")

FULL = "spool full"
DAMAGED = "spool damaged"
SEGMENT_BYTES = 2 * 1024 * 1024

_NAME = re.compile(r"\d{10}\.seg")


@dataclass(slots=True)
class _Segment:
    number: int
    size: int
    is_void: bool = False
    settled: int = 0  # bytes at its beginning that were settled when all was; only kept in case
    spans: Spans | None = None  # the first and last number of each stream, once that is known


class Segments:
    """One folder's batches. `expected` gives for each stream the number that must come next, so that gaps are seen."""

    def __init__(self, folder: Path, max_bytes: int, expected: dict[str, int] | None = None) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max(1, max_bytes // 8))
        self._expected = dict(expected or {})
        self._segments: deque[_Segment] = deque()
        for path in sorted(folder.iterdir()):
            if _NAME.fullmatch(path.name):
                self._segments.append(_Segment(int(path.stem), path.stat().st_size))
        self._kept = Kept(folder)
        first_free = self._kept.last_number + 1
        self._cursor = self._segments[0].number if self._segments else first_free
        self._offset = 0  # what of the cursor's segment has been read
        self._next_number = self._segments[-1].number + 1 if self._segments else first_free
        self._active: int | None = None  # the open file; always the last segment
        self._dirty = False  # it has what is not fsynced
        self._ahead: deque[tuple[int, Batch]] = deque()
        self._in_hand: dict[tuple[str, int], int] = {}
        self.damaged = 0
        """Stretches that could not be read, each of a torn or damaged frame or more."""
        self.given_up = 0
        """Events that `evict` gave up, whoever called it and whatever came of that."""

    @property
    def size_bytes(self) -> int:
        """What the files take, without what is only kept in case."""
        return sum(segment.size - segment.settled for segment in tuple(self._segments))

    @property
    def kept_bytes(self) -> int:
        """What is settled, and only kept in case, takes."""
        return self._kept.size_bytes + sum(segment.settled for segment in tuple(self._segments))

    @property
    def has_more(self) -> bool:
        """Whether `next` may have something."""
        return bool(self._ahead) or self._unread()

    def append(self, batches: Sequence[Batch]) -> int:
        """Have batches on disk, fsynced. Returns how many events had to be given up for them, the oldest unread ones.

        Raises OSError when there is no room or the disk won't have it; then none of them was taken, though others may
        have been given up for them.
        """
        frames = [frame(batch) for batch in batches]
        size, evicted = sum(map(len, frames)), 0
        while self.size_bytes + self.kept_bytes + size > self._max_bytes:
            if self.forget_kept():
                continue
            if not (gone := self.evict()):
                raise OSError(errno.ENOSPC, f"the spool's limit of {self._max_bytes} bytes is reached")
            evicted += gone
        caught_up = not self.has_more and 4 * size <= self._max_bytes  # what is in hand can't make room for others
        before = {segment.number: segment.size for segment in self._segments}
        try:
            places = [self._write(data, one) for data, one in zip(frames, batches, strict=True)]
            if self._active is not None:
                os.fsync(self._active)
                self._dirty = False
        except OSError:
            self._undo(before)
            raise
        if caught_up:  # still in memory: needn't be read from disk
            self._ahead.extend(zip(places, batches, strict=True))
            self._cursor, self._offset = self._segments[-1].number, self._segments[-1].size
            for batch in batches:
                self._expect(batch)
        return evicted

    def next(self) -> Batch | None:
        """The next batch in order, in the caller's hand until it is settled; None if there is none now."""
        while not self._ahead:
            if not self._unread():
                return None
            self._load()
        number, batch = self._ahead.popleft()
        self._in_hand[batch.header.stream, batch.header.first] = number
        return batch

    def settle(self, batches: Iterable[Batch]) -> list[Batch]:
        """These are durable elsewhere; what holds only such ones is kept in case. Returns which had been here."""
        held = []
        for batch in batches:
            if self._in_hand.pop((batch.header.stream, batch.header.first), None) is not None:
                held.append(batch)
            self._expect(batch)
        self._prune()
        return held

    def _prune(self) -> None:
        needed = [*self._in_hand.values(), *(number for number, _ in self._ahead)]
        if self._unread():
            needed.append(self._cursor)
        lowest = min(needed, default=self._next_number)
        try:
            while self._segments and self._segments[0].number < lowest:
                oldest = self._segments[0]
                if len(self._segments) == 1 and self._active is not None:
                    oldest.settled = oldest.size
                    return
                self._kept.take(oldest.number, oldest.size, oldest.spans)
                self._segments.popleft()
        except OSError as error:  # tried again with what is settled next; found again at worst, and stored once
            log.error("lastbeat: the spool can't put aside what was sent: %s", error)

    def forget_kept(self) -> bool:
        """Make room by what is settled, the oldest first. False if nothing settled is left."""
        try:
            if self._kept.forget():
                return True
            oldest = self._segments[0] if self._segments else None
            if oldest is None or not oldest.settled:
                return False
            if oldest.settled < oldest.size:
                return self._cut_off(oldest)
            if self._active is None or oldest is not self._segments[-1]:
                self._kept.take(oldest.number, oldest.size, oldest.spans)
                self._segments.popleft()
                return True
            os.ftruncate(self._active, 0)  # it is the open file itself, and all in it is settled
            oldest.size = oldest.settled = self._offset = 0
            oldest.spans = {}
            return True
        except OSError as error:
            log.error("lastbeat: the spool can't be made smaller: %s", error)
            return False

    def _cut_off(self, segment: _Segment) -> bool:
        """Rewrite a file without its settled beginning: what is unsent must not have less room for it."""
        if self._active is not None and segment is self._segments[-1]:
            return False
        path = self._folder / _name(segment.number)
        with path.open("rb") as file:
            file.seek(segment.settled)
            data = file.read()
        self._rewrite(path, data)
        if segment.number == self._cursor:
            self._offset -= segment.settled
        segment.size, segment.settled = len(data), 0
        return True

    def again(self, stream: str, first: int, last: int) -> list[Batch] | None:
        """Sound batches of one file that have numbers of a stream from `first` to `last`, in order, the lowest first.

        Empty: there are none (any more). None: one file was read in vain, ask again.
        """
        chain = [*self._kept.places(), *((_name(one.number), one.spans) for one in self._segments)]
        for name, spans in chain:
            if spans is None or (stream in spans and spans[stream][0] <= last and spans[stream][1] >= first):
                try:
                    batches, _ = scan((self._folder / name).read_bytes())
                except OSError:
                    batches = []
                self._learn(name, batches)
                found = [one for one in batches if one.header.stream == stream and one.header.last >= first]
                found = [one for one in found if one.header.first <= last]
                if found:
                    return sorted(found, key=lambda one: one.header.first)
                if spans is None:
                    return None
        return []

    def _learn(self, name: str, batches: Iterable[Batch]) -> None:
        spans: Spans = {}
        for batch in batches:
            add_span(spans, batch)
        self._kept.learn(name, spans)
        for segment in self._segments:
            if _name(segment.number) == name:
                segment.spans = spans

    def evict(self) -> int:
        """Replace the oldest segment that nobody has read by void batches; how many events that gave up, 0 if none."""
        unread = [segment for segment in self._segments if segment.number > self._cursor]
        if self._offset == 0 and not self._ahead:
            unread = [segment for segment in self._segments if segment.number >= self._cursor]
        if self._active is not None and unread and unread[-1] is self._segments[-1]:
            unread.pop()
        chosen: list[_Segment] = []
        for segment in unread:
            chosen.append(segment)
            if not segment.is_void:
                break
        if not chosen or chosen[-1].is_void:
            return 0
        batches = [batch for segment in chosen for batch in self._scan(segment, 0)]
        self._replace(chosen, merge_voids(batches, FULL))
        gone = sum(batch.header.count for batch in batches if batch.header.void is None)
        self.given_up += gone
        return gone

    def expected(self, stream: str) -> int:
        """The number after the last that was read of a stream, or given as expected."""
        return self._expected.get(stream, 1)

    def close(self) -> None:
        """Let go of the open file; what is not settled stays on disk."""
        active, self._active, self._dirty = self._active, None, False
        if active is not None:
            os.close(active)

    def remove(self) -> None:
        """Remove every file."""
        self.close()
        while self._kept.forget():
            pass
        while self._segments:
            (self._folder / _name(self._segments.popleft().number)).unlink(missing_ok=True)

    def _unread(self) -> bool:
        if not self._segments or self._segments[-1].number < self._cursor:
            return False
        return self._segments[-1].number > self._cursor or self._segments[-1].size > self._offset

    def _write(self, data: bytes, batch: Batch) -> int:
        if self._active is None or self._segments[-1].size >= self._segment_bytes:
            if self._active is not None and self._dirty:
                os.fsync(self._active)
            self.close()
            number = self._next_number
            path = self._folder / _name(number)
            self._active = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            self._next_number += 1
            self._segments.append(_Segment(number, 0, spans={}))
            sync(self._folder)
        self._dirty = True
        segment, view = self._segments[-1], memoryview(data)
        if segment.spans is not None:
            add_span(segment.spans, batch)
        while view:
            written = os.write(self._active, view)
            segment.size += written
            view = view[written:]
        return segment.number

    def _undo(self, before: dict[int, int]) -> None:
        """Take back a write that failed; go on in a new file, since this one's fsync can't be believed any more."""
        try:
            while self._segments and self._segments[-1].number not in before:
                (self._folder / _name(self._segments.pop().number)).unlink(missing_ok=True)
            if self._segments and self._segments[-1].size > before[self._segments[-1].number]:
                os.truncate(self._folder / _name(self._segments[-1].number), before[self._segments[-1].number])
                self._segments[-1].size = before[self._segments[-1].number]
        except OSError as error:  # what stays is read as damaged, or as a batch that was sent already
            log.error("lastbeat: the spool could not take back a failed write: %s", error)
        try:
            self.close()
        except OSError as error:
            log.error("lastbeat: the spool's file could not be closed: %s", error)

    def _load(self) -> None:
        """Read on, one segment at a time."""
        segment = next(segment for segment in self._segments if segment.number >= self._cursor)
        offset = self._offset if segment.number == self._cursor else 0
        for batch in self._scan(segment, offset):
            self._take(segment.number, batch)
        if segment is self._segments[-1]:
            self._cursor, self._offset = segment.number, segment.size
        else:
            self._cursor, self._offset = segment.number + 1, 0

    def _take(self, number: int, batch: Batch) -> None:
        header = batch.header
        expected = self._expected.get(header.stream, header.first)
        if header.last < expected:
            return  # sent already, from memory or by who died since
        if header.first > expected:
            lost = dataclasses.replace(header, first=expected, count=header.first - expected)
            self._ahead.append((number, Batch(lost, b"").void(DAMAGED)))
        self._ahead.append((number, batch))
        self._expect(batch)

    def _expect(self, batch: Batch) -> None:
        header = batch.header
        self._expected[header.stream] = max(self._expected.get(header.stream, 1), header.last + 1)

    def _scan(self, segment: _Segment, offset: int) -> list[Batch]:
        path = self._folder / _name(segment.number)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                batches, damaged = scan(file.read(segment.size - offset))
        except OSError as error:
            self.damaged += 1
            log.error("lastbeat: the spool can't be read, its numbers are given up: %s: %s", path, error)
            return []
        if damaged:
            self.damaged += damaged
            log.error("lastbeat: %d damaged or torn places in the spool are skipped: %s", damaged, path)
        return batches

    def _replace(self, chosen: Sequence[_Segment], batches: Sequence[Batch]) -> None:
        kept, data = chosen[-1], b"".join(frame(batch) for batch in batches)
        self._rewrite(self._folder / _name(kept.number), data)
        for segment in chosen[:-1]:
            (self._folder / _name(segment.number)).unlink(missing_ok=True)
            self._segments.remove(segment)
        sync(self._folder)
        kept.size, kept.settled, kept.spans, kept.is_void = len(data), 0, None, True

    def _rewrite(self, path: Path, data: bytes) -> None:
        draft = path.with_suffix(".new")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def _name(number: int) -> str:
    return f"{number:010d}.seg"
