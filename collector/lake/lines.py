"""Rows back to lines of JSON: what a row says, as its sender would have written it, so that it can be sent again.

A line made here becomes the very same row when it is stored (a test holds it to that). What the row never had is
gone: how a label that was no text looked, and how a heartbeat's drops were split by reason. Pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTS = ("last", "acked", "dropped")
_ANY_REASON = "any"

COLUMNS = (
    "message", "level", "logger", "action", "outcome", "duration_ns", "version", "environment", "zone", "host", "pid",
    "trace_id", "span_id", "transaction_id", "error_type", "error_message", "error_stack", "labels", "measures",
    "dataset", "service", "instance",
)  # fmt: skip
"""What of a row makes its line, beside its time, its region and its identity."""


def line_of(row: Mapping[str, Any], at_us: int, region: str, stream: str, number: int) -> bytes:
    """The line of a row of COLUMNS; NULLs are None, maps are mappings."""
    members = [f'"@timestamp":"{rfc3339(at_us)}"']
    if row["message"] is not None:
        members.append(f'"message":{_text(row["message"])}')
    members += _objects(
        {
            "log": {"level": row["level"], "logger": row["logger"]},
            "service": {
                "name": row["service"],
                "version": row["version"],
                "environment": row["environment"],
                "node": {"name": row["instance"]},
            },
            "cloud": {"region": region, "availability_zone": row["zone"]},
            "host": {"name": row["host"]},
            "process": {"pid": row["pid"]},
            "trace": {"id": row["trace_id"]},
            "span": {"id": row["span_id"]},
            "transaction": {"id": row["transaction_id"]},
            "error": {
                "type": row["error_type"],
                "message": row["error_message"],
                "stack_trace": row["error_stack"],
            },
        }
    )
    if row["dataset"] == "heartbeat":
        members.append(f'"heartbeat":{_beat(row["labels"] or {}, row["measures"] or {})}')
    else:
        members += [
            f'"{name}":{_object(row[name])}' for name in ("labels", "measures") if row[name] is not None
        ]  # fmt: skip
    event = {
        "dataset": row["dataset"],
        "action": row["action"],
        "outcome": row["outcome"],
        "duration": row["duration_ns"],
        "stream": stream,
        "sequence": number,
    }
    members += _objects({"event": event})
    return f"{{{','.join(members)}}}".encode()


def rfc3339(at_us: int) -> str:
    """A time as lines have it."""
    at = _EPOCH + timedelta(microseconds=at_us)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _objects(named: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Members for the objects that have something in them."""
    found = []
    for name, members in named.items():
        given = {key: value for key, value in members.items() if value is not None}
        if given:
            found.append(f'"{name}":{json.dumps(given, ensure_ascii=False, separators=(",", ":"))}')
    return found


def _beat(labels: Mapping[str, str | None], measures: Mapping[str, float | None]) -> str:
    """A heartbeat's own object, from what the lake made labels and measures of."""
    figures: dict[str, Any] = {}
    datasets: dict[str, dict[str, Any]] = {}
    for name, value in measures.items():
        dataset, dot, count = name.rpartition(".")
        if not dot or count not in _COUNTS:
            figures[name] = value
        else:
            datasets.setdefault(dataset, {})[count] = {_ANY_REASON: value} if count == "dropped" else value
    whole: dict[str, Any] = {**labels, **figures}
    if datasets:
        whole["datasets"] = datasets
    return _object(whole)


def _object(members: Mapping[str, Any]) -> str:
    return "{" + ",".join([f"{_text(name)}:{_value(value)}" for name, value in members.items()]) + "}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _object(value)
    if not isinstance(value, float):
        return _text(value)
    if math.isnan(value):
        return '"nan"'
    if math.isinf(value):
        return "1e999" if value > 0 else "-1e999"  # JSON has no word for it; every reader makes it infinite again
    return repr(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
