"""Where a batch belongs: by the journal's clock, so that it lands there again whenever and by whomever it is read."""

from __future__ import annotations

from typing import Any

import pytest

from collector.elastic.client import ElasticClient
from collector.elastic.days import DeletedDays
from collector.elastic.dead import ElasticDeadLetters
from collector.elastic.inventory import ElasticInventory
from collector.elastic.placement import Placement
from collector.ledger.intervals import IntervalSet
from collector.settings import ElasticSettings
from shippers.errors import Unavailable
from tests.stack.elastic_events import NOON, batch

DAY_S = 86_400.0
TODAY, TOMORROW = (f"lastbeat-business-cn-east-2026.11.{day}" for day in (21, 24))
SKEWED = "lastbeat-business-cn-east-skewed.2026.11"


class Cluster(ElasticClient):
    """The indices that are there, and which documents each holds. `error` is what is said of each document instead."""

    def __init__(self) -> None:
        super().__init__(ElasticSettings())
        self.indices: dict[str, set[str]] = {}
        self.error = ""

    def exists(self, path: str) -> bool:
        return path.strip("/") in self.indices

    def create_index(self, index: str, body: Any) -> bool:
        return self.indices.setdefault(index, set()) is None

    def ask(self, method: str, path: str, body: Any = None, *, allow: object = ()) -> Any:
        index, _, what = path.strip("/").partition("/")
        if what.startswith("_settings"):
            return {name: {} for name in self.indices if "skewed" in name}
        if what.startswith("_search"):
            return {"hits": {"total": {"value": len(self.indices[index])}}}
        if what.startswith("_mget"):
            error = self.error if index in self.indices else "index_not_found_exception"
            if error:
                return {"docs": [{"_index": index, "_id": n, "error": {"type": error}} for n in body["ids"]]}
            return {"docs": [{"_id": name, "found": name in self.indices[index]} for name in body["ids"]]}
        return {}


def placement_of(cluster: Cluster) -> Placement:
    return Placement(cluster, ElasticSettings(), DeletedDays(None))


def test_a_day_is_sound_by_when_the_journal_took_it_in() -> None:
    placement = placement_of(Cluster())
    assert placement.of(batch(1, 1).header, NOON) == TODAY
    assert placement.of(batch(2, 1).header, NOON - 3 * DAY_S) == SKEWED
    assert placement.of(batch(3, 1).header, NOON + DAY_S) == TODAY
    assert placement.of(batch(4, 1, day="2026-10-01").header, NOON) == SKEWED
    assert placement.of(batch(5, 1, day="2026-10-01").header, NOON - 40 * DAY_S).endswith("2026.10.01")


def test_what_was_stored_as_skewed_is_found_there_by_another_once_its_day_is_sound() -> None:
    cluster = Cluster()
    early, late = batch(1, 3, day="2026-11-24"), batch(4, 1, day="2026-11-24")
    ours = placement_of(cluster)
    assert ours.of(early.header, NOON) == SKEWED
    cluster.indices[SKEWED] |= {f"{early.header.stream}:2"}
    for placement in (ours, placement_of(cluster)):
        assert placement.of(early.header, NOON + 2 * DAY_S) == SKEWED
        assert placement.of(late.header, NOON + 2 * DAY_S) == TOMORROW
        assert placement.of(early.header, NOON) == SKEWED, "the same record, read again"


def test_what_cannot_be_looked_up_is_not_taken_for_absent() -> None:
    cluster, early = Cluster(), batch(1, 3, day="2026-11-24").header
    assert placement_of(cluster).of(early, NOON) == SKEWED
    cluster.indices[SKEWED] |= {f"{early.stream}:1"}
    cluster.error = "no_shard_available_action_exception"
    with pytest.raises(Unavailable, match=r"skewed.*can't be looked up.*no_shard"):
        placement_of(cluster).of(early, NOON + 2 * DAY_S)
    with pytest.raises(Unavailable, match="no_shard"):
        ElasticDeadLetters(cluster, ElasticSettings()).stored(early)
    with pytest.raises(Unavailable, match="no_shard"):
        ElasticInventory(cluster, ElasticSettings()).identified(
            "business", "cn-east", early.stream, IntervalSet([(1, 3)])
        )
    cluster.error = ""
    letters = ElasticDeadLetters(cluster, ElasticSettings())
    assert letters.stored(early) == 1, "its plain index isn't there: that holds nothing"
