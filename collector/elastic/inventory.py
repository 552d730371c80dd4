"""Elasticsearch counted: which numbers of which stream its indices hold, by aggregations. See the port Inventory.

It goes by `event.stream` and `event.sequence` of each line, which say what its identity says. It only reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collector.dead_letters import WHOLE_BATCH, DeadLetter
from collector.ledger.account import SEVERAL
from collector.ledger.intervals import Interval, IntervalSet
from collector.ledger.inventory import Held, is_series
from collector.settings import ElasticSettings
from shippers.errors import LastbeatError, Unavailable

from . import names
from .client import ElasticClient, documents_of, quoted
from .dead import ElasticDeadLetters

_STREAMS, _SENT = 50_000, 12_000
"""How many streams are asked for at once, without and with who sends them: an answer has at most 65,535 buckets."""
_PARTS = 64
_IDS = 5_000
_NUMBERS = {"numbers": {"extended_stats": {"field": "event.sequence"}}}
"""Least, greatest, how many and their sums. As one aggregation: four of their own take twice the time."""
_WITH_SENDERS = _NUMBERS | {
    "service": {"terms": {"field": "service.name", "size": 2}},
    "instance": {"terms": {"field": "service.node.name", "size": 2}},
}
_EXACT = 2**53
"""Sums are doubles there."""


class ElasticInventory:
    """Counts the event indices of one prefix."""

    def __init__(self, client: ElasticClient, settings: ElasticSettings) -> None:
        self._client, self._prefix = client, settings.prefix
        self._letters = ElasticDeadLetters(client, settings)

    def days(self) -> list[str]:
        """See Inventory.days."""
        return sorted({day for _, (_, _, day) in self._indices()})

    def inventory(self, day: str, region: str = "", *, senders: bool = False) -> Iterator[Held]:
        """See Inventory.inventory. Refreshes, so that what was stored before it was asked is counted."""
        for index, (dataset, where, its_day) in self._indices():
            if its_day == day and region in ("", where):
                self._ask(f"/{quoted(index)}/_refresh")
                yield from self._held(index, dataset, where, day, senders=senders)

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
                    docs = documents_of(self._ask(f"/{quoted(index)}/_mget?_source=false", {"ids": ids}))
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

    def _held(self, index: str, dataset: str, region: str, day: str, *, senders: bool) -> Iterator[Held]:
        for bucket in self._streams(index, _WITH_SENDERS if senders else _NUMBERS, _SENT if senders else _STREAMS):
            if bucket["numbers"]["count"]:  # else lines without numbers
                first, last, number, total, squares = _span(bucket)
                service = _the_one(bucket["service"]["buckets"]) if senders else ""
                instance = _the_one(bucket["instance"]["buckets"]) if senders else ""
                yield Held(dataset, region, day, bucket["key"], first, last, number, service, instance, total, squares)

    def _streams(self, index: str, aggs: dict[str, Any], most: int) -> list[dict[str, Any]]:
        """One bucket a stream. By terms, whose global ordinals take a fraction of a composite's time; streams that are
        more than `most` are asked for in parts."""
        parts, part, found = 1, 0, list[dict[str, Any]]()
        while part < parts:
            terms: dict[str, Any] = {"field": "event.stream", "size": most}
            if parts > 1:
                terms["include"] = {"partition": part, "num_partitions": parts}
            held = self._search(index, {"match_all": {}}, {"held": {"terms": terms, "aggs": aggs}})["held"]
            part += 1
            found += held["buckets"]
            if held["sum_other_doc_count"]:
                parts, part, found = max(2 * parts, self._parts(index, most)), 0, []
        return found

    def _parts(self, index: str, most: int) -> int:
        """Into how many parts its streams are split so that each of them fits, by an estimate."""
        about = {"about": {"cardinality": {"field": "event.stream", "precision_threshold": 40_000}}}
        number: int = self._search(index, {"match_all": {}}, about)["about"]["value"]
        return -(-number * 5 // (most * 4))

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
            if bucket["numbers"]["count"]:
                low, high, count, total, squares = _span(bucket)
                if low == high or is_series(low, high, count, total, squares):
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


def _span(bucket: dict[str, Any]) -> tuple[int, int, int, int | None, int | None]:
    """First, last, how many, and their sum and that of their squares as far as Elasticsearch counts exactly."""
    numbers = bucket["numbers"]
    total, squares = (round(one) if one < _EXACT else None for one in (numbers["sum"], numbers["sum_of_squares"]))
    return round(numbers["min"]), round(numbers["max"]), numbers["count"], total, squares


def _the_one(names: list[dict[str, Any]]) -> str:
    """What all lines of a stream say, as far as they say anything."""
    return SEVERAL if len(names) > 1 else names[0]["key"] if names else ""
