"""When a day goes: never by a wrong clock of our own. How often ageing asks whether an old day is archived: ever less
often of one that isn't, and never costs a count. How patiently it waits for merges."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from alerts.state.memory import MemoryState
from collector.elastic.ageing import Ageing, Archived
from collector.elastic.days import DeletedDays
from collector.settings import ElasticSettings
from shippers.clock import FakeClock
from shippers.errors import Unavailable

INDEX = "lastbeat-business-eu-2023.10.01"
TODAY = "lastbeat-business-eu-2023.11.14"
SKEWED = "lastbeat-business-eu-skewed.2023.06"
NOW = FakeClock().time()  # 2023-11-14 22:13 UTC
DAY_S = 86_400.0


class Cluster:
    """Elasticsearch with a few indices of seven events, and when it made each, as far as ageing asks it. A merge never
    ends within anybody's patience."""

    def __init__(self, **made: float) -> None:
        self.made = {INDEX: NOW - 44 * DAY_S, TODAY: NOW} | made
        self.segments = 1
        self.merges: list[str] = []

    def ask(self, method: str, path: str, body: object = None, allow: object = ()) -> dict[str, Any]:
        if "_forcemerge" in path:
            self.merges.append(path.split("/")[1])
            raise Unavailable("no answer in time")
        if method == "DELETE":
            self.made.pop(path.strip("/"))
        if "/_stats" in path:
            stats = {"primaries": {"docs": {"count": 7}, "segments": {"count": self.segments}}}
            return {"indices": dict.fromkeys(self.made, stats)}
        if "creation_date" in path:
            return {
                index: {"settings": {"index": {"creation_date": str(int(at * 1000))}}}
                for index, at in self.made.items()
            }
        return {"count": 7} if path.endswith("/_count") else {"hits": {"hits": []}}


def ageing_of(cluster: Cluster, clock: FakeClock, days: DeletedDays, archived: Archived | None = None) -> Ageing:
    return Ageing(cluster, ElasticSettings(), days, clock, archived)  # type: ignore[arg-type]


def test_a_clock_that_is_ahead_of_elasticsearchs_deletes_nothing() -> None:
    clock, cluster, days = (
        FakeClock(NOW + 400 * DAY_S),
        Cluster(**{SKEWED: NOW - 20 * DAY_S}),
        DeletedDays(MemoryState()),
    )
    aged = ageing_of(cluster, clock, days).run()
    assert (aged.deleted, aged.skewed) == ((INDEX,), ())
    assert cluster.made.keys() == {TODAY, SKEWED}
    assert not days.has("business", "eu", "2023-11-14")


def test_impossible_days_go_when_their_month_and_its_index_are_old() -> None:
    clock, cluster = FakeClock(NOW), Cluster(**{SKEWED: NOW - 60})
    ageing = ageing_of(cluster, clock, DeletedDays(MemoryState()))
    assert ageing.run().skewed == (), "it says June, but was made a minute ago: a clock was behind"
    cluster.made[SKEWED] = NOW - 91 * DAY_S
    assert ageing.run().skewed == (SKEWED,)


def test_a_day_that_is_not_proven_is_asked_about_ever_less_often_and_goes_once_it_is() -> None:
    clock, cluster, asked = FakeClock(), Cluster(), list[float]()
    proven = False

    def archived(dataset: str, region: str, day: str, events: int) -> bool:
        assert (dataset, region, day, events) == ("business", "eu", "2023-10-01", 7)
        asked.append(clock.monotonic())
        return proven

    ageing = ageing_of(cluster, clock, DeletedDays(MemoryState()), archived)
    for _ in range(24 * 60):
        assert ageing.run().kept == (INDEX,)
        clock.advance(60)
    pauses = [round(later - before) / 60 for before, later in pairwise(asked)]
    assert pauses == [10, 20, 40, 80, 160, 320, 360, 360]
    proven = True
    clock.advance(6 * 3_600)
    assert ageing.run().deleted == (INDEX,)
    assert cluster.made.keys() == {TODAY}


def test_a_merge_that_outlasts_our_patience_holds_up_nothing_and_is_not_asked_for_again_at_once() -> None:
    yesterday, before = (f"lastbeat-business-eu-2023.11.{day}" for day in (13, 12))
    clock, cluster = FakeClock(NOW), Cluster(**{yesterday: NOW, before: NOW, SKEWED: NOW - 91 * DAY_S})
    cluster.segments = 30
    ageing = ageing_of(cluster, clock, DeletedDays(MemoryState()))
    aged = ageing.run()
    assert (aged.packed, aged.deleted, aged.skewed) == ((), (INDEX,), (SKEWED,))
    for _ in range(59):
        clock.advance(60)
        ageing.run()
    assert cluster.merges == [before, yesterday]
    clock.advance(60)
    ageing.run()
    assert cluster.merges == [before, yesterday] * 2
