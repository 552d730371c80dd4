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

BEAT_WORDS = ("state", "reason")
"""What of a heartbeat is text."""

OLDEST_FIRST = [{name: {**how, "order": "asc"} for name, how in one.items()} for one in SORT]


def event_of(hit: Mapping[str, Any]) -> Event:
    """One hit as the boards show it."""
    line = _Line(hit["_source"])
    labels, measures = _own(line)
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
        labels={name: _text(value) for name, value in labels.items() if value is not None},
        measures={name: float(value) for name, value in measures.items() if _is_number(value)},
    )


def _own(line: _Line) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The labels and measures of an event. A heartbeat's words and figures are its own: `state`, `uptime_s`,
    `business.acked` …"""
    beat = line.mapping("heartbeat")
    if line.text("event", "dataset") != "heartbeat":
        return line.mapping("labels"), line.mapping("measures")
    figures = {name: value for name, value in beat.items() if name not in BEAT_WORDS}
    for dataset, counts in line.mapping("heartbeat", "datasets").items():
        if isinstance(counts, Mapping):
            dropped = counts.get("dropped")
            figures |= {f"{dataset}.{name}": counts.get(name) for name in ("last", "acked")}
            if isinstance(dropped, Mapping) and dropped:
                figures[f"{dataset}.dropped"] = sum(filter(_is_number, dropped.values()))
    return {name: beat.get(name) for name in BEAT_WORDS}, figures


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
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
