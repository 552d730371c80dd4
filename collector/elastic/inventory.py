"""Elasticsearch counted: which numbers of which stream its indices hold, by aggregations. See the port Inventory.

It goes by `event.stream` and `event.sequence` of each line, which say what its identity says. It only reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from collector.dead_letters import WHOLE_BATCH, DeadLetter
from collector.ledger.account import SEVERAL
from collector.ledger.intervals import Interval, IntervalSet
from collector.ledger.inventory import Held
from collector.settings import ElasticSettings
from shippers.errors import LastbeatError, Unavailable

from . import names
from .client import ElasticClient, quoted
from .dead import ElasticDeadLetters

_PAGE = 20_000
_PARTS = 64
_IDS = 5_000
_NUMBERS = {
    "first": {"min": {"field": "event.sequence"}},
    "last": {"max": {"field": "event.sequence"}},
    "count": {"value_count": {"field": "event.sequence"}},
}


class ElasticInventory:
    """Counts the event indices of one prefix."""

    def __init__(self, client: ElasticClient, settings: ElasticSettings) -> None:
        self._client, self._prefix = client, settings.prefix
        self._letters = ElasticDeadLetters(client, settings)

    def days(self) -> list[str]:
        """See Inventory.days."""
        return sorted({day for _, (_, _, day) in self._indices()})

    def inventory(self, day: str, region: str = "") -> Iterator[Held]:
        """See Inventory.inventory. Refreshes, so that what was stored before it was asked is counted."""
        for index, (dataset, where, its_day) in self._indices():
            if its_day == day and region in ("", where):
                self._ask(f"/{quoted(index)}/_refresh")
                yield from self._held(index, dataset, where, day)

    def runs(self, held: Held) -> list[Interval]:
        """See Inventory.runs. Asks for ever smaller parts of what is not without a hole."""
        found = IntervalSet()
        for index, place in self._indices():
            if place == (held.dataset, held.region, held.day):
                todo = [(held.first, held.last)]
                while todo:
                    todo += self._look(index, held.stream, todo.pop(), found)
        return list(found)

    def identified(self, dataset: str, region: str, stream: str, numbers: IntervalSet) -> IntervalSet:
        """See Inventory.identified: asked by ids, which are made of headers alone."""
        found = IntervalSet()
        for index, (its, where, _) in self._indices() if numbers else ():
            if (its, where) != (dataset, region):
                continue
            for first, last in numbers.without(found):
                for start in range(first, last + 1, _IDS):
                    ids = [f"{stream}:{number}" for number in range(start, min(start + _IDS, last + 1))]
                    docs = self._ask(f"/{quoted(index)}/_mget?_source=false", {"ids": ids})["docs"]
                    for number, doc in enumerate(docs, start):
                        if doc.get("found"):
                            found.add(number, number)
        return found

    def letters(self) -> Iterator[DeadLetter]:
        """See Inventory.letters."""
        for letter in self._letters.without_originals():
            if not letter.reason.startswith(WHOLE_BATCH):
                yield letter

    def _indices(self) -> list[tuple[str, tuple[str, str, str]]]:
        patterns = ",".join(names.event_patterns(self._prefix))
        found = self._ask(f"/{patterns}/_settings/index.uuid?filter_path=*.settings.index.uuid", method="GET")
        placed = ((index, names.split(self._prefix, index)) for index in sorted(found))
        return [(index, place) for index, place in placed if place is not None]

    def _held(self, index: str, dataset: str, region: str, day: str) -> Iterator[Held]:
        """One page after the other, in order of stream; the few whose lines name several services come as one."""
        sources = [
            {"stream": {"terms": {"field": "event.stream"}}},
            {"service": {"terms": {"field": "service.name", "missing_bucket": True}}},
            {"instance": {"terms": {"field": "service.node.name", "missing_bucket": True}}},
        ]
        composite: dict[str, Any] = {"size": _PAGE, "sources": sources}
        parts: list[Held] = []
        while True:
            aggs = {"held": {"composite": composite, "aggs": _NUMBERS}}
            held = self._search(index, {"exists": {"field": "event.sequence"}}, aggs)["held"]
            for bucket in held["buckets"]:
                key = bucket["key"]
                span = round(bucket["first"]["value"]), round(bucket["last"]["value"]), bucket["count"]["value"]
                one = Held(dataset, region, day, key["stream"], *span, key["service"] or "", key["instance"] or "")
                if parts and parts[0].stream != one.stream:
                    yield _as_one(parts)
                    parts = []
                parts.append(one)
            if "after_key" not in held or len(held["buckets"]) < _PAGE:
                break
            composite["after"] = held["after_key"]
        if parts:
            yield _as_one(parts)

    def _look(self, index: str, stream: str, span: Interval, found: IntervalSet) -> list[Interval]:
        """Add the parts of `span` that are without a hole to `found`; those that are not come back."""
        first, last = span
        step = max(1, -(-(last - first + 1) // _PARTS))
        ranges = [{"from": at, "to": min(at + step, last + 1)} for at in range(first, last + 1, step)]
        aggs = {"parts": {"range": {"field": "event.sequence", "ranges": ranges}, "aggs": _NUMBERS}}
        inside = {"range": {"event.sequence": {"gte": first, "lte": last}}}
        query = {"bool": {"filter": [{"term": {"event.stream": stream}}, inside]}}
        left: list[Interval] = []
        for bucket in self._search(index, query, aggs)["parts"]["buckets"]:
            count = bucket["count"]["value"]
            if count:
                low, high = round(bucket["first"]["value"]), round(bucket["last"]["value"])
                if count >= high - low + 1:
                    found.add(low, high)
                else:
                    left.append((low, high))
        return left

    def _search(self, index: str, query: dict[str, Any], aggs: dict[str, Any]) -> dict[str, Any]:
        body = {"size": 0, "track_total_hits": False, "query": query, "aggs": aggs}
        path = f"/{quoted(index)}/_search?allow_partial_search_results=false"
        found: dict[str, Any] = self._ask(path, body)["aggregations"]
        return found

    def _ask(self, path: str, body: Any = None, *, method: str = "POST") -> Any:
        try:
            return self._client.ask(method, path, body)
        except Unavailable:
            raise
        except LastbeatError as error:
            raise Unavailable(f"what Elasticsearch holds can't be counted: {error}") from None


def _as_one(parts: list[Held]) -> Held:
    if len(parts) == 1:
        return parts[0]
    one = parts[0]
    return replace(
        one,
        first=min(part.first for part in parts),
        last=max(part.last for part in parts),
        count=sum(part.count for part in parts),
        service=one.service if len({part.service for part in parts}) == 1 else SEVERAL,
        instance=one.instance if len({part.instance for part in parts}) == 1 else SEVERAL,
    )
