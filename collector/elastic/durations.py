"""The fixed latency buckets as Elasticsearch's ranges: exact, to the nanosecond, so that its counts add up with those
of every other store."""

from __future__ import annotations

import math
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


def ranges(shortest_ns: float, longest_ns: float) -> list[dict[str, Any]]:
    """One range a bucket, for durations between these; the first also takes all that is shorter."""
    low, high = max(0, bucket_of(shortest_ns) - 1), bucket_of(longest_ns) + 1  # they come rounded to doubles
    found: list[dict[str, Any]] = []
    for bucket in range(low, high + 1):
        each: dict[str, Any] = {"key": str(bucket), "to": edge_ns(bucket + 1)}
        if bucket > 0:
            each["from"] = edge_ns(bucket)
        found.append(each)
    return found
