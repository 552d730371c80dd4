"""Headers read as fast as they repeat: of one stream only three numbers change from batch to batch.

What was proven once is not proven again: a header that equals a known one but for `first`, `count` and `crc` needs
only these checked. Every other one goes through `Header.decode`, so no header passes here that wouldn't there.
"""

from __future__ import annotations

import re

from shippers.batch import MAX_COUNT, MAX_HEADER_BYTES, Header

_FORM = re.compile(
    rb'(\{"v":1,"stream":"[a-z0-9.]+"),"first":([1-9][0-9]{0,17}),"count":([1-9][0-9]{0,4}),'
    rb'("region":"[^\\]+"),"crc":(0|[1-9][0-9]{0,9})((?:,"[^\\]+)?\})'
)
_MAX_CRC = 2**32 - 1
_KNOWN = 4_096


class HeaderReader:
    """Reads headers for one thread, and remembers the last few thousand streams."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bytes], Header] = {}

    def decode(self, raw: bytes) -> Header:
        """See Header.decode."""
        found = _FORM.fullmatch(raw)
        if found is None:
            return Header.decode(raw)
        stream, first, count, middle, crc, end = found.groups()
        known = self._known.get((stream, middle, end))
        if known is None:
            return self._learn(raw, (stream, middle, end))
        number, sum_ = int(count), int(crc)
        if number > MAX_COUNT or sum_ > _MAX_CRC or len(raw) > MAX_HEADER_BYTES:
            return Header.decode(raw)
        return Header(
            known.stream, int(first), number, known.region, known.dataset, known.day, known.service, known.instance,
            sum_, None, known.age_s, known.via, known.ingress, known.canary, known.replay,
        )  # fmt: skip

    def _learn(self, raw: bytes, place: tuple[bytes, bytes, bytes]) -> Header:
        """Remember a header that is sound, unless it names one of the three numbers twice, or has no body."""
        header = Header.decode(raw)
        twice = any(raw.count(b'"%b"' % name) > 1 for name in (b"first", b"count", b"crc"))
        if header.void is None and not twice:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[place] = header
        return header
