"""A place in one partition, and reading from it. Raises Gap where records are gone or damaged, and stands
behind them then."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

from collector.ports import Gap, Record, TopicPartition
from shippers.errors import Unavailable

from . import frame
from .segment import SegmentReader, bases, path_of, read_header
from .shared import ACTIVE, END, Words

_CHUNK = 2 * 1024 * 1024


class Cursor:
    """Reads one partition, no further than its published end. Raises FileNotFoundError if it has none yet."""

    def __init__(self, folder: Path, position: int | None) -> None:
        """`position` None: the oldest record."""
        self.tp = TopicPartition(folder.name, 0)
        self._folder = folder
        self._words = Words(folder / "end", writable=False)
        self._segment: SegmentReader | None = None
        self._limit: int | None = None
        """Where the open segment ends; None while it grows."""
        self.position = self.oldest() if position is None else position

    def oldest(self) -> int:
        """The oldest offset that is kept."""
        return min(bases(self._folder), default=self._words[END])

    @property
    def end(self) -> int:
        """The offset behind the last record."""
        return self._words[END]

    def lag(self) -> int:
        """Bytes from here to the end; a position beyond the end is as far as can be from having read it."""
        end = self._words[END]
        return end - self.position if self.position <= end else end

    def offset_at(self, at: float) -> int:
        """The base of the last segment that may hold the first record appended at `at` or later: what is before it is
        older. Raises OSError."""
        for base in reversed(bases(self._folder)):
            try:
                header = read_header(path_of(self._folder, base))
            except FileNotFoundError:
                break  # deleted just now, and with it all before it
            if header is not None and header.floor_ns < at * 1e9:
                return base
        return self.oldest()

    def read(self, max_bytes: int) -> list[Record]:
        """The next records: at least one if there is any; stops once `max_bytes` of bodies are exceeded. Raises OSError
        or Unavailable if none of them can be read, and stands where it stood then."""
        end = self._words[END]
        if end == 0 or self.position == end:
            return []
        if self.position > end:
            self._raise_gap(self.oldest())
        records: list[Record] = []
        size = 0
        while self.position < end and size <= max_bytes:
            before = len(records)
            try:
                segment, limit = self._locate(end)
                if segment is not None:
                    size += self._parse(segment, limit, max_bytes - size, records)
            except (OSError, Unavailable):
                if not records:
                    raise
            if len(records) == before:
                if records:
                    break  # hand over what was read; the next call meets the trouble or the damage, and tells it
                self._raise_gap(limit if segment is None else self._behind_damage(segment, limit))
        return records

    def _parse(self, segment: SegmentReader, limit: int, max_bytes: int, records: list[Record]) -> int:
        """Add the sound records from here on; stops at damage, and at the end of what one read brings."""
        if segment.seed is None:
            return 0
        start = self.position
        data = segment.read(start, min(limit - start, max(min(_CHUNK, 2 * max_bytes), frame.PREFIX.size)))
        need = frame.size_at(data, 0)
        if need is not None and len(data) < need <= limit - start:
            data = segment.read(start, need)
        view = memoryview(data)
        at = size = 0
        while size <= max_bytes:
            found = frame.parse(view, at, segment.seed)
            if found is None:
                break
            header, body = data[found.header_start : found.body_start], data[found.body_start : found.end]
            records.append(Record(self.tp, start + at, start + found.end, found.at_ns / 1e9, header, body, True))
            size += len(body)
            at = found.end
        self.position = start + at
        return size

    def _locate(self, end: int) -> tuple[SegmentReader | None, int]:
        """The segment that holds this position and how far it may be read, or None and where the next one begins."""
        if self._segment is not None and self._segment.base <= self.position:
            if self._limit is None and self._words[ACTIVE] != self._segment.base:
                self._limit = _end_of(self._segment.base, *self._look())
            if self._limit is None or self.position < self._limit:
                return self._segment, min(end, self._limit or end)
        for _ in range(10):
            active, known = self._look()
            i = bisect_right(known, self.position) - 1
            limit = _end_of(known[i], active, known) if i >= 0 else None
            if i < 0 or (limit is not None and limit <= self.position):
                return None, min(known[i + 1], end) if i + 1 < len(known) else end
            try:
                fresh = SegmentReader(self._folder, known[i])
            except FileNotFoundError:
                continue  # deleted between listing and opening: look again
            self._let_go()
            self._segment, self._limit = fresh, limit
            return fresh, min(end, limit or end)
        raise Unavailable(f"{self._folder}: segments vanish faster than they can be opened")

    def _look(self) -> tuple[int, list[int]]:
        """The writer's place and all segments, in this order: more may be made in between, but none is left out that
        lies before the writer's place."""
        active = self._words[ACTIVE]
        return active, bases(self._folder)

    def _behind_damage(self, segment: SegmentReader, limit: int) -> int:
        if segment.seed is None:
            return limit
        found = frame.find(segment.read(self.position, limit - self.position), 1, segment.seed)
        return self.position + found.start if found else limit

    def _raise_gap(self, found: int) -> None:
        wanted, self.position = self.position, found
        raise Gap(self.tp, wanted, found)

    def _let_go(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def close(self) -> None:
        """Close the files."""
        self._let_go()
        self._words.close()


def _end_of(base: int, active: int, known: list[int]) -> int | None:
    """Where a segment ends: at the next one's base; the last one at the writer's place; None if it still grows."""
    if base == active:
        return None
    i = bisect_right(known, base)
    return known[i] if i < len(known) else active
