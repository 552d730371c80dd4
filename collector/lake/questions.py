"""The boards' questions as SQL over rows of events, wherever those rows come from.

Pure: text and parameters in, text and parameters out. Every value a person typed is a bound parameter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from collector.latency import GROWTH
from collector.ports import BY, Event, Where

Row = tuple[Any, ...]

_NAMES = (
    "stream", "sequence", "message", "level", "logger", "dataset", "action", "outcome", "duration_ns", "service",
    "version", "environment", "instance", "region", "zone", "host", "pid", "trace_id", "span_id", "transaction_id",
    "error_type", "error_message", "error_stack", "labels", "measures",
)  # fmt: skip
COLUMNS = f'"at", {", ".join(_NAMES)}'
"""What rows of events have, wherever they come from."""

WHOLE = f'epoch_us("at"), {", ".join(_NAMES)}'
"""Everything of an event, in the order that `event_of` reads."""

PLACE = 'epoch_us("at"), stream, sequence'
"""Where an event stands among all others."""

BUCKET = f"greatest(0, floor(ln(greatest(duration_ns, 1) / 1000) / {math.log(GROWTH)!r}))::INTEGER"
"""collector.latency.bucket_of, in SQL: the same operations in the same order."""


@dataclass(slots=True)
class Condition:
    """An SQL condition and the values bound in it."""

    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, part: str, *values: Any) -> None:
        """Also ask for this."""
        self.parts.append(f"({part})")
        self.values.extend(values)

    @property
    def sql(self) -> str:
        """All of it."""
        return " AND ".join(self.parts) or "true"


def condition_of(where: Where, *, times: bool = True) -> Condition:
    """What rows must hold for `where`. The dataset is not asked for: tables are chosen by it."""
    condition = Condition()
    if times:
        start_us, end_us = span_us(where)
        condition.add(f'"at" >= make_timestamptz({start_us}) AND "at" < make_timestamptz({end_us})')
    wanted = {
        "region": where.regions,
        "service": where.services,
        "level": where.levels,
        "version": where.versions,
        "instance": where.instances,
        '"action"': where.actions,
    }
    for column, values in wanted.items():
        if values:
            # '' stands for what is absent, which is NULL in the files
            name = f"coalesce({column}, '')" if "" in values else column
            condition.add(f"{name} IN ({_marks(values)})", *values)
    if where.errors:
        condition.add("level IN ('ERROR', 'CRITICAL') OR outcome = 'failure'")
    for word in where.text.lower().split():
        condition.add("contains(lower(message), ?) OR contains(lower(error_message), ?)", word, word)
    if where.ids:
        add_ids(condition, where.ids)
    return condition


def add_ids(condition: Condition, ids: Sequence[str]) -> None:
    """Also ask that one of these is the event's trace, span or transaction id, or the value of any label."""
    names = ("trace_id", "span_id", "transaction_id")
    flat = [f"{name} IN ({_marks(ids)})" for name in names]
    if len(ids) <= _FEW:
        labels = ["list_contains(map_values(labels), ?)"] * len(ids)
    else:
        labels = [f"list_has_any(map_values(labels), [{_marks(ids)}])"]
    condition.add(" OR ".join([*flat, *labels]), *ids, *ids, *ids, *ids)


_FEW = 3
"""Up to here, asking for one value after the other is quicker than for any of a list."""


def span_us(where: Where) -> tuple[int, int]:
    """`start` and `end` of a question in microseconds, start included, end not."""
    return _us(where.start), _us(where.end)


def _us(seconds: float) -> int:
    return math.ceil(seconds * 1_000_000) if abs(seconds) < 2**43 else (0 if seconds < 0 else 2**62)


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def split_by(by: str | None) -> str:
    """The SQL value that rows are split by: one of BY, '' where there is none. Raises ValueError for anything else."""
    if by is None:
        return "''"
    if by not in BY:
        raise ValueError(f"can't split by {by!r}: it must be one of {', '.join(BY)}")
    return "region || '/' || service" if by == "application" else f"coalesce(\"{by}\", '')"


def step_of(step_s: float) -> str:
    """The SQL value of the step that a row falls into, counted from the epoch."""
    return f'epoch_us("at") // {round(step_s * 1_000_000)}'


def event_of(row: Row) -> Event:
    """An event from a row of WHOLE."""
    at_us, *values = row
    fields = dict(zip(_NAMES, values, strict=True))
    given = {name: value for name, value in fields.items() if value is not None}
    for name in ("labels", "measures"):
        given[name] = {key: value for key, value in (fields[name] or {}).items() if value is not None}
    return Event(at=at_us / 1_000_000, **given)
