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
    edge = math.ceil(lower_ns(bucket))
    while bucket_of(edge) < bucket:
        edge += 1
    while bucket_of(edge - 1) >= bucket:
        edge -= 1
    return edge


def ranges(shortest_ns: float, longest_ns: float) -> list[dict[str, Any]]:
    """One range a bucket, for durations between these; the first also takes all that is shorter."""
    low, high = bucket_of(shortest_ns), bucket_of(longest_ns)
    found: list[dict[str, Any]] = []
    for bucket in range(low, high + 1):
        each: dict[str, Any] = {"key": str(bucket), "to": edge_ns(bucket + 1)}
        if bucket > 0:
            each["from"] = edge_ns(bucket)
        found.append(each)
    return found
