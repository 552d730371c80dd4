"""What the product itself says, asked through its own ports: what is stored, what was dropped, who was called dead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alerts.fleet import InstanceRow
from alerts.incidents import Incident, read_incidents
from collector.journal.memory import MemoryJournal
from collector.lake.store import LakeStore
from collector.ports import Event, Page, State, Store, Where
from compose.backlog import backlog
from compose.settings import Settings
from shippers.clock import Clock

from .ailment import STEP_S
from .topology import VICTIM, Instance

_HOUR_S = 3600.0
_AHEAD_S = 60.0
_LINES = 12
_LOOK_BACK_S = 60.0
_PAGE = 5_000


def stored_of(store: Store, start: float, now: float) -> dict[str, int]:
    """How many events of each instance the store finds since `start`, heartbeats left out."""
    where = Where(start, now + _AHEAD_S, datasets=("business", "console", "metrics"))
    volume = store.volume(where, _HOUR_S, by="instance")
    return {instance: sum(counts) for instance, counts in volume.series.items()}


def beats_of(store: Store, start: float, now: float) -> dict[str, tuple[int, int]]:
    """By stream of beats: how many different ones are stored, and the highest number among them."""
    numbers: dict[str, set[int]] = {}
    where, page = Where(start, now + _AHEAD_S, datasets=("heartbeat",)), Page(_PAGE)
    while True:
        hits = store.search(where, page)
        for event in hits.events:
            numbers.setdefault(event.stream, set()).add(event.sequence)
        if hits.next is None:
            return {stream: (len(seen), max(seen)) for stream, seen in numbers.items()}
        page = Page(_PAGE, hits.next)


def archive_of(settings: Settings, clock: Clock) -> Store | None:
    """The lake by itself, as a store to be asked, where it is kept beside Elasticsearch."""
    if settings.elastic is None or not settings.elastic.archive:
        return None
    return LakeStore(settings.lake_path, MemoryJournal(clock), settings.lake, clock)


def behind_of(settings: Settings) -> dict[str, int]:
    """How much of the events in the journal each store has still to read (bytes of the local one, records of Kafka);
    canaries, which never end, left out."""
    groups = {"lake": "the lake"} | ({"elastic": "Elasticsearch"} if settings.elastic else {})
    found = {}
    for group, store in groups.items():
        behind = backlog(settings, group) or {}
        found[store] = sum(size for tp, size in behind.items() if not tp.topic.endswith(".heartbeat"))
    return found


def dropped_of(instances: Iterable[InstanceRow]) -> dict[str, int]:
    """How many events each instance says, in its last beat, that it dropped."""
    return {row.instance: row.dropped for row in instances}


def incidents_of(state: State) -> tuple[tuple[Incident, ...], tuple[Incident, ...]]:
    """All incidents there ever were: those about the victim, and all others."""
    incidents = read_incidents(state)
    dead = tuple(incident for incident in incidents if _is_about(incident, VICTIM))
    return dead, tuple(incident for incident in incidents if incident not in dead)


def _is_about(incident: Incident, who: Instance) -> bool:
    same = incident.region == who.region and incident.service == who.service
    return same and incident.instance in ("", who.name)


@dataclass(frozen=True, slots=True)
class Death:
    """The alert, and what led up to it: `lines` are the dead one's last, oldest first; `alert_at` is when the first
    notice was delivered."""

    incident: Incident
    last_beat_at: float
    alert_at: float
    lines: tuple[Event, ...]

    @property
    def complete(self) -> bool:
        """Whether there are lines up to the last beat: who is ill says something every second."""
        return bool(self.lines) and self.lines[-1].at >= self.last_beat_at - STEP_S


def death_of(store: Store, incident: Incident, rows: Iterable[InstanceRow]) -> Death | None:
    """What there is to say about the victim's death; None until somebody has been told."""
    last_beat_at = next(row.last_notify_time for row in rows if row.instance == VICTIM.name)
    delivered = [notice.delivered_at for notice in incident.notices if notice.delivered_at is not None]
    if not delivered:
        return None
    where = Where(
        last_beat_at - _LOOK_BACK_S,
        incident.opened_at,
        regions=(VICTIM.region,),
        services=(VICTIM.service,),
        instances=(VICTIM.name,),
    )
    lines = store.search(where, Page(_LINES)).events
    return Death(incident, last_beat_at, min(delivered), tuple(reversed(lines)))
