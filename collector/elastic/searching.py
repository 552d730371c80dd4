"""Searches as the store needs them: complete or not at all, and split where an answer would have too many buckets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from collector.ports import Where
from collector.settings import ElasticSettings
from shippers.clock import Clock
from shippers.errors import LastbeatError, Unavailable

from .client import ElasticClient, ElasticError
from .query import Query, patterns

_WHOLE = "ignore_unavailable=true&allow_no_indices=true&allow_partial_search_results=false"
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
        body = {"size": 0, "track_total_hits": False, "query": query, "aggs": aggregations}
        answer = self.ask("POST", f"/{patterns(self._prefix, where)}/_search?{_WHOLE}", body)
        found = answer.get("aggregations")
        return found if isinstance(found, dict) else {}

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
        for left in reversed(range(_TRIES)):
            try:
                return self._client.ask(method, path, body)
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
