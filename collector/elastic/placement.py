"""Which index a batch goes to, and that it is there. A resend lands where its first copy did.

What a header says is enough, but for days that no sound clock gives (they share one index a region) and for deleted
ones (they stay deleted). It never makes an index for a day that State lists as deleted.
"""

from __future__ import annotations

import logging

from collector.settings import ElasticSettings
from shippers.batch import Header
from shippers.clock import Clock

from . import names, template
from .client import ElasticClient, quoted
from .days import DeletedDays

log = logging.getLogger("lastbeat.elastic")

_DAY_S = 86_400


class Placement:
    """Remembers which indices are there. Used by the sink's one thread."""

    def __init__(self, client: ElasticClient, settings: ElasticSettings, days: DeletedDays, clock: Clock) -> None:
        self._client, self._settings, self._days, self._clock = client, settings, days, clock
        self._there: set[str] = set()
        self._day_number = -1.0
        self._first_kept_day = self._last_sound_day = ""
        self._skewed: dict[str, bool] = {}
        self._strays: dict[str, bool] = {}

    def of(self, header: Header) -> str | None:
        """The index to write this batch to; None if its day was deleted. Raises Unavailable, or ElasticError."""
        now = self._clock.time()
        if now // _DAY_S != self._day_number:
            self._begin_day(now)
        index = names.index_of(self._settings.prefix, header)
        if header.day > self._last_sound_day:
            return self._skewed_place(header)
        if index in self._there and not self._has_skewed(header):
            return index
        if self._was_skewed(header):
            return self._skewed_place(header)
        if not self._exists(index):
            if self._days.has(header.dataset, header.region, header.day):
                return None
            if header.day < self._first_kept_day:
                return self._skewed_place(header)
            self._make(index, header)
        return index

    def forget(self, index: str) -> None:
        """The index turned out not to be there."""
        self._there.discard(index)
        self._skewed.pop(index, None)

    def _begin_day(self, now: float) -> None:
        """Where a day belongs can only change at midnight, so what was known of strays holds until then."""
        self._day_number = now // _DAY_S
        self._first_kept_day, self._last_sound_day = names.sound_days(now, self._settings.hot_days)
        self._skewed.clear()
        self._strays.clear()

    def _skewed_place(self, header: Header) -> str:
        index = names.skewed_index(self._settings.prefix, header)
        if not self._exists(index):
            log.warning("%s sends events of %s: they go to %s; is its clock right?", header.service, header.day, index)
            self._make(index, header)
        self._skewed[index] = True
        self._strays[header.stream] = True
        return index

    def _was_skewed(self, header: Header) -> bool:
        """Whether this very batch was stored as skewed, when its day was still out of bounds."""
        if not self._has_skewed(header):
            return False
        index = names.skewed_index(self._settings.prefix, header)
        if header.stream not in self._strays:
            self._strays[header.stream] = self._find_stray(index, header.stream)
        if not self._strays[header.stream]:
            return False
        path = f"/{quoted(index)}/_doc/{quoted(f'{header.stream}:{header.first}')}?_source=false"
        return bool(self._client.ask("GET", path, allow=(404,)).get("found", False))

    def _has_skewed(self, header: Header) -> bool:
        index = names.skewed_index(self._settings.prefix, header)
        if index not in self._skewed:
            self._skewed[index] = self._exists(index)
        return self._skewed[index]

    def _find_stray(self, index: str, stream: str) -> bool:
        self._client.ask("POST", f"/{quoted(index)}/_refresh")
        query = {"size": 0, "terminate_after": 1, "query": {"term": {"event.stream": stream}}}
        return int(self._client.ask("POST", f"/{quoted(index)}/_search", query)["hits"]["total"]["value"]) > 0

    def _exists(self, index: str) -> bool:
        if index not in self._there and self._client.exists(f"/{quoted(index)}"):
            self._there.add(index)
        return index in self._there

    def _make(self, index: str, header: Header) -> None:
        settings = template.index_settings(self._settings, header.dataset, header.region)
        if self._client.create_index(index, {"settings": settings}):
            log.info("made index %s", index)
        self._there.add(index)
