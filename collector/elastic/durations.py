"""The fixed latency buckets as Elasticsearch's ranges: exact, to the nanosecond, so that its counts add up with those
of every other store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from collector.latency import bucket_of, lower_ns

FIELD = "event.duration"


@cache
def edge_ns(bucket: int) -> int:
    """The smallest whole number of nanoseconds that falls into a bucket."""
    if bucket == 0:
        return 0
    middle = math.ceil(lower_ns(bucket))
    low, high = middle - middle // 50 - 1, middle + middle // 50 + 1
    while high - low > 1:  # rounding moves an edge a little from where its formula says
        at = (low + high) // 2
        low, high = (low, at) if bucket_of(at) >= bucket else (at, high)
    return high


def range_of(bucket: int) -> dict[str, Any]:
    """A bucket as a range. The first takes what is shorter, the last what is longer."""
    each: dict[str, Any] = {"key": str(bucket)}
    if bucket > 0:
        each["from"] = edge_ns(bucket)
    if bucket < LAST:
        each["to"] = edge_ns(bucket + 1)
    return each


LAST = bucket_of(2**63)
"""No duration that can be stored is beyond it."""
RANGES = [range_of(bucket) for bucket in range(LAST + 1)]
_STARTS = range(0, bucket_of(2**53), 16)
SPANS = [{**RANGES[at], "to": edge_ns(at + _STARTS.step)} for at in _STARTS[:-1]] + [
    {"key": str(_STARTS[-1]), "from": edge_ns(_STARTS[-1])}
]
"""All durations in a few ranges, each of several buckets and with the key of its first. Without edges that a double
can't hold, Elasticsearch counts them without a look at every event."""


def ranges_in(spans: Iterable[int]) -> list[dict[str, Any]]:
    """The ranges of all buckets in these spans, given by their first ones."""
    return [each for first in spans for each in RANGES[first : None if first == _STARTS[-1] else first + _STARTS.step]]


def counting(ranges: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The aggregation that counts by these ranges."""
    return {"lengths": {"range": {"field": FIELD, "ranges": ranges}}}


def counts_of(answer: Mapping[str, Any]) -> dict[int, int]:
    """How many events each bucket has, as an answer to `counting` tells; only of those that have any."""
    buckets = answer["lengths"]["buckets"] if answer else ()
    return {int(bucket["key"]): int(bucket["doc_count"]) for bucket in buckets if bucket["doc_count"]}
