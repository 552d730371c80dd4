"""Text from anything: bounded, valid, and never an exception, whatever the caller logged.

Only the start of what is too long is read, so that a huge or cyclic value costs no more than its limit. Never changes
the value, never keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from json.encoder import encode_basestring

quote = encode_basestring
"""A string as JSON, in C. Lone surrogates are left to the final `.encode("utf-8", "replace")`."""

_MARK_ROOM = 40
_MAX_DEPTH = 6
_CONTAINERS = (Mapping, Sequence, AbstractSet)


def trim(text: str, limit: int) -> str:
    """At most `limit` characters, the end replaced by a mark that says how many are missing."""
    if len(text) <= limit:
        return text
    kept = limit - _MARK_ROOM
    return f"{text[:kept]}… [{len(text) - kept} characters trimmed]"


def trim_middle(text: str, limit: int) -> str:
    """At most `limit` characters, of which three quarters from the end: there a traceback says what went wrong."""
    if len(text) <= limit:
        return text
    kept = limit - _MARK_ROOM
    head = kept // 4
    return f"{text[:head]}\n… [{len(text) - kept} characters trimmed]\n{text[len(text) - (kept - head) :]}"


def text_of(value: object, limit: int) -> str:
    """Any value as text: strings and bytes as they are, booleans as in JSON, containers as JSON-like outlines."""
    try:
        if isinstance(value, str):
            return trim(str.__str__(value), limit)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, bytes | bytearray | memoryview):
            return _text_of_bytes(value, limit)
        if isinstance(value, _CONTAINERS):
            parts: list[str] = []
            _outline(value, parts, limit, 0)
            return trim("".join(parts), limit)
        return trim(_exact(str(value)), limit)
    except Exception as error:  # noqa: BLE001  a broken __str__ may raise whatever it likes
        return unprintable(value, error)


def unprintable(value: object, error: BaseException) -> str:
    """What stands in for a value that refuses to be text."""
    return f"<{type(value).__name__}: unprintable, {type(error).__name__}>"


def _exact(text: str) -> str:
    # __str__ may return a subclass of str with methods of its own; from here on only str's own run.
    return text if type(text) is str else str.__str__(text)


def _text_of_bytes(value: bytes | bytearray | memoryview, limit: int) -> str:
    size = memoryview(value).nbytes
    text = bytes(memoryview(value).cast("B")[: limit + 4]).decode("utf-8", "replace")
    return text if size <= limit else f"{text[: limit - _MARK_ROOM]}… [of {size} bytes]"


def _outline(value: object, parts: list[str], room: int, depth: int) -> int:
    """Append `value` to `parts` as JSON-like text; return the room that is left. Stops once there is none."""
    if depth > _MAX_DEPTH:
        return _add(parts, '"…"', room)
    if isinstance(value, Mapping):
        return _outline_mapping(value, parts, _add(parts, "{", room), depth)
    if isinstance(value, _CONTAINERS) and not isinstance(value, str | bytes | bytearray | memoryview):
        return _outline_items(value, parts, _add(parts, "[", room), depth)
    if value is None or isinstance(value, int | float):
        return _add(parts, "null" if value is None else text_of(value, room), room)
    return _add(parts, quote(text_of(value, max(room, 2 * _MARK_ROOM))), room)


def _outline_mapping(value: Mapping[object, object], parts: list[str], room: int, depth: int) -> int:
    for index, key in enumerate(value):
        room = _add(parts, f"{',' if index else ''}{quote(text_of(key, 128))}:", room)
        room = _outline(value[key], parts, room, depth + 1)
        if room <= 0:
            return 0
    return _add(parts, "}", room)


def _outline_items(value: Iterable[object], parts: list[str], room: int, depth: int) -> int:
    for index, item in enumerate(value):
        room = _outline(item, parts, _add(parts, ",", room) if index else room, depth + 1)
        if room <= 0:
            return 0
    return _add(parts, "]", room)


def _add(parts: list[str], text: str, room: int) -> int:
    parts.append(text)
    return room - len(text)
