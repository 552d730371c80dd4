"""Counts by steps of time, asked for in the way that costs Elasticsearch least.

Indices are sorted by time, so a step is a span of neighbours: asked for as a query of its own it is found by two
searches, where a date histogram reads and rounds the time of every event. But steps as queries can't be combined with
other conditions without looking at each event once a step, and each costs something however little it finds. So what
asks for all events in few steps is asked so, and all else by a histogram.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from collector.memory import steps
from collector.ports import Where

from .query import Query, between, parts_of, query_of, split_by

MOST_QUERIES = 400
"""Steps that are queries: more than any chart of the boards has, of two periods."""
_DAY_S = 86_400.0

Aggregate = Callable[[Where, Query, Query], Query]
"""Asks the indices of a Where for aggregations over what a query finds."""


class Counted(NamedTuple):
    """What was found for one value (of what it was split by) in one step, by its number since the epoch."""

    value: str
    step: int
    bucket: Query


def in_steps(where: Where, step_s: float, by: str | None, inner: Query, aggregate: Aggregate) -> Iterator[Counted]:
    """Every value and step that has events, with `inner` counted of each. Raises what `aggregate` raises."""
    step_ms = _ms(step_s)
    times = steps(where, step_s)
    if times and len(times) <= MOST_QUERIES and is_all(where):
        first = round(times[0] / step_s)
        spans = [between(max(at, where.start), min(at + step_s, where.end)) for at in times]
        filters = {"filters": {"filters": spans}, **_nested(split_by(by, inner))}
        answer = aggregate(where, query_of(whole_days(where)), {"steps": filters})
        found = [(first + index, bucket) for index, bucket in enumerate(_buckets(answer))]
    else:
        histogram = {"field": "@timestamp", "fixed_interval": f"{step_ms}ms", "min_doc_count": 1}
        answer = aggregate(
            where, query_of(where), {"steps": {"date_histogram": histogram, **_nested(split_by(by, inner))}}
        )
        found = [(round(float(bucket["key"]) / step_ms), bucket) for bucket in _buckets(answer)]
    for step, bucket in found:
        for value, part in parts_of(by, bucket) if bucket["doc_count"] else ():
            yield Counted(value, step, part)


def is_all(where: Where) -> bool:
    """Whether nothing but the time says which events of its datasets are meant."""
    return replace(where, datasets=()) == Where(where.start, where.end, datasets=())


def whole_days(where: Where) -> Where:
    """The days of `where`, whole. An index has one day's events, so that most often all of an index is asked about,
    which Elasticsearch sees without looking at one; and indices of other days are left out."""
    return replace(where, start=where.start // _DAY_S * _DAY_S, end=-(-where.end // _DAY_S) * _DAY_S)


def _ms(step_s: float) -> int:
    step_ms = round(step_s * 1000)
    if step_ms < 1 or abs(step_ms - step_s * 1000) > 1e-6:
        raise ValueError(f"a step of {step_s} s: it must be a whole number of milliseconds")
    return step_ms


def _nested(inner: Query) -> Query:
    return {"aggs": inner} if inner else {}


def _buckets(answer: Query) -> list[dict[str, Any]]:
    buckets: list[dict[str, Any]] = answer.get("steps", {}).get("buckets", [])
    return buckets
