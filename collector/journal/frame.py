"""One record on disk: magic, lengths, append time and checksum, then the header and the body of the batch.

Pure: bytes in, bytes out. Nothing here opens a file, and nothing here believes a length before its checksum.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from shippers.batch import Batch
from shippers.errors import BadBatch

MAGIC = b"\xf5lbj"
"""Begins each frame. 0xf5 never occurs in UTF-8, so no body of sound JSON holds it."""

PREFIX = struct.Struct(">4sIIQI")
_SEALED = struct.Struct(">IIQI")

MAX_HEADER_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024


class Encoded(NamedTuple):
    """A batch ready to be framed; `crc` covers header and body, the frame's own adds lengths and time to it."""

    header: bytes
    body: bytes
    crc: int

    @property
    def size(self) -> int:
        """Bytes of the whole frame."""
        return PREFIX.size + len(self.header) + len(self.body)


class Frame(NamedTuple):
    """A sound frame: where its parts lie in the buffer that it was found in."""

    start: int
    body_start: int
    end: int
    at_ns: int

    @property
    def header_start(self) -> int:
        """Where the header begins."""
        return self.start + PREFIX.size


def encode(batch: Batch) -> Encoded:
    """The costly part of framing, done in the caller's thread, before the append time is known."""
    header, body = batch.header.encode(), batch.body
    if len(header) > MAX_HEADER_BYTES or len(body) > MAX_BODY_BYTES:
        raise BadBatch("size", f"a batch of {len(header)} + {len(body)} bytes is more than a journal's record may have")
    return Encoded(header, body, zlib.crc32(body, zlib.crc32(header)))


def prefix(encoded: Encoded, at_ns: int, seed: int) -> bytes:
    """What goes before header and body. `seed` is the segment's secret: see `find`."""
    sizes = len(encoded.header), len(encoded.body)
    crc = zlib.crc32(_SEALED.pack(*sizes, at_ns, seed), encoded.crc)
    return PREFIX.pack(MAGIC, *sizes, at_ns, crc)


def size_at(buffer: bytes | memoryview, at: int) -> int | None:
    """How long the frame that begins at `at` says it is; None if that can't be a frame. Unchecked."""
    if len(buffer) - at < PREFIX.size:
        return None
    magic, header_size, body_size, _, _ = PREFIX.unpack_from(buffer, at)
    if magic != MAGIC or header_size > MAX_HEADER_BYTES or body_size > MAX_BODY_BYTES:
        return None
    return int(PREFIX.size + header_size + body_size)


def parse(buffer: memoryview, at: int, seed: int) -> Frame | None:
    """The frame that begins at `at`, or None if it is not all there or not sound."""
    size = size_at(buffer, at)
    if size is None or at + size > len(buffer):
        return None
    _, header_size, body_size, at_ns, crc = PREFIX.unpack_from(buffer, at)
    start = at + PREFIX.size
    content = zlib.crc32(buffer[start : at + size])
    if zlib.crc32(_SEALED.pack(header_size, body_size, at_ns, seed), content) != crc:
        return None
    return Frame(at, start + header_size, at + size, at_ns)


def find(data: bytes, at: int, seed: int) -> Frame | None:
    """The first sound frame that begins at `at` or later. Here reading finds its feet again behind damage.

    A body may hold what looks like a frame; without the segment's seed nobody can give it the right checksum.
    """
    view = memoryview(data)
    at = data.find(MAGIC, at)
    while at >= 0:
        frame = parse(view, at, seed)
        if frame is not None:
            return frame
        at = data.find(MAGIC, at + 1)
    return None
