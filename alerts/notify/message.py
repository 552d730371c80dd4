"""What is told to people, and the contract of everything that tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from alerts.incidents import Incident, Notice, Severity, Status
from alerts.words import clock_time, duration
from shippers.errors import LastbeatError


class Undelivered(LastbeatError):
    """A message did not go out. `permanent`: the other side understood it and said no (a wrong address or token), so
    a person must look; it is then tried again rarely."""

    def __init__(self, message: str, *, permanent: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class Message:
    """One notice, ready to be sent. `dedup_key` is the incident's, so that a pager joins its turns; `notice_id` is
    this one's, and the same each time that it is sent again."""

    title: str
    body: str
    severity: str
    turn: str
    dedup_key: str
    notice_id: str
    incident_id: str
    kind: str
    region: str
    service: str
    status: str

    def doc(self) -> dict[str, Any]:
        """As a flat JSON document."""
        return {name: getattr(self, name) for name in self.__slots__}


class Notifier(Protocol):
    """One way to tell people."""

    def send(self, message: Message) -> None:
        """Tell them.

        Called by the courier, by one thread at a time; may block up to its timeout. Returns only when the other side
        has taken the message. Raises Undelivered; the courier then tries again with the same `notice_id`.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


_SIGN = {Severity.PAGE: "✖", Severity.WARNING: "◔"}


def compose(incident: Incident, notice: Notice) -> Message:
    """The message of one notice."""
    kind, _, _ = notice.turn.partition("-")
    is_over = kind == "resolved"
    sign = "●" if is_over else _SIGN[incident.severity]
    lasted = duration((incident.resolved_at or incident.began_at) - incident.began_at)
    prefix = {"resolved": f"over after {lasted}: ", "again": "again: ", "flapping": "comes and goes: "}.get(kind, "")
    if kind in ("reminder", "escalated"):
        prefix = "still, and nobody has acknowledged it: "
    lines = [incident.why, f"since {clock_time(incident.began_at)}; said at {clock_time(incident.opened_at)}"]
    lines += [f"· {text}" for text in incident.amendments[-5:]]
    return Message(
        title=f"{sign} {prefix}{incident.summary}",
        body="\n".join(line for line in lines if line),
        severity=incident.severity.value,
        turn=notice.turn,
        dedup_key=incident.dedup_key,
        notice_id=f"{incident.id}:{notice.turn}:{notice.notifier}",
        incident_id=incident.id,
        kind=incident.kind,
        region=incident.region,
        service=incident.service,
        status=Status.RESOLVED.value if is_over else incident.status.value,
    )
