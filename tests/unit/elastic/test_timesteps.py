"""How counts by steps of time are asked for: by queries or by a histogram, and what comes of the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from collector.elastic.query import Query, between
from collector.elastic.timesteps import MOST_QUERIES, in_steps
from collector.ports import Where

DAY = 86_400.0
NOON = 20_000 * DAY + 43_200


class Cluster:
    """Notes what it is asked and answers with as many events in a step as its number since NOON."""

    def __init__(self) -> None:
        self.asked: list[tuple[Query, Query]] = []

    def aggregate_each(self, where: Where, query: Query, several: Sequence[Query]) -> list[Query]:
        self.asked += [(query, one["steps"]) for one in several]
        return [{"steps": {"buckets": list(_buckets(one["steps"]))}} for one in several]


def _buckets(steps: Query) -> Iterator[Query]:
    for one in steps.get("filters", {}).get("filters", ()):
        start = datetime.fromisoformat(one["range"]["@timestamp"]["gte"]).timestamp()
        yield {"doc_count": int((start - NOON) // 60)}
    if "date_histogram" in steps:
        assert steps["date_histogram"]["fixed_interval"] == "60000ms"
        yield from ({"key": (NOON + 60 * at) * 1000, "doc_count": at} for at in range(1, 10))


def ask(where: Where) -> list[tuple[Query, Query]]:
    cluster = Cluster()
    found = list(in_steps(where, 60, None, {}, cluster.aggregate_each))
    counted = {one.step - round(NOON / 60): one.bucket["doc_count"] for one in found}
    assert counted == {at: at for at in range(1, len(counted) + 1)}
    assert found
    return cluster.asked


def test_all_events_in_few_steps_are_asked_for_by_a_query_a_step_in_shares_at_once() -> None:
    asked = ask(Where(NOON + 1, NOON + 310))
    steps = [
        (NOON + 1, NOON + 60),
        *((NOON + 60 * at, NOON + 60 * at + 60) for at in range(1, 5)),
        (NOON + 300, NOON + 310),
    ]
    queries = [between(*step) for step in steps]
    assert [one["filters"]["filters"] for _, one in asked] == [
        queries[0::4],
        queries[1::4],
        queries[2::4],
        queries[3::4],
    ]
    for query, _ in asked:
        assert query == {"bool": {"filter": [between(NOON - DAY / 2, NOON + DAY / 2)]}}


@pytest.mark.parametrize(
    "other",
    [{"errors": True}, {"regions": ("eu",)}, {"services": ("shop",)}, {"text": "x"}, {"ids": ("7",)}, {"levels": ("",)},
     {"versions": ("1",)}, {"instances": ("i",)}, {"actions": ("pay",)}],
)  # fmt: skip
def test_what_asks_for_some_events_looks_at_those_alone(other: dict[str, Any]) -> None:
    where = replace(Where(NOON, NOON + 180), **other)
    [(query, asked)] = ask(where)
    assert "date_histogram" in asked
    assert between(NOON, NOON + 180) in query["bool"]["filter"]


def test_a_single_step_is_shared_out_too_and_comes_in_parts() -> None:
    asked = ask(Where(NOON + 60, NOON + 120))
    parts = [(NOON + 60 + at, NOON + 75 + at) for at in (0, 15, 30, 45)]
    assert [one["filters"]["filters"] for _, one in asked] == [[between(*part)] for part in parts]


def test_many_steps_are_not_many_queries() -> None:
    few = ask(Where(NOON, NOON + 60 * MOST_QUERIES))
    many = ask(Where(NOON, NOON + 60 * MOST_QUERIES + 1))
    assert ["filters" in asked for _, asked in few + many] == [True] * 4 + [False]


def test_nothing_is_asked_of_no_time_at_all() -> None:
    assert not list(in_steps(Where(NOON, NOON), 60, None, {}, Cluster().aggregate_each))


def test_a_step_is_a_whole_number_of_milliseconds() -> None:
    for step_s in (0.0001, 1.00005):
        with pytest.raises(ValueError, match="millisecond"):
            list(in_steps(Where(NOON, NOON + 1), step_s, None, {}, Cluster().aggregate_each))
