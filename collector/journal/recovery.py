"""What a crash left at the end of a partition: the sound records are kept, a torn tail is cut off and reported.

Bytes below the published end were acknowledged: damage there is never cut, it is for readers to report as a gap.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shippers.durable import sync

from . import frame
from .segment import HEADER_BYTES, SegmentReader, bases, path_of, read_header

_CHUNK = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where a partition ends, the append time of its last record as far as known, and how many bytes were cut off."""

    end: int
    last_ns: int
    cut_bytes: int


def recover(folder: Path, published_end: int, published_ns: int) -> Recovered:
    """Look at the last segment from the published end on (0: nothing is known) and cut off what isn't sound."""
    known = bases(folder)
    if not known:
        return Recovered(published_end, published_ns, 0)
    base = known[-1]
    header = read_header(path_of(folder, base))
    segment = SegmentReader(folder, base)
    try:
        size = segment.size()
        start = published_end if base <= published_end <= base + size else base
        last_ns = max(published_ns, header.floor_ns if header else 0)
        if segment.seed is None:
            # Nothing in it can be told from chance. What was acknowledged stays, for readers to report.
            end = base + size if start > base else base
        else:
            end, last_ns = _sound_until(segment, start, base + size, last_ns, resync=published_end == 0)
    finally:
        segment.close()
    cut = base + size - end
    fd = os.open(path_of(folder, base), os.O_RDWR)
    try:
        if cut:
            os.ftruncate(fd, end - base + HEADER_BYTES)
        os.fdatasync(fd)  # whole records that were never synced are kept: they must be durable before they are shown
    finally:
        os.close(fd)
    sync(folder)
    return Recovered(max(end, published_end), last_ns, cut)  # an offset is never given twice


def _sound_until(segment: SegmentReader, start: int, stop: int, last_ns: int, *, resync: bool) -> tuple[int, int]:
    """The end of the last sound frame. With `resync`, sound frames behind damage count too: without a published end,
    they may have been acknowledged."""
    assert segment.seed is not None
    sound = at = start
    buffer, buffer_at = b"", at
    while at < stop:
        offset = at - buffer_at
        found = frame.parse(memoryview(buffer), offset, segment.seed)
        if found is None:
            need = frame.size_at(buffer, offset) or frame.PREFIX.size
            if offset + need > len(buffer) and buffer_at + len(buffer) < stop:
                buffer, buffer_at = segment.read(at, min(stop - at, max(_CHUNK, need))), at
                if len(buffer) >= min(need, stop - at):
                    continue
            if not resync:
                break
            rest = segment.read(at, stop - at)
            found = frame.find(rest, 1, segment.seed)
            if found is None:
                break
            buffer, buffer_at = rest, at
        at = sound = buffer_at + found.end
        last_ns = max(last_ns, found.at_ns)
    return sound, last_ns
