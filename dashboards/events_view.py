"""How events are listed and told in full, on every page that shows some. Pure frames and texts."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime, tzinfo

import pandas as pd

from collector.ports import Event

from .figures import latency
from .shaping import OTHER

LEVEL_LOOKS = {"DEBUG": "gray", "INFO": "gray", "WARNING": "orange", "ERROR": "red", "CRITICAL": "red"}
SHORT_MESSAGE = 400


def events_frame(events: Sequence[Event], zone: tzinfo) -> pd.DataFrame:
    """Events as a table, in their order."""
    return pd.DataFrame(
        [
            {
                "Time": stamp(event.at, zone),
                "Level": [event.level] if event.level else [],
                "Service": event.service,
                "Message": said(event),
                "Took": latency(event.duration_ns) if event.duration_ns is not None else "",
                "Region": event.region,
                "Instance": event.instance,
                "Version": event.version,
            }
            for event in events
        ],
        columns=["Time", "Level", "Service", "Message", "Took", "Region", "Instance", "Version"],
    )


def said(event: Event) -> str:
    """The message in one line, with its error, cut to a length that a table can bear."""
    error = ": ".join(filter(None, (event.error_type, event.error_message)))
    text = " · ".join(filter(None, (event.message or event.action, error if error not in event.message else "")))
    line = " ".join(text.split())
    return line if len(line) <= SHORT_MESSAGE else line[:SHORT_MESSAGE] + " …"


def stamp(at: float, zone: tzinfo) -> str:
    """`21 Nov 20:04:31.123`."""
    return datetime.fromtimestamp(at, zone).strftime("%-d %b %H:%M:%S.%f")[:-3]


def facts(event: Event, zone: tzinfo) -> dict[str, str]:
    """Everything known of an event but its message and stack, by name."""
    named = {
        "time": datetime.fromtimestamp(event.at, zone).strftime("%a %-d %b %Y %H:%M:%S.%f %Z"),
        "service": " ".join(filter(None, (event.service, event.version))),
        "environment": event.environment,
        "instance": event.instance,
        "place": " · ".join(filter(None, (event.region, event.zone, event.host))),
        "process": str(event.pid) if event.pid is not None else "",
        "level": event.level,
        "logger": event.logger,
        "action": event.action,
        "outcome": event.outcome,
        "took": latency(event.duration_ns) if event.duration_ns is not None else "",
        "error": ": ".join(filter(None, (event.error_type, event.error_message))),
        "trace": event.trace_id,
        "span": event.span_id,
        "transaction": event.transaction_id,
        "event": event.id,
    }
    return {name: value for name, value in named.items() if value}


def jumps(event: Event) -> list[tuple[str, str]]:
    """By what an event can be followed to others: (what it is, the value), what people look for most first."""
    found = [(name, value) for name, value in event.labels.items() if name.endswith("_id") or name == "order"]
    found += [("trace", event.trace_id), ("transaction", event.transaction_id), ("span", event.span_id)]
    return list(dict.fromkeys((name.removesuffix("_id"), value) for name, value in found if value))


def path_frame(events: Sequence[Event], coloured: Container[str]) -> pd.DataFrame:
    """One order's way over services, for its chart: first begun, first shown. An event that took time is logged at its
    end, so its bar ends there; one that took none is a short mark. Services that have no colour are OTHER."""
    spans = sorted(
        ((event.at * 1_000 - (event.duration_ns or 0) / 1e6, event.at * 1_000, event) for event in events),
        key=lambda span: span[:2],
    )
    origin = spans[0][0] if spans else 0.0
    least = max((max((end for _, end, _ in spans), default=0.0) - origin) / 200, 0.5)
    rows = [
        {
            "start": start - origin,
            "end": max(end - origin, start - origin + least),
            "lane": f"{position}. {event.service} {event.action or event.level}".strip(),
            "series": event.service if event.service in coloured else OTHER,
            "words": said(event),
            "level": event.level,
        }
        for position, (start, end, event) in enumerate(spans, 1)
    ]
    return pd.DataFrame(rows, columns=["start", "end", "lane", "series", "words", "level"])
