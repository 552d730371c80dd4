"""Copies in Elasticsearch: each document's source is the line that was stored, under the identity that is its id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from collector.elastic import names
from collector.elastic.client import ElasticClient, ElasticError, quoted
from collector.elastic.events import event_of
from collector.replay import numbered
from collector.settings import ElasticSettings
from shippers.batch import Batch
from shippers.clock import Clock
from shippers.errors import Unavailable

from .sealing import Stored, sealed
from .wanted import ELASTIC, Wanted

_IDS = 100
_WHOLE = "ignore_unavailable=true&allow_no_indices=true&allow_partial_search_results=false"


class ElasticSource:
    """See Source. Who sent an event is the header's word, which Elasticsearch doesn't keep: where `wanted` doesn't
    say it, the line's own stands in for it."""

    name = ELASTIC

    def __init__(self, client: ElasticClient, settings: ElasticSettings, clock: Clock) -> None:
        self._client, self._prefix, self._clock = client, settings.prefix, clock

    def find(self, wanted: Wanted) -> Iterator[Batch]:
        """See Source.find."""
        return sealed(wanted.stream, self._events(wanted), self._clock.time())

    def _events(self, wanted: Wanted) -> Iterator[Stored]:
        for first, last in wanted.numbers:
            for start in range(first, last + 1, _IDS):
                yield from self._page(wanted, start, min(start + _IDS - 1, last))

    def _page(self, wanted: Wanted, first: int, last: int) -> Iterator[Stored]:
        """By ids, not by `event.stream`: the identity is the id, whatever a body says."""
        pattern = f"{self._prefix}-{wanted.dataset}-{wanted.region or '*'}{'-*' if wanted.region else ''}"
        ids = [f"{wanted.stream}:{number}" for number in range(first, last + 1)]
        body = {"size": len(ids), "query": {"ids": {"values": ids}}, "track_total_hits": False}
        try:
            hits = self._client.ask("POST", f"/{quoted(pattern)}/_search?{_WHOLE}", body)["hits"]["hits"]
        except ElasticError as error:
            raise Unavailable(str(error)) from error
        found = [_stored(self._prefix, wanted, hit) for hit in hits]
        yield from sorted((one for one in found if one is not None), key=lambda one: one.number)


def _stored(prefix: str, wanted: Wanted, hit: Mapping[str, Any]) -> Stored | None:
    place = names.split(prefix, hit["_index"])
    event, source = event_of(hit), hit["_source"]
    if place is None or "@timestamp" not in source:
        return None
    _, region, day = place
    if wanted.region and region != wanted.region:
        return None  # `eu-west` begins as `eu` does
    if names.is_skewed(day):
        day = f"{datetime.fromtimestamp(event.at, UTC):%Y-%m-%d}".rjust(10, "0")
    service, instance = wanted.service or event.service or "unknown", wanted.instance or event.instance or "unknown"
    line = numbered(source, wanted.stream, event.sequence)
    return Stored(event.sequence, line, event.at, region, day, service, instance)
