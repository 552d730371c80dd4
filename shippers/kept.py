"""Files of the spool that hold only what is durable elsewhere: kept, while there is room, in case it is wanted again.

They are renamed `.ack`, so that whoever finds them after a crash need not read them to know. Nothing here is fsynced,
because nothing is promised: a file that comes back under its old name is found to be sent already.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from .batch import Batch

Spans = dict[str, tuple[int, int]]
"""For each stream its first and its last number."""

_NAME = re.compile(r"\d{10}\.ack")


@dataclass(slots=True)
class _File:
    number: int
    size: int
    spans: Spans | None


class Kept:
    """One folder's files of settled batches, the oldest first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = [path for path in sorted(folder.iterdir()) if _NAME.fullmatch(path.name)]
        self._files = deque(_File(int(path.stem), path.stat().st_size, None) for path in found)
        self._size = sum(one.size for one in self._files)

    @property
    def size_bytes(self) -> int:
        """What they take."""
        return self._size

    @property
    def last_number(self) -> int:
        """The number of the newest; 0 if there is none."""
        return self._files[-1].number if self._files else 0

    def take(self, number: int, size: int, spans: Spans | None) -> None:
        """A file is settled: from now on it is one of these. Raises OSError; then it is not."""
        path = self._folder / f"{number:010d}.seg"
        if not size:
            path.unlink(missing_ok=True)
            return
        path.rename(path.with_suffix(".ack"))
        self._files.append(_File(number, size, spans))
        self._size += size

    def forget(self) -> bool:
        """Remove the oldest; False if there is none. Raises OSError."""
        if not self._files:
            return False
        (self._folder / _name(self._files[0].number)).unlink(missing_ok=True)
        self._size -= self._files.popleft().size
        return True

    def places(self) -> list[tuple[str, Spans | None]]:
        """Each file's name, and what is in it as far as that is known."""
        return [(_name(one.number), one.spans) for one in self._files]

    def learn(self, name: str, spans: Spans) -> None:
        """One of them was read."""
        for one in self._files:
            if _name(one.number) == name:
                one.spans = spans


def add_span(spans: Spans, batch: Batch) -> None:
    """A batch more."""
    header = batch.header
    first, last = spans.get(header.stream, (header.first, header.last))
    spans[header.stream] = min(first, header.first), max(last, header.last)


def _name(number: int) -> str:
    return f"{number:010d}.ack"
