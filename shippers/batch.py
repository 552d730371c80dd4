r"""The batch: a run of consecutively numbered events of one stream, one region and one day.

It is built once, by the shipper, and never opened on the way: a small header, and a body of `count` lines of JSON,
each ended by a line feed. Everything that carries, stores, accounts or refuses events works on headers alone.

A void batch has a header with `void` set to a reason and an empty body: the numbers are accounted for, the events gone.
"""

from __future__ import annotations

import dataclasses
import json
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from .errors import BadBatch

VERSION = 1
DATASETS = ("business", "console", "metrics", "heartbeat")

MAX_HEADER_BYTES = 4_096
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024
MAX_COUNT = 10_000

MEDIA_TYPE = "application/vnd.lastbeat.batches"

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_NAME = re.compile(r"[\w.:@+-]{1,128}")
_STREAM = re.compile(r"([a-z0-9]{8,40})\.([a-z]+)")
_BLANK_LINE = re.compile(rb"(?:\A|\n)[ \t\r\f\v]*\n")
_UNUSUAL_LINE = re.compile(rb"\n[^{]")
_FRAME = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a batch without opening it.

    stream is `<boot>.<dataset>`; events are numbered `first` to `first + count - 1`; day is the UTC date of every
    event in it, as `yyyy-mm-dd`; crc is zlib.crc32 of the body.

    The last six are not the shipper's to fill at sealing: `void` says why the body is gone; `age_s` is how old a
    heartbeat was when it was last sent on (every holder adds the time that it held it); `via` and `ingress` are
    stamped by the gateway that took the batch in; `canary` marks a gateway's own probe, which is never stored; `replay`
    marks what a person sends again from the dead letters: numbers that are only there are stored all the same.
    """

    stream: str
    first: int
    count: int
    region: str
    dataset: str
    day: str
    service: str
    instance: str
    crc: int
    void: str | None = None
    age_s: float | None = None
    via: str | None = None
    ingress: str | None = None
    canary: bool = False
    replay: bool = False

    @property
    def last(self) -> int:
        """The number of the last event in the batch."""
        return self.first + self.count - 1

    @property
    def boot(self) -> str:
        """The boot id: one start of one process."""
        return self.stream.partition(".")[0]

    def encode(self) -> bytes:
        """Compact JSON, without the fields that say nothing."""
        fields: dict[str, Any] = {"v": VERSION}
        for name in _FIELDS:
            value = getattr(self, name)
            if value is not None and value is not False:
                fields[name] = value
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Header:
        """Read and check a header. Unknown fields are ignored, so that a newer shipper may add some.

        Raises BadBatch with code `size`, `header`, `version`, `stream`, `count`, `region`, `dataset`, `day`,
        `service`, `instance` or `crc`.
        """
        if len(raw) > MAX_HEADER_BYTES:
            raise BadBatch("size", f"header of {len(raw)} bytes, at most {MAX_HEADER_BYTES} are allowed")
        try:
            fields = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise BadBatch("header", f"header is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise BadBatch("header", "header is not a JSON object")
        if fields.get("v") != VERSION:
            raise BadBatch("version", f"batch version {fields.get('v')!r}, this gateway speaks version {VERSION}")
        try:
            header = cls(**{name: fields[name] for name in _FIELDS if name in fields})
        except TypeError:
            missing = sorted(name for name in _REQUIRED if name not in fields)
            raise BadBatch("header", f"header lacks {', '.join(missing)}") from None
        _check_header(header)
        return header


_FIELDS = tuple(field.name for field in dataclasses.fields(Header))
_REQUIRED = tuple(field.name for field in dataclasses.fields(Header) if field.default is dataclasses.MISSING)


def _check_header(header: Header) -> None:
    def need(good: bool, code: str, rule: str) -> None:
        if not good:
            raise BadBatch(code, f"{code} {getattr(header, code, None)!r}: {rule}")

    def text(value: object, pattern: re.Pattern[str]) -> bool:
        return isinstance(value, str) and pattern.fullmatch(value) is not None

    def number(value: object, low: int, high: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    need(header.dataset in DATASETS, "dataset", f"must be one of {', '.join(DATASETS)}")
    need(
        text(header.stream, _STREAM), "stream", "must be <boot>.<dataset>, boot of 8 to 40 lower-case letters or digits"
    )
    need(header.stream.endswith(f".{header.dataset}"), "stream", f"must end in the dataset, .{header.dataset}")
    need(number(header.first, 1, 2**62), "first", "must be a number from 1 up")
    need(number(header.count, 1, 2**40 if header.void else MAX_COUNT), "count", f"must be 1 to {MAX_COUNT}")
    need(text(header.region, _REGION), "region", "must be lower-case letters, digits and -, at most 40")
    need(text(header.service, _NAME), "service", "must be letters, digits and . _ : @ + -, at most 128")
    need(text(header.instance, _NAME), "instance", "must be letters, digits and . _ : @ + -, at most 128")
    need(number(header.crc, 0, 2**32 - 1), "crc", "must be the body's crc32, an unsigned 32-bit number")
    need(_is_day(header.day), "day", "must be a date as yyyy-mm-dd")
    for name in ("void", "via", "ingress"):
        need(getattr(header, name) is None or isinstance(getattr(header, name), str), name, "must be text")
    need(header.age_s is None or isinstance(header.age_s, int | float), "age_s", "must be a number of seconds")
    for name in ("canary", "replay"):
        need(isinstance(getattr(header, name), bool), name, "must be true or false")


def _is_day(day: object) -> bool:
    if not isinstance(day, str) or len(day) != 10:
        return False
    try:
        return date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Batch:
    """A header and its body. Immutable, like everything that has a number."""

    header: Header
    body: bytes

    def void(self, reason: str) -> Batch:
        """The batch that stands in for this one once its body has to be given up: same numbers, no events."""
        return Batch(dataclasses.replace(self.header, void=reason, crc=0), b"")

    def check(self) -> None:
        """Hold the body against the header.

        Raises BadBatch with code `size`, `crc`, `blank`, `count` or `void`. Says nothing about JSON: a line that
        isn't JSON harms nobody else, and the store rejects that one item.
        """
        header, body = self.header, self.body
        if header.void is not None:
            if body:
                raise BadBatch("void", "a void batch carries no body")
            return
        if len(body) > MAX_BODY_BYTES:
            raise BadBatch("size", f"body of {len(body)} bytes, at most {MAX_BODY_BYTES} are allowed")
        lines = body.count(b"\n")
        if lines != header.count or not body.endswith(b"\n"):
            raise BadBatch("count", f"header says {header.count} lines, the body has {lines}")
        if zlib.crc32(body) != header.crc:
            raise BadBatch("crc", f"body's crc32 is {zlib.crc32(body)}, the header says {header.crc}")
        if _has_blank_line(body):
            raise BadBatch("blank", "the body has a blank line")
        if len(body) > MAX_LINE_BYTES and max(map(len, body.split(b"\n"))) > MAX_LINE_BYTES:
            raise BadBatch("size", f"a line of over {MAX_LINE_BYTES} bytes")


def _has_blank_line(body: bytes) -> bool:
    # The sound line begins with "{": only when one does not is the exact, slower search worth its cost.
    if body.startswith(b"{") and _UNUSUAL_LINE.search(body) is None:
        return False
    return _BLANK_LINE.search(body) is not None


def seal(header: Header, lines: Iterable[bytes]) -> Batch:
    """Build a batch from lines of JSON without their line ends. The header's `count` and `crc` are filled in here."""
    parts = list(lines)
    body = b"\n".join(parts) + b"\n"
    return Batch(dataclasses.replace(header, count=len(parts), crc=zlib.crc32(body)), body)


def pack(header: bytes, body: bytes) -> bytes:
    """One frame of the wire and of the spool: two big-endian lengths of 4 bytes, the header, the body."""
    return b"".join((_FRAME.pack(len(header), len(body)), header, body))


def unpack(data: bytes) -> Iterator[Batch]:
    """Read frames laid end to end, checking each header but no body. Raises BadBatch (`frame`) where one is cut off."""
    at = 0
    while at < len(data):
        if len(data) - at < _FRAME.size:
            raise BadBatch("frame", f"cut off in a frame's lengths at byte {at}")
        header_size, body_size = _FRAME.unpack_from(data, at)
        start = at + _FRAME.size
        end = start + header_size + body_size
        if end > len(data):
            raise BadBatch("frame", f"the frame at byte {at} says {end - at} bytes, {len(data) - at} are left")
        yield Batch(Header.decode(data[start : start + header_size]), data[start + header_size : end])
        at = end
