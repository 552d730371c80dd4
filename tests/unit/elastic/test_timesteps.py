"""How counts by steps of time are asked for: by queries or by a histogram, and what comes of the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from collector.elastic.query import Query, between
from collector.elastic.timesteps import MOST_QUERIES, in_steps
from collector.ports import Where

DAY = 86_400.0
NOON = 20_000 * DAY + 43_200


class Cluster:
    """Notes what it is asked and answers with one event in the second step."""

    def __init__(self) -> None:
        self.asked: list[tuple[Query, Query]] = []

    def aggregate(self, where: Where, query: Query, aggregations: Query) -> Query:
        self.asked.append((query, aggregations))
        steps = aggregations["steps"]
        if "filters" in steps:
            return {"steps": {"buckets": [{"doc_count": int(n == 1)} for n in range(len(steps["filters"]["filters"]))]}}
        step_ms = int(steps["date_histogram"]["fixed_interval"].removesuffix("ms"))
        return {"steps": {"buckets": [{"key": (NOON // 60 + 1) * 60_000 // step_ms * step_ms, "doc_count": 1}]}}


def ask(where: Where, step_s: float) -> tuple[Query, Query]:
    cluster = Cluster()
    found = list(in_steps(where, step_s, None, {}, cluster.aggregate))
    assert [(one.value, one.step) for one in found] == [("", round(NOON / 60) + 1)]
    return cluster.asked[0]


def test_all_events_in_few_steps_are_asked_for_by_a_query_a_step_of_whole_days() -> None:
    query, asked = ask(Where(NOON + 1, NOON + 130), 60)
    assert asked["steps"]["filters"]["filters"] == [
        between(NOON + 1, NOON + 60),
        between(NOON + 60, NOON + 120),
        between(NOON + 120, NOON + 130),
    ]
    assert query == {"bool": {"filter": [between(NOON - DAY / 2, NOON + DAY / 2)]}}


@pytest.mark.parametrize(
    "other",
    [{"errors": True}, {"regions": ("eu",)}, {"services": ("shop",)}, {"text": "x"}, {"ids": ("7",)}, {"levels": ("",)},
     {"versions": ("1",)}, {"instances": ("i",)}, {"actions": ("pay",)}],
)  # fmt: skip
def test_what_asks_for_some_events_looks_at_those_alone(other: dict[str, Any]) -> None:
    where = replace(Where(NOON, NOON + 180), **other)
    query, asked = ask(where, 60)
    assert "date_histogram" in asked["steps"]
    assert between(NOON, NOON + 180) in query["bool"]["filter"]


def test_many_steps_are_not_many_queries() -> None:
    _, few = ask(Where(NOON, NOON + 60 * MOST_QUERIES), 60)
    _, many = ask(Where(NOON, NOON + 60 * MOST_QUERIES + 1), 60)
    assert ("filters" in few["steps"], "date_histogram" in many["steps"]) == (True, True)


def test_a_step_is_a_whole_number_of_milliseconds() -> None:
    for step_s in (0.0001, 1.00005):
        with pytest.raises(ValueError, match="millisecond"):
            list(in_steps(Where(NOON, NOON + 1), step_s, None, {}, Cluster().aggregate))
