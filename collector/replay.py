"""What a dead letter is sent again as: the same numbers with the same or with mended bytes, so that it lands once.

Pure; `replayer` sends it. It never makes up an event, and never sends what would only come back.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shippers.batch import Batch, Header, seal
from shippers.errors import BadBatch, LastbeatError

from .dead_letters import DeadLetter, has_used_numbers, id_of, is_void, why_unreadable
from .foreign.stream import is_foreign

_UNKNOWN = "unknown"
_NAME = re.compile(r"[\w.:@+-]{1,128}")


class Unplayable(LastbeatError):
    """This letter can't be sent again as it is; the text says what to do."""

    permanent = True


def remade(letter: DeadLetter, repaired: bytes | None = None) -> Batch:
    """The batch that a letter's bytes, or those that stand in for them, are sent again as. Raises Unplayable."""
    if is_void(letter):
        raise Unplayable(
            f"{id_of(letter)} can't be sent again: its events were given up before they came here "
            f"({letter.reason}); there are no bytes"
        )
    data = letter.original if repaired is None else repaired
    header = _header(letter, data)
    foreign = is_foreign(letter.stream)
    lines = [_foreign(letter, data)] if foreign and letter.count == 1 else data.rstrip(b"\n").split(b"\n")
    if len(lines) != header.count:
        raise Unplayable(f"{id_of(letter)} stands for {letter.count} events, and there are {len(lines)} lines")
    events = [_event(letter, line, number) for number, line in enumerate(lines, 1)]
    if not header.day:
        header = replace(header, day=_day_of(letter), service=_service_of(events[0], header))
    if foreign and letter.count == 1:  # its line, in our own words by now, tells who sent it
        header = replace(header, service=events[0]["service"]["name"], instance=events[0]["service"]["node"]["name"])
    lines = [numbered(event, header.stream, number) for number, event in enumerate(events, header.first)]
    batch = seal(header, lines)
    try:
        Header.decode(batch.header.encode())
        batch.check()
    except BadBatch as error:
        raise Unplayable(f"{id_of(letter)} makes no batch: {error}; mend it, and give the file with --from") from None
    return batch


def _header(letter: DeadLetter, data: bytes) -> Header:
    """As it was sent, as far as that is known. Without a readable header, or where other events have its numbers, its
    place in the journal gives it some."""
    stream, first, count = letter.stream, letter.first, letter.count
    if not stream or has_used_numbers(letter):
        boot = hashlib.sha256(letter.source.encode()).hexdigest()[:24]
        stream, first, count = f"replay{boot}.{letter.dataset}", 1, max(1, data.rstrip(b"\n").count(b"\n") + 1)
    return Header(
        stream, first, count, letter.region, letter.dataset, letter.day, letter.service or _UNKNOWN,
        letter.instance or _UNKNOWN, 0, replay=True,
    )  # fmt: skip


def _foreign(letter: DeadLetter, data: bytes) -> bytes:
    """A foreign record's bytes as a line, unless they are one already."""
    from .foreign.event import Normaliser
    from .foreign.parse import Unreadable

    if b'"sequence":%d}}' % letter.first in data and not why_unreadable(data):
        return data.rstrip(b"\n")
    try:
        made = Normaliser(letter.region, letter.dataset, letter.instance or _UNKNOWN).read(data.strip(), letter.at)
    except Unreadable as error:
        raise Unplayable(f"{id_of(letter)} is no event: {error}. Mend it, and give the file with --from") from None
    return made.line + b"}}"


def _event(letter: DeadLetter, line: bytes, number: int) -> dict[str, Any]:
    why = why_unreadable(line)
    if why:
        place = f", line {number}" if letter.count > 1 else ""
        raise Unplayable(f"{id_of(letter)}{place} would only come back: {why}. Mend it, and give the file with --from")
    event: dict[str, Any] = json.loads(line)
    return event


def numbered(event: dict[str, Any], stream: str, number: int) -> bytes:
    """The line as a shipper writes it: its time first, its number last."""
    inner = event.get("event")
    inner = dict(inner) if isinstance(inner, dict) else {}
    inner.pop("stream", None)
    inner.pop("sequence", None)
    rest = {name: value for name, value in event.items() if name not in ("@timestamp", "event")}
    whole = {"@timestamp": event["@timestamp"], **rest, "event": {**inner, "stream": stream, "sequence": number}}
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _day_of(letter: DeadLetter) -> str:
    """Of letters from before it was kept: what the letter alone says, so that a second replay is no second event."""
    first = letter.original.partition(b"\n")[0]
    if why_unreadable(first):
        return f"{datetime.fromtimestamp(letter.at, UTC):%Y-%m-%d}"
    at = datetime.fromisoformat(json.loads(first)["@timestamp"])
    return f"{at if at.tzinfo is None else at.astimezone(UTC):%Y-%m-%d}"


def _service_of(event: dict[str, Any], header: Header) -> str:
    """Where no header says it, the event may."""
    service = event.get("service")
    name = service.get("name") if isinstance(service, dict) else None
    fits = header.service == _UNKNOWN and isinstance(name, str) and _NAME.fullmatch(name)
    return str(name) if fits else header.service
