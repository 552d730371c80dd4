"""The counts of applications: from those of single values where that is exact, else from every event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from collector.elastic import applications
from collector.elastic.query import Query
from collector.ports import Where

DAY, PART, ERRORS = Where(0, 86_400), Where(60, 7_200), Where(0, 86_400, errors=True)
Pairs = dict[str, list[tuple[str, str]]]
"""What each region's indices hold: region and service as the events have them."""


class Cluster:
    def __init__(self, held: Pairs, most: int = 1_000) -> None:
        self.held, self.most, self.looked_at, self.spans = held, most, 0, 0

    def aggregate_each(self, where: Where, query: Query, several: Sequence[Query]) -> list[Query]:
        return [self._aggregate(where, query, one, slice(at, None, len(several))) for at, one in enumerate(several)]

    def _aggregate(self, where: Where, query: Query, aggregations: Query, share: slice) -> Query:
        names = [name for name in self.held if not where.regions or f"{name}-".startswith(f"{where.regions[0]}-")]
        pairs = [pair for name in names for pair in self.held[name]]
        for filter_ in query["bool"]["filter"]:
            pairs = [pair for pair in pairs if pair[0] in filter_.get("terms", {}).get("cloud.region", pair[0])]
        if "span" in aggregations:
            self.spans += 1
            buckets = _buckets(Counter(service for _, service in pairs[share]))
            return {"span": {"buckets": [{"doc_count": len(pairs[share]), "parts": {"buckets": buckets}}]}}
        if "parts" not in aggregations:
            return self._one_by_one(pairs, "having" in aggregations)
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

    def _one_by_one(self, pairs: list[tuple[str, str]], having: bool) -> Query:
        found: Query = {}
        had = {"all": {"doc_count": len(pairs)}}
        for place, name in enumerate(("region", "service")):
            counts = Counter(pair[place] for pair in pairs)
            absent = counts.pop("", 0)
            found[f"no {name}"] = {"doc_count": absent}
            had[name] = {"doc_count": len(pairs) - absent}
            buckets = _buckets(counts)
            other = sum(one["doc_count"] for one in buckets[self.most :])
            found[name] = {"buckets": buckets[: self.most], "sum_other_doc_count": other}
        return found | {"having": {"buckets": had}} if having else found


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
        ({EAST: [(EAST, "pay")], f"{EAST}-2": [(f"{EAST}-2", "pay"), (f"{EAST}-2", "")]}, 1_000, False),
    ],
    ids=[
        "nothing",
        "one region",
        "no region",
        "a region an index",
        "in another's index",
        "some without",
        "too many",
        "alike names",
    ],
)
@pytest.mark.parametrize("where", [DAY, PART, ERRORS], ids=["a day", "part of one", "errors"])
def test_counts_are_exact_and_every_event_is_looked_at_only_where_they_must_be(
    held: Pairs, most: int, looks: bool, where: Where
) -> None:
    cluster = Cluster(held, most)
    counted = applications.count(where, cluster.aggregate_each)
    assert bool(cluster.looked_at) == looks
    assert counted == Counter(f"{region}/{service}" for pairs in held.values() for region, service in pairs)
    assert bool(cluster.spans) == (where == PART and bool(held) and not looks)
