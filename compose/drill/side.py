"""A sender's own log of what it emitted, kept apart from the product that it checks. The product never sees it.

A sender's events are numbered 1, 2, 3 … and each bears its number in its message, so two numbers name them all:
`intent` is written before the log call, `returned` after it. They stand in a mapped file, which outlives a SIGKILL at
any instruction: what lies between the two may or may not have been emitted.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

_SIZE = 4_096
_CELLS = struct.Struct("<QQqd")
_BOOT_AT, _BOOT_BYTES = 64, 64
_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Side:
    """What one run of one sender says of itself. `left` is what its shipper says it has still to send, -1 if nothing
    was asked yet: used to know when all is quiet, never to judge. `ready_at` is when `lastbeat.init` had returned, in
    seconds since the epoch, 0 before; `boot` is the product's name for the run."""

    intent: int = 0
    returned: int = 0
    left: int = _UNKNOWN
    ready_at: float = 0.0
    boot: str = ""


class SideLog:
    """The writing end: one process, one thread."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._intent, self._returned, self._left, self._ready_at = 0, 0, _UNKNOWN, 0.0
        self._write()

    def intend(self) -> int:
        """The number of the next event: it is about to be logged."""
        self._intent += 1
        self._write()
        return self._intent

    def done(self) -> None:
        """The log call has returned."""
        self._returned = self._intent
        self._write()

    def ready(self, boot: str, at: float) -> None:
        """The shipper works, and calls itself so."""
        name = boot.encode()[:_BOOT_BYTES]
        self._map[_BOOT_AT : _BOOT_AT + len(name)] = name
        self._ready_at = at
        self._write()

    def leave(self, left: int) -> None:
        """What the shipper has still to send."""
        self._left = left
        self._write()

    def _write(self) -> None:
        _CELLS.pack_into(self._map, 0, self._intent, self._returned, self._left, self._ready_at)


def read(path: Path) -> Side:
    """What a run has said so far; nothing, if it has not begun."""
    try:
        page = path.read_bytes()
    except FileNotFoundError:
        return Side()
    if len(page) != _SIZE:
        return Side()
    intent, returned, left, ready_at = _CELLS.unpack_from(page)
    boot = page[_BOOT_AT : _BOOT_AT + _BOOT_BYTES].rstrip(b"\0").decode()
    return Side(intent, returned, left, ready_at, boot)
