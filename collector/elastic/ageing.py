"""What becomes of a day in Elasticsearch: packed once it is over, deleted once it is old and, where there is an
archive, proven to be there whole. Dead letters and events of impossible days go by when they came.

A day is listed as deleted before its index goes; nothing that comes later brings it back. There is never a write
block: a late event is still stored as long as its index is there. Nothing is deleted on our own clock's word alone: it
is never later than Elasticsearch's was when it made its youngest index.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from collector.settings import ElasticSettings
from shippers.clock import Clock
from shippers.errors import Unavailable

from . import names
from .client import ElasticClient, quoted
from .days import DeletedDays
from .dead import ElasticDeadLetters

log = logging.getLogger("lastbeat.elastic")

Archived = Callable[[str, str, str, int], bool]
"""Whether the archive is proven to hold all of (dataset, region, day), of which the index has so many events. Counting
is heavy, so it is asked ever less often of a day that isn't."""

_SPARE_SEGMENTS = 8
_DAY_S = 86_400
_MERGE_S = 3_600.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 600.0, 6 * 3_600.0


@dataclass(frozen=True, slots=True)
class Day:
    """One index of one day, as it is."""

    index: str
    dataset: str
    region: str
    day: str
    events: int
    shards: int
    segments: int


@dataclass(frozen=True, slots=True)
class Aged:
    """What one run did, by index; `kept` are old days that the archive isn't proven to hold, `skewed` the months of
    impossible days that went. `letters` counts the dead letters that did."""

    packed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    skewed: tuple[str, ...] = ()
    letters: int = 0


class Ageing:
    """The daily job; harmless to run at any time, and twice at once. Without `archived` there is no archive."""

    def __init__(
        self,
        client: ElasticClient,
        settings: ElasticSettings,
        days: DeletedDays,
        clock: Clock,
        archived: Archived | None = None,
    ) -> None:
        self._client, self._settings, self._days, self._clock = client, settings, days, clock
        self._archived = archived
        self._packed: dict[str, float] = {}
        """When the merge of an index was last asked for, by the monotonic clock."""
        self._unproven: dict[str, tuple[float, float]] = {}
        """When an index is asked about again, by the monotonic clock, and the pause that ends then."""

    def run(self) -> Aged:
        """Pack and delete what is due. Blocks while Elasticsearch merges. Raises Unavailable: the next run goes on."""
        packed, deleted, kept = [], [], []
        made = self._made()
        now = min(self._clock.time(), max(made.values(), default=0.0))
        first_kept, _ = names.sound_days(now, self._settings.hot_days)
        yesterday = (names.today(now) - timedelta(days=1)).isoformat()
        for day in self.days():
            if day.day < first_kept:
                if self._may_go(day):
                    self._delete(day, now)
                    deleted.append(day.index)
                else:
                    kept.append(day.index)
            elif day.day <= yesterday and self._is_loose(day) and self._pack(day):
                packed.append(day.index)
        return Aged(tuple(packed), tuple(deleted), tuple(kept), self._age_skewed(now, made), self._age_letters(now))

    def days(self) -> list[Day]:
        """Every day that has an index; not those of wild clocks. Raises Unavailable."""
        patterns = ",".join(names.event_patterns(self._settings.prefix))
        keep = "indices.*.primaries.docs.count,indices.*.primaries.segments.count,indices.*.primaries.shard_stats"
        path = f"/{patterns}/_stats/docs,segments?filter_path={keep}"
        found = []
        for index, stats in self._client.ask("GET", path).get("indices", {}).items():
            parts = names.split(self._settings.prefix, index)
            if parts is None or names.is_skewed(parts[2]):
                continue
            whole = stats["primaries"]
            shards = int(whole.get("shard_stats", {}).get("total_count", 1))
            found.append(Day(index, *parts, whole["docs"]["count"], shards, whole["segments"]["count"]))
        return sorted(found, key=lambda day: (day.day, day.index))

    def _made(self) -> dict[str, float]:
        """When each of our indices was made, by Elasticsearch's clock."""
        path = f"/{self._settings.prefix}-*/_settings/index.creation_date?filter_path=*.settings.index.creation_date"
        found = self._client.ask("GET", path)
        return {index: int(its["settings"]["index"]["creation_date"]) / 1000 for index, its in found.items()}

    def _age_skewed(self, now: float, made: Mapping[str, float]) -> tuple[str, ...]:
        """Nobody asks the archive about these: it keeps them under other days. What it lacks after so long, it won't
        ever have, for the journal has it no more. A name that says an older month than its index is isn't believed."""
        gone = []
        long_ago = now - self._settings.skewed_days * _DAY_S
        first_kept = names.today(now) - timedelta(days=self._settings.skewed_days)
        pattern = ",".join(names.event_patterns(self._settings.prefix))
        stats = self._client.ask("GET", f"/{pattern}/_stats/docs?filter_path=indices.*.primaries.docs.count")
        for index, its in sorted(stats.get("indices", {}).items()):
            parts = names.split(self._settings.prefix, index)
            if parts is None or not names.is_skewed(parts[2]):
                continue
            if names.skewed_until(parts[2]) > first_kept or made.get(index, now) > long_ago:
                continue
            self._client.ask("DELETE", f"/{quoted(index)}", allow=(404,))
            log.info("%s deleted with %d events of impossible days: they came over %d days ago", index,
                     its["primaries"]["docs"]["count"], self._settings.skewed_days)  # fmt: skip
            gone.append(index)
        return tuple(gone)

    def _age_letters(self, now: float) -> int:
        gone = ElasticDeadLetters(self._client, self._settings).age(now - self._settings.dead_days * _DAY_S)
        if gone:
            log.warning("%d dead letters deleted that nobody had settled in %d days", gone, self._settings.dead_days)
        return gone

    def _is_loose(self, day: Day) -> bool:
        """A day that was packed is only packed again when many came late: each time rewrites all of it. Nor while its
        merge may still be going on."""
        asked_at = self._packed.get(day.index)
        if asked_at is None:
            return day.segments > day.shards
        return day.segments > day.shards + _SPARE_SEGMENTS and self._clock.monotonic() - asked_at >= _MERGE_S

    def _pack(self, day: Day) -> bool:
        """Whether it is packed now: a merge that outlasts our patience goes on without us."""
        self._packed[day.index] = self._clock.monotonic()
        try:
            self._client.ask("POST", f"/{quoted(day.index)}/_forcemerge?max_num_segments=1")
        except Unavailable as error:
            log.warning("%s isn't packed yet; if it isn't in an hour, it is tried again: %s", day.index, error)
            return False
        return True

    def _may_go(self, day: Day) -> bool:
        if self._archived is None:
            return True
        now = self._clock.monotonic()
        again_at, pause_s = self._unproven.get(day.index, (now, 0.0))
        if now < again_at:
            return False
        self._client.ask("POST", f"/{quoted(day.index)}/_refresh")
        events = int(self._client.ask("GET", f"/{quoted(day.index)}/_count")["count"])
        if self._archived(day.dataset, day.region, day.day, events):
            self._unproven.pop(day.index, None)
            return True
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 2) or _FIRST_PAUSE_S
        self._unproven[day.index] = now + pause_s, pause_s
        log.warning("%s is old, but the archive isn't proven to hold it yet: kept, and the auditor asked to count it",
                    day.index)  # fmt: skip
        return False

    def _delete(self, day: Day, now: float) -> None:
        self._days.add(day.dataset, day.region, day.day, index=day.index, events=day.events, at=now)
        self._client.ask("DELETE", f"/{quoted(day.index)}", allow=(404,))
        log.info("%s deleted: it is older than %d days", day.index, self._settings.hot_days)
