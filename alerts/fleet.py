"""The fleet: one row for every service and every instance that ever reported, with its last notify time.

Rows are what State keeps (table FLEET, keys as `key` gives them) and what boards and the CLI read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collector.ports import State, Table

from .document import known
from .staleness import Verdict


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One instance. `last_notify_time` is when the journal received its last beat, less the age the beat carried.

    `streams` is {dataset: {"last": n, "acked": n, "dropped": n}} as the last beat said; `restarts` counts boots that
    ended without a goodbye.
    """

    region: str
    service: str
    instance: str
    verdict: Verdict
    why: str
    since: float
    last_notify_time: float
    boot: str
    beat: int
    started_at: float
    interval_s: float
    grace_s: float
    version: str = ""
    environment: str = ""
    zone: str = ""
    host: str = ""
    pid: int | None = None
    ingress: str = ""
    via: str = ""
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    queue_events: int = 0
    spool_bytes: int = 0
    dropped: int = 0
    restarts: int = 0
    streams: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """`<region>/<service>/<instance>`."""
        return f"{self.region}/{self.service}/{self.instance}"


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service in one region: `live` of `known` instances beat, `minimum` must. `incident` is an open one's id."""

    region: str
    service: str
    verdict: Verdict
    why: str
    since: float
    last_notify_time: float
    live: int
    known: int
    minimum: int
    versions: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    restarts: int = 0
    incident: str | None = None
    silenced: bool = False
    first_seen_at: float = 0.0

    @property
    def key(self) -> str:
        """`<region>/<service>`."""
        return f"{self.region}/{self.service}"


@dataclass(frozen=True, slots=True)
class Sight:
    """What the watch can see of one path: a region's beats through one ingress. Key `sight:<region>/<ingress>`."""

    region: str
    ingress: str
    blind: bool
    since: float
    last_canary_at: float
    gateways: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`sight:<region>/<ingress>`: no region's name has a colon, so no instance can bear this key."""
        return f"sight:{self.region}/{self.ingress}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that the watch has said of everybody, worst first, then by name."""

    services: tuple[ServiceRow, ...] = ()
    instances: tuple[InstanceRow, ...] = ()
    sights: tuple[Sight, ...] = ()


_WORST_FIRST = {verdict: rank for rank, verdict in enumerate(Verdict)}


def read_fleet(state: State) -> Fleet:
    """The fleet as last written by the watch (at most about 2 s old). Raises Unavailable. From any thread."""
    services: list[ServiceRow] = []
    instances: list[InstanceRow] = []
    sights: list[Sight] = []
    for row in state.scan(Table.FLEET):
        if row.key.startswith("sight:"):
            sights.append(Sight(**known(Sight, row.doc)))
        elif row.key.count("/") == 1:
            services.append(service_row(row.doc))
        else:
            instances.append(instance_row(row.doc))
    services.sort(key=lambda row: (_WORST_FIRST[row.verdict], row.key))
    instances.sort(key=lambda row: (_WORST_FIRST[row.verdict], row.key))
    return Fleet(tuple(services), tuple(instances), tuple(sights))


def service_row(doc: Mapping[str, Any]) -> ServiceRow:
    """A service's row from its document."""
    return ServiceRow(**{**known(ServiceRow, doc), "verdict": Verdict(doc["verdict"])})


def instance_row(doc: Mapping[str, Any]) -> InstanceRow:
    """An instance's row from its document."""
    return InstanceRow(**{**known(InstanceRow, doc), "verdict": Verdict(doc["verdict"])})
