"""The demo's own count of what was logged, kept apart from the product that it checks.

One 8-byte number in a memory-mapped file: it outlives a SIGKILL of the process that counts, so even what a killed
process said is known exactly.
"""

from __future__ import annotations

import logging
import mmap
import struct
from pathlib import Path

_NUMBER = struct.Struct("<Q")


class Tally:
    """A counter in a file. One process writes it, one thread at a time; anybody may `read` it at any moment."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(_NUMBER.pack(0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _NUMBER.size)
        self._count = 0

    def add(self, count: int = 1) -> None:
        """Count."""
        self._count += count
        _NUMBER.pack_into(self._map, 0, self._count)


class LogTally(logging.Handler):
    """Counts the log calls that reach the root logger, before any other handler sees them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._tally = Tally(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Count one call; the product's own lines are not the service's."""
        if not record.name.startswith("lastbeat"):
            self._tally.add()


def read(path: Path) -> int:
    """The count in `path`; 0 if nobody has begun to count there."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return 0
    return int(_NUMBER.unpack(raw)[0]) if len(raw) == _NUMBER.size else 0
