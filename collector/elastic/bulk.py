"""Bulk bodies: `create` lines spliced between the lines of a batch. It parses nothing, and copies each byte once."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import chain

from shippers.batch import MAX_LINE_BYTES, Batch, Header

_TIMED = b'{"@timestamp":'
NO_TIME = "nothing could find it"


def lines_of(header: Header, body: bytes) -> list[bytes]:
    """The lines of a body that is proven sound. Raises BadBatch as `Batch.check` does.

    The body of a shipper of ours has lines that all begin with their time: one count shows that none of them is
    blank. Only another one pays for the longer proof.
    """
    lines = body.split(b"\n")
    sound = lines.pop() == b"" and len(lines) == header.count and zlib.crc32(body) == header.crc
    if not sound or len(body) > MAX_LINE_BYTES or not all_timed(header, body):
        Batch(header, body).check()
    return lines


def all_timed(header: Header, body: bytes) -> bool:
    """Whether every line begins with its time, as our shippers write them."""
    return body.startswith(_TIMED) and body.count(b"\n" + _TIMED) == header.count - 1


def untimed(lines: Sequence[bytes]) -> list[int]:
    """Positions of JSON objects that lack a time: they would be stored, and never found. Broken JSON isn't among
    them: Elasticsearch itself says what is wrong with that."""
    return [
        at
        for at, line in enumerate(lines)
        if not line.startswith(_TIMED) and b'"@timestamp"' not in line and line.lstrip().startswith(b"{")
    ]


def splice(stream: str, first: int, lines: Sequence[bytes]) -> bytes:
    """A bulk body that creates each line under its identity, `<stream>:<number>`."""
    form = (b'{"create":{"_id":"' + stream.encode() + b':%d"}}\n%b\n') * len(lines)
    return form % tuple(chain.from_iterable(zip(range(first, first + len(lines)), lines, strict=True)))


def splice_some(stream: str, first: int, lines: Sequence[bytes], positions: Iterable[int]) -> bytes:
    """The same for some of the lines, by their positions."""
    head = b'{"create":{"_id":"' + stream.encode()
    return b"".join(b'%b:%d"}}\n%b\n' % (head, first + at, lines[at]) for at in positions)
