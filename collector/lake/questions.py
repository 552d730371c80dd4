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


def condition_of(where: Where) -> Condition:
    """What rows must hold for `where`, but for its times and its datasets: files are chosen by these."""
    condition = Condition()
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


def in_time(start_us: int, end_us: int) -> str:
    """The SQL condition of a time, start included, end not."""
    return f'"at" >= make_timestamptz({start_us}) AND "at" < make_timestamptz({end_us})'


def span_us(where: Where) -> tuple[int, int]:
    """`start` and `end` of a question in microseconds, start included, end not."""
    return _us(where.start), _us(where.end)


def _us(seconds: float) -> int:
    """The first microsecond that, as a float of seconds, is not before `seconds`."""
    if abs(seconds) >= 2**43:
        return 0 if seconds < 0 else 2**62
    us = round(seconds * 1_000_000)
    while us / 1_000_000 < seconds:
        us += 1
    while (us - 1) / 1_000_000 >= seconds:
        us -= 1
    return us


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def counted(by: str | None, *measures: str, where: str = "true") -> str:
    """SQL that counts rows by the value of `by` ('' where there is none) and the measures: measures, value, n.

    Raises ValueError if rows can't be split by that. Rows are grouped by their columns as they lie in the files, and
    only the few groups are made into what is wanted of them: that is twice as fast.
    """
    names = [f"m{i}" for i in range(len(measures))]
    inner = [f"{measure} AS {name}" for name, measure in zip(names, measures, strict=True)]
    inner += {None: [], "application": ["region", "service"]}.get(by, [f'"{by}"'])
    grouped = f"SELECT {', '.join([*inner, 'count(*) AS rows'])} FROM events WHERE {where} GROUP BY ALL"
    return (
        f"SELECT {', '.join([*names, f'{_value(by)} AS value'])}, sum(rows)::BIGINT AS n "
        f"FROM ({grouped}) GROUP BY ALL HAVING n > 0"
    )


def _value(by: str | None) -> str:
    if by is None:
        return "''"
    if by not in BY:
        raise ValueError(f"can't split by {by!r}: it must be one of {', '.join(BY)}")
    return "region || '/' || service" if by == "application" else f"coalesce(\"{by}\", '')"


def steps_of(where: Where, step_s: float) -> tuple[float, ...]:
    """Where the steps begin that cover all of `where`: multiples of `step_s`."""
    return tuple(index * step_s for index in range(math.floor(where.start / step_s), math.ceil(where.end / step_s)))


def step_of(where: Where, step_s: float) -> str:
    """The SQL value of the step that a row falls into, counted from the epoch; a constant if there is but one."""
    first, end = math.floor(where.start / step_s), math.ceil(where.end / step_s)
    return f"{first}::BIGINT" if end - first == 1 else f'epoch_us("at") // {round(step_s * 1_000_000)}'


def event_of(row: Row) -> Event:
    """An event from a row of WHOLE."""
    at_us, *values = row
    fields = dict(zip(_NAMES, values, strict=True))
    given = {name: value for name, value in fields.items() if value is not None}
    for name in ("labels", "measures"):
        given[name] = {key: value for key, value in (fields[name] or {}).items() if value is not None}
    return Event(at=at_us / 1_000_000, **given)
