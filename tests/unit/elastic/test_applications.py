"""The counts of applications: from those of single values where that is exact, else from every event."""

from __future__ import annotations

from collections import Counter

import pytest

from collector.elastic import applications
from collector.elastic.query import Query
from collector.ports import Where

DAY = Where(0, 86_400)
Pairs = dict[str, list[tuple[str, str]]]
"""What each region's indices hold: region and service as the events have them."""


class Cluster:
    def __init__(self, held: Pairs, most: int = 1_000) -> None:
        self.held, self.most, self.looked_at = held, most, 0

    def aggregate(self, where: Where, query: Query, aggregations: Query) -> Query:
        pairs = [pair for region in where.regions or self.held for pair in self.held[region]]
        if "parts" not in aggregations:
            return self._one_by_one(pairs)
        self.looked_at += len(pairs)
        regions = Counter(region for region, _ in pairs)
        return {
            "parts": {
                "buckets": [
                    {"key": region, "parts": {"buckets": _buckets(Counter(s for r, s in pairs if r == region))}}
                    for region in regions
                ]
            }
        }

    def _one_by_one(self, pairs: list[tuple[str, str]]) -> Query:
        found: Query = {}
        for place, name in enumerate(("region", "service")):
            counts = Counter(pair[place] for pair in pairs)
            found[f"no {name}"] = {"doc_count": counts.pop("", 0)}
            buckets = _buckets(counts)
            other = sum(one["doc_count"] for one in buckets[self.most :])
            found[name] = {"buckets": buckets[: self.most], "sum_other_doc_count": other}
        return found


def _buckets(counts: Counter[str]) -> list[dict[str, object]]:
    return [{"key": value, "doc_count": n} for value, n in counts.items()]


EAST, NORTH = "cn-east", "cn-north"


@pytest.mark.parametrize(
    ("held", "most", "looks"),
    [
        ({}, 1_000, False),
        ({EAST: [(EAST, "pay"), (EAST, "shop"), (EAST, "pay"), (EAST, "")]}, 1_000, False),
        ({EAST: [("", "pay")]}, 1_000, False),
        ({EAST: [(EAST, "pay"), (EAST, "shop")], NORTH: [(NORTH, "pay")]}, 1_000, False),
        ({EAST: [(EAST, "pay"), (NORTH, "shop")], NORTH: [(NORTH, "pay")]}, 1_000, True),
        ({EAST: [(EAST, "pay"), ("", "shop")], NORTH: [(NORTH, "pay")]}, 1_000, True),
        ({EAST: [(EAST, "pay"), (EAST, "shop")]}, 1, True),
    ],
    ids=["nothing", "one region", "no region", "a region an index", "in another's index", "some without", "too many"],
)
def test_counts_are_exact_and_every_event_is_looked_at_only_where_they_must_be(
    held: Pairs, most: int, looks: bool
) -> None:
    cluster = Cluster(held, most)
    counted = applications.count(DAY, cluster.aggregate)
    assert bool(cluster.looked_at) == looks
    assert counted == Counter(f"{region}/{service}" for pairs in held.values() for region, service in pairs)
