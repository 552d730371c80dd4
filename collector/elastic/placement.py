"""Which index a batch goes to, and that it is there. A resend lands where its first copy did.

What a header says is enough, but for days that no sound clock gives (they share one index a region and month) and for
deleted ones (they stay deleted). What time it was, the journal says, never our own clock: that may be wrong on this
host alone, and a record that is read again must land where it did. It never makes an index for a day that State lists
as deleted.
"""

from __future__ import annotations

import logging

from collector.settings import ElasticSettings
from shippers.batch import Header

from . import names, template
from .client import ElasticClient, documents_of, quoted
from .days import DeletedDays

log = logging.getLogger("lastbeat.elastic")

_LOOKED_FOR = 1_000


class Placement:
    """Remembers which indices are there. Used by the sink's one thread."""

    def __init__(self, client: ElasticClient, settings: ElasticSettings, days: DeletedDays) -> None:
        self._client, self._settings, self._days = client, settings, days
        self._there: set[str] = set()
        self._newest_day = ""
        self._skewed: dict[tuple[str, str], list[str]] = {}
        self._strays: dict[tuple[str, str], bool] = {}
        self._plain: dict[tuple[str, str, str], str] = {}  # of sound days whose region has no skewed index

    def of(self, header: Header, came_at: float) -> str | None:
        """The index to write this batch to, which the journal took in at `came_at`; None if its day was deleted. Raises
        Unavailable, or ElasticError."""
        first_kept, last_sound = names.sound_days(came_at, self._settings.hot_days)
        if last_sound > self._newest_day:
            self._begin_day(last_sound)
        if header.day > last_sound:
            return self._skewed_place(header, came_at)
        plain = self._plain.get((header.dataset, header.region, header.day))
        if plain is not None:
            return plain
        index = names.index_of(self._settings.prefix, header)
        if index in self._there and not self._generations(header):
            self._plain[header.dataset, header.region, header.day] = index
            return index
        stray = self._stray(header)
        if stray is not None:
            return stray
        if not self._exists(index):
            if self._days.has(header.dataset, header.region, header.day):
                return None
            if header.day < first_kept:
                return self._skewed_place(header, came_at)
            self._make(index, header)
        return index

    def forget(self, index: str) -> None:
        """The index turned out not to be there."""
        self._there.discard(index)
        self._skewed.clear()
        self._plain.clear()

    def _begin_day(self, newest: str) -> None:
        """Where a day belongs can only change at midnight, so what was known of strays holds until then. Older records,
        of a partition that is behind, change nothing."""
        self._newest_day = newest
        self._skewed.clear()
        self._strays.clear()
        self._plain.clear()

    def _skewed_place(self, header: Header, came_at: float) -> str:
        index = names.skewed_index(self._settings.prefix, header, came_at)
        stray = self._stray(header, but=index)
        if stray is not None:
            return stray
        if not self._exists(index):
            log.warning("%s sends events of %s: they go to %s; is its clock right?", header.service, header.day, index)
            self._make(index, header)
        if index not in self._generations(header):
            self._skewed[header.dataset, header.region].append(index)
            self._plain.clear()
        self._strays[index, header.stream] = True
        return index

    def _stray(self, header: Header, but: str = "") -> str | None:
        """The skewed index that has this very batch: it was stored when its day was out of bounds, or last month."""
        for index in self._generations(header):
            if index == but:
                continue
            if (index, header.stream) not in self._strays:
                self._strays[index, header.stream] = self._find_stray(index, header.stream)
            if self._strays[index, header.stream] and self._has_any(index, header):
                return index
        return None

    def _has_any(self, index: str, header: Header) -> bool:
        """Whether an index has any of a batch's events. Not its first alone: that one may be what was deleted, and is
        now sent again among others that are there."""
        numbers = range(header.first, header.first + min(header.count, _LOOKED_FOR))
        ids = [f"{header.stream}:{number}" for number in numbers]
        answer = self._client.ask("POST", f"/{quoted(index)}/_mget?_source=false", {"ids": ids}, allow=(404,))
        return any(one.get("found", False) for one in documents_of(answer))

    def _generations(self, header: Header) -> list[str]:
        of = header.dataset, header.region
        if of not in self._skewed:
            self._skewed[of] = skewed_indices(self._client, self._settings.prefix, *of)
        return self._skewed[of]

    def _find_stray(self, index: str, stream: str) -> bool:
        self._client.ask("POST", f"/{quoted(index)}/_refresh")
        query = {"size": 0, "terminate_after": 1, "query": {"term": {"event.stream": stream}}}
        path = f"/{quoted(index)}/_search?allow_partial_search_results=false"
        return int(self._client.ask("POST", path, query)["hits"]["total"]["value"]) > 0

    def _exists(self, index: str) -> bool:
        if index not in self._there and self._client.exists(f"/{quoted(index)}"):
            self._there.add(index)
        return index in self._there

    def _make(self, index: str, header: Header) -> None:
        settings = template.index_settings(self._settings, header.dataset, header.region)
        if self._client.create_index(index, {"settings": settings}):
            log.info("made index %s", index)
        self._there.add(index)


def skewed_indices(client: ElasticClient, prefix: str, dataset: str, region: str) -> list[str]:
    """The skewed indices of a dataset and region that are there, a month each. Raises Unavailable."""
    pattern = names.skewed_pattern(prefix, dataset, region)
    found = client.ask(
        "GET", f"/{quoted(pattern)}/_settings/index.uuid?filter_path=*.settings.index.uuid", allow=(404,)
    )
    parts = {index: names.split(prefix, index) for index in found}
    return sorted(index for index, part in parts.items() if part is not None and part[:2] == (dataset, region))
