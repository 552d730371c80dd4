"""The fixed latency buckets as Elasticsearch's ranges: exact, to the nanosecond, so that its counts add up with those
of every other store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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
"""All of them: how many events each has is known without looking at every event."""


def used(counted: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The ranges that have any, as an answer to RANGES tells."""
    return [RANGES[int(bucket["key"])] for bucket in counted if bucket["doc_count"]]
