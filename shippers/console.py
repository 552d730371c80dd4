"""From what a program prints to events: raw chunks to lines, lines to fields. Pure; never raises, whatever is printed.

A line of JSON is understood (message, level and the rest of its members); any other is the message as it stands.
"""

from __future__ import annotations

import json
import logging

from .fields import Fields
from .text import text_of

MAX_LINE = 65_536

_MESSAGE = ("message", "msg", "event")
_LEVEL = ("level", "severity", "levelname", "lvl", "log.level")
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "information": logging.INFO,
    "notice": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "err": logging.ERROR,
    "fatal": logging.CRITICAL,
    "critical": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emergency": logging.CRITICAL,
}


class Lines:
    """Cuts a stream of chunks into lines; one that never ends is cut every MAX_LINE bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their ends and without blank ones."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        while len(self._rest) > MAX_LINE:
            lines.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        return [line for line in lines if line.strip()]

    def end(self) -> list[bytes]:
        """The last line, if it had no end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest.strip() else []


def understand(line: bytes, level: int) -> tuple[int, str, Fields]:
    """The level, message and fields of one printed line; `level` is what a line has that names none."""
    fields = Fields()
    fields.dataset = "console"
    text = line.decode("utf-8", "replace").rstrip("\r")
    members = _members(text)
    if members is None:
        return level, text, fields
    message = _pop(members, _MESSAGE)
    named = _pop(members, _LEVEL)
    log = members.get("log")
    if named is None and isinstance(log, dict):
        named = log.get("level")
    fields.take(members.items())
    return _level(named, level), text if message is None else text_of(message, MAX_LINE), fields


def _members(text: str) -> dict[str, object] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _pop(members: dict[str, object], names: tuple[str, ...]) -> object:
    for name in names:
        if isinstance(members.get(name), str | int) and not isinstance(members.get(name), bool):
            return members.pop(name)
    return None


def _level(named: object, default: int) -> int:
    if isinstance(named, str):
        return _LEVELS.get(named.strip().lower(), default)
    if isinstance(named, int) and 10 <= named <= 60:
        return named if named < 60 else logging.CRITICAL  # bunyan and pino: 30 is info, 40 is warn
    return default
