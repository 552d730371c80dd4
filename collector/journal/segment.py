"""Segment files: a partition is a row of them, each named by the offset of its first byte.

An offset is a byte's position in the partition, so the file `base` holds the offsets from `base` up to the next file's
base. A file header comes before the first frame and counts for no offset.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shippers.durable import sync

_HEADER = struct.Struct(">8sQI")
_MAGIC = b"lbjseg01"
HEADER_BYTES = _HEADER.size
SUFFIX = ".segment"
_IOV_MAX = 1000


def path_of(folder: Path, base: int) -> Path:
    """Where the segment that begins at `base` lies."""
    return folder / f"{base:020d}{SUFFIX}"


def bases(folder: Path) -> list[int]:
    """The bases of all segments of a partition, oldest first. Files of other names are nobody's business."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
    return sorted(int(stem) for name in names if (stem := name.removesuffix(SUFFIX)).isdigit())


class SegmentHeader(NamedTuple):
    """floor_ns: no record of the segment is older; it is the time of the last one before it. seed: see frame.find."""

    floor_ns: int
    seed: int


def read_header(path: Path) -> SegmentHeader | None:
    """The file's header, or None if there is none yet, or a damaged one."""
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        return None
    magic, floor, seed = _HEADER.unpack(raw)
    return SegmentHeader(floor, seed) if magic == _MAGIC else None


class SegmentWriter:
    """The one segment of a partition that is written to. Every method may raise OSError."""

    def __init__(self, folder: Path, base: int, floor: int) -> None:
        """Make a new segment, whatever lay under that name before: nothing durable did."""
        self.base = base
        self.seed = secrets.randbits(32)
        path = path_of(folder, base)
        path.unlink(missing_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            _write_all(self._fd, [_HEADER.pack(_MAGIC, floor, self.seed)])
            sync(folder)
        except OSError:
            os.close(self._fd)
            raise

    def write(self, offset: int, parts: Sequence[bytes]) -> None:
        """Write frames at the end, which is `offset`."""
        os.lseek(self._fd, offset - self.base + HEADER_BYTES, os.SEEK_SET)
        _write_all(self._fd, parts)

    def sync(self) -> None:
        """Make durable what was written."""
        os.fdatasync(self._fd)

    def truncate(self, offset: int) -> None:
        """Forget everything from `offset` on."""
        os.ftruncate(self._fd, offset - self.base + HEADER_BYTES)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class SegmentReader:
    """A segment opened for reading; stays readable after its file was deleted."""

    def __init__(self, folder: Path, base: int) -> None:
        self.base = base
        path = path_of(folder, base)
        header = read_header(path)
        self.seed = header.seed if header else None
        """None: the file's header is damaged, and nothing in it can be told from chance."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from an offset on; fewer only where the file ends."""
        return _read_all(self._fd, offset - self.base + HEADER_BYTES, size)

    def size(self) -> int:
        """Bytes of frames, sound or not."""
        return max(0, os.fstat(self._fd).st_size - HEADER_BYTES)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _read_all(fd: int, at: int, size: int) -> bytes:
    data = os.pread(fd, size, at)
    while len(data) < size:
        more = os.pread(fd, size - len(data), at + len(data))
        if not more:
            break
        data += more
    return data


def _write_all(fd: int, parts: Sequence[bytes]) -> None:
    for i in range(0, len(parts), _IOV_MAX):
        rest: list[bytes | memoryview] = list(parts[i : i + _IOV_MAX])
        written = os.writev(fd, rest)
        total = sum(map(len, rest))
        while written < total:  # a nearly full disk, or a limit, takes a part; the next call says why
            total -= written
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            rest[0] = memoryview(rest[0])[written:]
            written = os.writev(fd, rest)
