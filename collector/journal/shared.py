"""Words of memory that the journal's writer shares with readers in other processes, through small mapped files.

A word is 8 bytes, aligned, written and read at once. What is published is durable already; the words themselves need
not be: after a crash of the machine the writer works them out again.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_WORDS = 8
_SIZE = 8 * _WORDS


class Words:
    """A mapped file of a few unsigned 64-bit words. One process writes, any number read."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Map the file; a writer makes it first. Raises FileNotFoundError for a reader that is too early."""
        if writable and (not path.exists() or path.stat().st_size < _SIZE):
            fresh = path.with_name(path.name + ".new")
            fresh.write_bytes(bytes(_SIZE))
            fresh.replace(path)  # a reader never sees it half made
        fd = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        try:
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(fd, _SIZE, access=access)
        finally:
            os.close(fd)
        self._view = memoryview(self._map).cast("Q")

    def __getitem__(self, index: int) -> int:
        return self._view[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._view[index] = value

    def close(self) -> None:
        """Unmap. Idempotent."""
        self._view.release()
        self._map.close()


END, ACTIVE, LAST_NS = 0, 1, 2
"""Words of a partition: up to which offset it is durable; the base of the segment that is being written; the append
time of the last durable record."""

COMMITS = 0
"""Word of the journal: grows with each group commit, so that one look tells whether anything is new."""
