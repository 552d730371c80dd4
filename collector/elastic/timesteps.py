"""Counts by steps of time, asked for in the way that costs Elasticsearch least.

Indices are sorted by time, so a step is a span of neighbours: asked for as a query of its own it is found by two
searches, where a date histogram reads and rounds the time of every event; and the steps can be shared out among
requests, where a histogram over a day that was packed is one thread's work. But a query a step can't be combined with
other conditions without a look at each event once a step, and costs something however little it finds. So what asks
for all events in few steps is asked so, and all else by a histogram.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from collector.memory import steps
from collector.ports import Where

from .query import Query, between, parts_of, query_of, split_by

MOST_QUERIES = 640
"""Steps that are queries: more than any chart of the boards has for two periods. A day of few events in ten segments
takes 0.1 s so instead of 0.03; one of 20 million 0.45 s instead of 1.5."""
_DAY_S = 86_400.0

AT_ONCE = 4
"""Requests that share the steps that are queries: each is one thread of Elasticsearch's, and it has a few at least."""

AggregateEach = Callable[[Where, Query, Sequence[Query]], list[Query]]
"""Asks the indices of a Where for several aggregations at the same time, over what a query finds."""


class Counted(NamedTuple):
    """What was found for one value (of what it was split by) in one step, by its number since the epoch, or in a part
    of the step: what comes several times is to be added up."""

    value: str
    step: int
    bucket: Query


def in_steps(where: Where, step_s: float, by: str | None, inner: Query, ask: AggregateEach) -> Iterator[Counted]:
    """Every value and step that has events, with `inner` counted of each. Raises what `ask` raises."""
    step_ms, times = _ms(step_s), steps(where, step_s)
    aggs = split_by(by, inner)
    if len(times) <= MOST_QUERIES and is_all(where):
        found = _by_queries(where, step_s, times, aggs, ask)
    else:
        histogram = {"field": "@timestamp", "fixed_interval": f"{step_ms}ms", "min_doc_count": 1}
        [answer] = ask(where, query_of(where), [{"steps": {"date_histogram": histogram, **_inside(aggs)}}])
        found = ((round(float(bucket["key"]) / step_ms), bucket) for bucket in _buckets(answer))
    for step, bucket in found:
        for value, part in parts_of(by, bucket) if bucket["doc_count"] else ():
            yield Counted(value, step, part)


def _by_queries(
    where: Where, step_s: float, times: Sequence[float], aggs: Query, ask: AggregateEach
) -> Iterator[tuple[int, dict[str, Any]]]:
    spans = [
        (round(at / step_s), part)
        for at in times
        for part in parts(max(at, where.start), min(at + step_s, where.end), -(-AT_ONCE // len(times)))
    ]
    shares = [spans[at::AT_ONCE] for at in range(min(AT_ONCE, len(spans)))]
    asked = [{"steps": {"filters": {"filters": [part for _, part in share]}, **_inside(aggs)}} for share in shares]
    wide = whole_days(where)
    for share, answer in zip(shares, ask(wide, query_of(wide), asked) if asked else (), strict=True):
        yield from (
            (step, bucket) for (step, _), bucket in zip(share, _buckets(answer), strict=False)
        )  # no index: none


def parts(start: float, end: float, number: int) -> list[Query]:
    """A span of time as so many queries for equal parts of it."""
    edges = [start + (end - start) * at / number for at in range(number)] + [end]
    return [between(*span) for span in itertools.pairwise(edges)]


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


def _inside(aggs: Query) -> Query:
    return {"aggs": aggs} if aggs else {}


def _buckets(answer: Query) -> list[dict[str, Any]]:
    buckets: list[dict[str, Any]] = answer.get("steps", {}).get("buckets", [])
    return buckets
