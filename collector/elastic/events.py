"""From Elasticsearch's hits to events. An event's identity is the id it was stored under, whatever its body says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from collector.ports import Event

SORT = [
    {"@timestamp": {"order": "desc", "format": "strict_date_optional_time_nanos"}},
    {"event.stream": {"order": "desc"}},
    {"event.sequence": {"order": "desc"}},
]
"""Newest first, and the same each time."""

OLDEST_FIRST = [{name: {**how, "order": "asc"} for name, how in one.items()} for one in SORT]


def event_of(hit: Mapping[str, Any]) -> Event:
    """One hit as the boards show it."""
    line = _Line(hit["_source"])
    stream, _, number = str(hit["_id"]).rpartition(":")
    return Event(
        at=_seconds(line.text("@timestamp")),
        stream=stream,
        sequence=int(number) if number.isdigit() else 0,
        message=line.text("message"),
        level=line.text("log", "level"),
        logger=line.text("log", "logger"),
        dataset=line.text("event", "dataset"),
        action=line.text("event", "action"),
        outcome=line.text("event", "outcome"),
        duration_ns=line.whole("event", "duration"),
        service=line.text("service", "name"),
        version=line.text("service", "version"),
        environment=line.text("service", "environment"),
        instance=line.text("service", "node", "name"),
        region=line.text("cloud", "region"),
        zone=line.text("cloud", "availability_zone"),
        host=line.text("host", "name"),
        pid=line.whole("process", "pid"),
        trace_id=line.text("trace", "id"),
        span_id=line.text("span", "id"),
        transaction_id=line.text("transaction", "id"),
        error_type=line.text("error", "type"),
        error_message=line.text("error", "message"),
        error_stack=line.text("error", "stack_trace"),
        labels={name: _text(value) for name, value in line.mapping("labels").items()},
        measures={name: float(value) for name, value in line.mapping("measures").items() if _is_number(value)},
    )


class _Line:
    """A body as it came: any of it may be missing or of another kind."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._source = source

    def text(self, *path: str) -> str:
        return _text(self._at(path))

    def whole(self, *path: str) -> int | None:
        value = self._at(path)
        return int(value) if _is_number(value) else None

    def mapping(self, *path: str) -> Mapping[str, Any]:
        value = self._at(path)
        return value if isinstance(value, Mapping) else {}

    def _at(self, path: tuple[str, ...]) -> Any:
        value: Any = self._source
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
