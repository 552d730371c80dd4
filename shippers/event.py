"""From a log record to one line of bytes, ready for sealing.

The line ends where `event.stream` and `event.sequence` go: its number is only known when its batch is sealed. What
never changes is built once, strings are quoted in C. Rendering happens in the caller's thread, because arguments may
change after the call; it never raises and its result is bounded, whatever was logged.
"""

from __future__ import annotations

import json
import logging
import math
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from .clock import Clock
from .fields import MAX_VALUE, Fields
from .identity import Identity
from .text import quote, text_of, trim, trim_middle, unprintable

MAX_MESSAGE = 16_384
MAX_STACK = 32_768
MAX_LOGGER = 256

# What a record has of itself, of a formatter (message, asctime), of Python 3.12 (taskName); the rest is the caller's.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class Line(NamedTuple):
    """One event without its number: its dataset, its day (UTC, by event time, yyyy-mm-dd) and its bytes so far."""

    dataset: str
    day: str
    data: bytes


class Renderer:
    """Writes the events of one process. Safe to use from any thread; `on_trim` is told of each event that was cut."""

    def __init__(
        self,
        identity: Identity,
        pid: int,
        clock: Clock,
        on_trim: Callable[[], None],
    ) -> None:
        self._constant = identity.json(pid)
        self._clock = clock
        self._on_trim = on_trim
        self._second: tuple[int, str, str] = (-1, "", "")
        self._logs: dict[tuple[int, str], str] = {}

    def record(self, record: logging.LogRecord, dataset: str = "business") -> Line:
        """The line of a log record; `event.dataset` in its extra goes before `dataset`."""
        fields = Fields()
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001  a bad format, or an argument with a broken __str__
            message = text_of(record.msg, MAX_MESSAGE)
            fields.label("lastbeat.args", text_of(record.args, MAX_VALUE))
            fields.label("lastbeat.format_error", f"{type(error).__name__}: {text_of(error, 512)}")
        extras = record.__dict__
        own = [pair for pair in extras.items() if pair[0] not in _STANDARD]
        if own:
            fields.take(own)
        if record.exc_info or record.exc_text or record.stack_info:
            try:
                _take_error(fields, record)
            except Exception as error:  # noqa: BLE001  exc_info is whatever somebody put there
                fields.error_message = unprintable(record.exc_info, error)
        fields.dataset = fields.dataset or dataset
        return self.line(record.created, record.levelno, record.name, message, fields)

    def line(self, created: float, level: int, logger: str, message: str, fields: Fields) -> Line:
        """The line of an event that was never a log record."""
        stamp, day = self._stamp(created)
        if type(message) is not str:
            message = text_of(message, 2 * MAX_MESSAGE)
        if len(message) > MAX_MESSAGE:
            message, fields.trimmed = trim(message, MAX_MESSAGE), True
        log = self._logs.get((level, logger)) or self._log(level, logger)
        if fields.trimmed:
            self._on_trim()
        text = (
            f'{{"@timestamp":"{stamp}","message":{quote(message)},{log}{self._constant}{own_members(fields)}'
            f',"event":{{"dataset":"{fields.dataset}"{event_members(fields)}'
        )
        return Line(fields.dataset, day, text.encode("utf-8", "replace"))

    def beat(self, created: float, heartbeat: Mapping[str, Any]) -> Line:
        """The line of a heartbeat."""
        stamp, day = self._stamp(created)
        body = json.dumps(heartbeat, separators=(",", ":"), ensure_ascii=False)
        text = f'{{"@timestamp":"{stamp}",{self._constant},"heartbeat":{body},"event":{{"dataset":"heartbeat"'
        return Line("heartbeat", day, text.encode("utf-8", "replace"))

    def _stamp(self, created: float) -> tuple[str, str]:
        try:
            second = math.floor(created)
            micros = int((created - second) * 1e6)
            cached = self._second
            if cached[0] != second:
                text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
                text = text.rjust(19, "0")  # strftime doesn't pad years before 1000
                self._second = cached = (second, text, text[:10])
            return f"{cached[1]}.{micros:06d}Z", cached[2]
        except (ValueError, OverflowError, OSError, TypeError):
            return self._stamp(self._clock.time())  # no date at all: the time of rendering is nearest to it

    def _log(self, level: int, logger: str) -> str:
        text = f'"log":{{"level":"{level_name(level)}","logger":{quote(text_of(logger, MAX_LOGGER))}}},'
        if len(self._logs) < 4_096:
            self._logs[level, logger] = text
        return text


def level_name(level: int) -> str:
    """One of the five standard names; a level between two counts as the lower one."""
    if level >= logging.ERROR:
        return "CRITICAL" if level >= logging.CRITICAL else "ERROR"
    if level >= logging.INFO:
        return "WARNING" if level >= logging.WARNING else "INFO"
    return "DEBUG"


def number_line(line: bytes, stream: str, number: int) -> bytes:
    """Finish a line: its stream and its number, and the two brackets that stand open."""
    return b'%b,"stream":"%b","sequence":%d}}' % (line, stream.encode(), number)


def own_members(fields: Fields) -> str:
    """Everything between the envelope and `event`."""
    parts = [
        f'"{name}":{{"id":{quote(text)}}}'
        for name, text in (("trace", fields.trace), ("span", fields.span), ("transaction", fields.transaction))
        if text
    ]
    error = [
        f'"{name}":{quote(text)}'
        for name, text in (
            ("type", fields.error_type),
            ("message", fields.error_message),
            ("stack_trace", fields.error_stack),
        )
        if text
    ]
    if error:
        parts.append(f'"error":{{{",".join(error)}}}')
    if fields.labels:
        parts.append(f'"labels":{_object(fields.labels)}')
    if fields.measures:
        parts.append(f'"measures":{_object(fields.measures)}')
    return "," + ",".join(parts) if parts else ""


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join([f"{name}:{value}" for name, value in members.items()]) + "}"


def event_members(fields: Fields) -> str:
    action = f',"action":{quote(fields.action)}' if fields.action else ""
    outcome = f',"outcome":"{fields.outcome}"' if fields.outcome else ""
    duration = f',"duration":{fields.duration_ns}' if fields.duration_ns is not None else ""
    return f"{action}{outcome}{duration}"


def _take_error(fields: Fields, record: logging.LogRecord) -> None:
    """Fill error.* from the record's exception, its cached text, or the stack that was asked for."""
    stack = record.exc_text or ""
    info = record.exc_info
    if isinstance(info, tuple) and info[0] is not None:
        kind, error = info[0], info[1]
        plain = kind.__module__ in ("builtins", "__main__")
        fields.error_type = kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"
        fields.error_message = text_of(error, MAX_VALUE)
        stack = stack or _join(lambda: traceback.format_exception(*info), error)
    stack = stack or record.stack_info or fields.error_stack
    fields.trimmed = fields.trimmed or len(stack) > MAX_STACK
    fields.error_stack = trim_middle(stack, MAX_STACK)


def _join(format_: Callable[[], Iterable[str]], error: BaseException | None) -> str:
    try:
        return "".join(format_()).rstrip("\n")
    except Exception as trouble:  # noqa: BLE001  exceptions may be as broken as any other object
        return unprintable(error, trouble)
