"""Frames of the spool's files: a mark, a checksum and the batch as the wire has it, found again in damaged bytes too.

Pure.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Iterable

from .batch import Batch, pack, unpack
from .errors import BadBatch

_MARK = b"\xffLB\n"  # no line of JSON and no header has the first byte
_HEAD = struct.Struct(">4sII")  # mark, length and crc32 of what follows


def frame(batch: Batch) -> bytes:
    """One batch as the spool's files hold it."""
    packed = pack(batch.header.encode(), batch.body)
    return _HEAD.pack(_MARK, len(packed), zlib.crc32(packed)) + packed


def scan(data: bytes) -> tuple[list[Batch], int]:
    """Every sound frame in `data`, in order, and how many stretches between them are damaged or torn."""
    found: list[Batch] = []
    damaged = at = 0
    while at < len(data):
        batch, end = _frame_at(data, at)
        if batch is not None:
            found.append(batch)
            at = end
            continue
        damaged += 1
        at += 1
        while (at := data.find(_MARK, at)) >= 0 and _frame_at(data, at)[0] is None:
            at += 1
        if at < 0:
            break
    return found, damaged


def _frame_at(data: bytes, at: int) -> tuple[Batch | None, int]:
    if len(data) - at < _HEAD.size:
        return None, at
    mark, size, crc = _HEAD.unpack_from(data, at)
    start = at + _HEAD.size
    packed = data[start : start + size] if mark == _MARK else b""
    if mark != _MARK or len(packed) != size or zlib.crc32(packed) != crc:
        return None, at
    try:
        [batch] = unpack(packed)
        batch.check()
    except (BadBatch, ValueError):
        return None, at
    return batch, start + size


def merge_voids(batches: Iterable[Batch], reason: str) -> list[Batch]:
    """Void batches over the same numbers: one for each run of a stream, however many batches there were."""
    merged: dict[str, list[Batch]] = {}
    for batch in batches:
        runs = merged.setdefault(batch.header.stream, [])
        void = batch if batch.header.void else batch.void(reason)
        last = runs[-1].header if runs else None
        if last is not None and last.last + 1 == void.header.first and last.void == void.header.void:
            runs[-1] = Batch(dataclasses.replace(last, count=last.count + void.header.count), b"")
        else:
            runs.append(void)
    return [void for runs in merged.values() for void in runs]
