"""Incidents and their notices. One incident with all its notices is one row of State, changed by one compare-and-set,
so that no crash can lose a page or forget that one was sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from collector.ports import State, Table

from .document import known


class Status(StrEnum):
    """Where an incident stands."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Severity(StrEnum):
    """PAGE wakes somebody; WARNING is for the boards and for chat."""

    PAGE = "page"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one notifier about one turn of an incident (firing, reminder, resolved …).

    Undelivered while `delivered_at` is None; then `next_at` is when to try (again) and `error` why the last try failed.
    """

    notifier: str
    turn: str
    created_at: float
    next_at: float
    attempts: int = 0
    delivered_at: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that is wrong, told once. `kind` is the verdict in lower case (down, instance, blind, unreachable …);
    `dedup_key` is the same for the same thing in the same place; `began_at` is when it went wrong, `opened_at` when the
    watch said so; `evidence` is what the decision rests on: offsets, sighted time, policy."""

    id: str
    dedup_key: str
    kind: str
    severity: Severity
    status: Status
    region: str
    service: str
    instance: str
    zone: str
    summary: str
    why: str
    began_at: float
    opened_at: float
    resolved_at: float | None = None
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    amendments: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    reopened: int = 0
    """How often it came back soon after it was over; from FLAPS on, it is told less and must stay calm to be over."""
    calm_since: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.status is not Status.RESOLVED


def incident_from(doc: Mapping[str, Any]) -> Incident:
    """An incident from its document."""
    return Incident(
        **{
            **known(Incident, doc),
            "severity": Severity(doc["severity"]),
            "status": Status(doc["status"]),
            "notices": tuple(Notice(**known(Notice, notice)) for notice in doc.get("notices", ())),
        }
    )


def read_incidents(state: State) -> list[Incident]:
    """Every incident that State keeps: open ones first, then the newest first. Raises Unavailable. From any thread."""
    incidents = [incident_from(row.doc) for row in state.scan(Table.INCIDENTS)]
    return sorted(incidents, key=lambda each: (each.status is Status.RESOLVED, -each.opened_at, each.id))
