"""How often ageing asks whether an old day is archived: ever less often of one that isn't, and never costs a count."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from alerts.state.memory import MemoryState
from collector.elastic.ageing import Ageing
from collector.elastic.days import DeletedDays
from collector.settings import ElasticSettings
from shippers.clock import FakeClock

INDEX = "lastbeat-business-eu-2023.10.01"


class Cluster:
    """Elasticsearch with one old index, as far as ageing asks it."""

    def __init__(self) -> None:
        self.indices = {INDEX: {"primaries": {"docs": {"count": 7}, "segments": {"count": 1}}}}

    def ask(self, method: str, path: str, body: object = None, allow: object = ()) -> dict[str, Any]:
        if method == "DELETE":
            self.indices.pop(path.strip("/"))
        if "/_stats" in path:
            return {"indices": dict(self.indices)}
        return {"count": 7} if path.endswith("/_count") else {"hits": {"hits": []}}


def test_a_day_that_is_not_proven_is_asked_about_ever_less_often_and_goes_once_it_is() -> None:
    clock, cluster, asked = FakeClock(), Cluster(), list[float]()
    proven = False

    def archived(dataset: str, region: str, day: str, events: int) -> bool:
        assert (dataset, region, day, events) == ("business", "eu", "2023-10-01", 7)
        asked.append(clock.monotonic())
        return proven

    ageing = Ageing(cluster, ElasticSettings(), DeletedDays(MemoryState()), clock, archived)  # type: ignore[arg-type]
    for _ in range(24 * 60):
        assert ageing.run().kept == (INDEX,)
        clock.advance(60)
    pauses = [round(later - before) / 60 for before, later in pairwise(asked)]
    assert pauses == [10, 20, 40, 80, 160, 320, 360, 360]
    proven = True
    clock.advance(6 * 3_600)
    assert ageing.run().deleted == (INDEX,)
    assert cluster.indices == {}
