"""Latency as counts in fixed log-spaced buckets: percentiles and heat maps come from them, and they add up across
services, regions, tiers and time, which percentiles do not.

Bucket i holds durations from GROWTH**i up to GROWTH**(i + 1) microseconds; i = 0 also takes what is shorter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

GROWTH = 1.05
_LOG_GROWTH = math.log(GROWTH)


def bucket_of(duration_ns: float) -> int:
    """The bucket of a duration in nanoseconds."""
    return max(0, math.floor(math.log(max(duration_ns, 1) / 1_000) / _LOG_GROWTH))


def lower_ns(bucket: int) -> float:
    """Where a bucket begins, in nanoseconds."""
    return float(1_000 * GROWTH**bucket)


def percentile_ns(counts: Mapping[int, int], q: float) -> float | None:
    """The duration under which a share `q` (0 to 1) of the counts lies, in nanoseconds: the geometric middle of its
    bucket, so at most 2.5 % off; None without counts."""
    total = sum(counts.values())
    if total == 0:
        return None
    rank, seen = max(1, math.ceil(q * total)), 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            return lower_ns(bucket) * math.sqrt(GROWTH)
    raise AssertionError("the rank is at most the total")


def merge(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The sum of several counts."""
    total: dict[int, int] = {}
    for part in parts:
        for bucket, count in part.items():
            total[bucket] = total.get(bucket, 0) + count
    return total
