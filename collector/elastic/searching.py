"""Searches as the store needs them: complete or not at all, and split where an answer would have too many buckets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from collector.ports import Where
from collector.settings import ElasticSettings
from shippers.clock import Clock
from shippers.errors import LastbeatError, Unavailable

from .client import NDJSON, Answer, ElasticClient, ElasticError
from .query import Query, patterns

T = TypeVar("T")

_WHOLE = "ignore_unavailable=true&allow_no_indices=true&allow_partial_search_results=false"
_WHOLE_EACH = {"ignore_unavailable": True, "allow_no_indices": True, "allow_partial_search_results": False}
_PAGE = 2_000
_TRIES, _PAUSE_S = 4, 0.25


class TooManyBuckets(LastbeatError):
    """An answer would have more buckets than the cluster allows: ask for less at once."""


class Searching:
    """Asks the cluster. From any thread."""

    def __init__(self, client: ElasticClient, settings: ElasticSettings, clock: Clock) -> None:
        self._client, self._prefix, self._clock = client, settings.prefix, clock

    def aggregate(self, where: Where, query: Query, aggregations: Query) -> Query:
        """The aggregations over what `query` finds. Raises TooManyBuckets or Unavailable."""
        return self.aggregate_each(where, query, [aggregations])[0]

    def aggregate_each(self, where: Where, query: Query, several: Sequence[Query]) -> list[Query]:
        """Several at the same time: the answers in their order. Raises what the first that fails would."""
        header = {"index": patterns(self._prefix, where).split(","), **_WHOLE_EACH}
        bodies = [{"size": 0, "track_total_hits": False, "query": query, "aggs": each} for each in several]
        lines = "".join(f"{json.dumps(line)}\n" for body in bodies for line in (header, body)).encode()
        return [answer.get("aggregations", {}) for answer in self._patiently(lambda: self._send_each(lines))]

    def hits(
        self, where: Where, query: Query, sort: Any, limit: int, *, after: Any = None, source: Any = True
    ) -> Iterator[Query]:
        """At most `limit` hits, in order, behind the sort values `after`. Raises Unavailable."""
        path = f"/{patterns(self._prefix, where)}/_search?{_WHOLE}"
        while limit > 0:
            size = min(limit, _PAGE)
            body = {"size": size, "track_total_hits": False, "query": query, "sort": sort, "_source": source}
            if after is not None:
                body["search_after"] = after
            found = self.ask("POST", path, body)["hits"]["hits"]
            yield from found
            limit -= len(found)
            if len(found) < size:
                return
            after = found[-1]["sort"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request. An index that has just been made can't be searched for a moment: that is waited for."""
        return self._patiently(lambda: self._client.ask(method, path, body))

    def _send_each(self, lines: bytes) -> list[Query]:
        answers: list[Query] = self._client.read(self._client.send("POST", "/_msearch", lines, NDJSON))["responses"]
        for each in answers:
            if each["status"] != 200:
                raise self._client.error_of(Answer(each["status"], json.dumps(each).encode()))
        return answers

    def _patiently(self, ask: Callable[[], T]) -> T:
        for left in reversed(range(_TRIES)):
            try:
                return ask()
            except ElasticError as error:
                if "too_many_buckets" in str(error):
                    raise TooManyBuckets(str(error)) from None
                raise Unavailable(str(error)) from None
            except Unavailable as error:
                if "too_many_buckets" in str(error):
                    raise TooManyBuckets(str(error)) from None
                if not left or "says 503" not in str(error):
                    raise
            self._clock.wait(threading.Event(), _PAUSE_S)
        raise AssertionError("the last try returns or raises")
