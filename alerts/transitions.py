"""How incidents move: pending → firing → acknowledged → resolved, and which notices each turn owes. Pure functions.

Each takes an incident and gives the next one; the notices are part of it, so that one compare-and-set keeps both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .incidents import Incident, Notice, Severity, Status
from .settings import AlertSettings, NotifierSettings
from .words import clock_time

FLAPS = 3
REOPEN_S = 300.0
"""What comes back within this is the same incident."""
CALM_S = 300.0
"""A flapping incident is over once it was calm for this long."""
MAX_AMENDMENTS = 30
MAX_BACKOFF_S = 60.0
PERMANENT_BACKOFF_S = 900.0


@dataclass(frozen=True, slots=True)
class Draft:
    """What the judge found wrong. `pending_s`: told only if it is still so after this."""

    kind: str
    dedup_key: str
    severity: Severity
    summary: str
    why: str
    began_at: float
    region: str = ""
    service: str = ""
    instance: str = ""
    zone: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    pending_s: float = 0.0


def identity(dedup_key: str, began_at: float) -> str:
    """The same for the same thing that began at the same moment, whoever decides it and however often."""
    kind, _, where = dedup_key.partition("/")
    return f"{kind}-{hashlib.sha256(f'{where}@{began_at:.3f}'.encode()).hexdigest()[:10]}"


def opened(draft: Draft, now: float) -> Incident:
    """A new incident, pending: `tended` makes it fire."""
    return Incident(
        id=identity(draft.dedup_key, draft.began_at),
        dedup_key=draft.dedup_key,
        kind=draft.kind,
        severity=draft.severity,
        status=Status.PENDING,
        region=draft.region,
        service=draft.service,
        instance=draft.instance,
        zone=draft.zone,
        summary=draft.summary,
        why=draft.why,
        began_at=draft.began_at,
        opened_at=now,
        evidence={**draft.evidence, "pending_s": draft.pending_s},
    )


def reopened(incident: Incident, draft: Draft, now: float) -> Incident:
    """It came back soon after it was over. Where it was over before anybody was told, it pends again."""
    if draft.pending_s and incident.acknowledged_at is None and not incident.notices:
        anew = replace(opened(draft, now), id=incident.id, amendments=incident.amendments)
        return amended(anew, f"again at {clock_time(now)}")
    again = replace(
        incident,
        status=Status.FIRING,
        severity=draft.severity,
        summary=draft.summary,
        why=draft.why,
        evidence={**draft.evidence, "pending_s": draft.pending_s},
        resolved_at=None,
        acknowledged_at=None,
        acknowledged_by="",
        calm_since=None,
        reopened=incident.reopened + 1,
    )
    return amended(again, f"again at {clock_time(now)}")


def amended(incident: Incident, text: str) -> Incident:
    """More became known. The same is not said twice; a hostile flood of it ends at MAX_AMENDMENTS."""
    if text in incident.amendments or len(incident.amendments) >= MAX_AMENDMENTS:
        return incident
    return replace(incident, amendments=(*incident.amendments, text))


def raised(incident: Incident, draft: Draft, now: float) -> Incident:
    """It is still so, and perhaps worse or wider. Whoever was told of a warning is told again if it became a page."""
    if (incident.summary, incident.severity, incident.calm_since) == (draft.summary, draft.severity, None):
        return incident
    told = {notice.notifier for notice in incident.notices}
    is_worse = incident.severity is Severity.WARNING and draft.severity is Severity.PAGE
    incident = replace(incident, severity=draft.severity, summary=draft.summary, why=draft.why, calm_since=None)
    return _tell(incident, "raised", sorted(told), now) if is_worse else incident


def acknowledged(incident: Incident, by: str, now: float) -> Incident:
    """Somebody has it: no more reminders. One that is over, or acknowledged already, stays as it is."""
    if incident.status not in (Status.PENDING, Status.FIRING):
        return incident
    return replace(incident, status=Status.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by=by)


def resolved(incident: Incident, text: str, now: float) -> Incident:
    """It is over: whoever was told that it began is told so. One that flaps must stay calm first."""
    if not incident.is_open:
        return incident
    if incident.reopened >= FLAPS:
        return incident if incident.calm_since is not None else replace(incident, calm_since=now)
    return _over(amended(incident, text) if text else incident, now)


def _over(incident: Incident, now: float) -> Incident:
    told = {notice.notifier for notice in incident.notices}
    turn = f"resolved-{incident.reopened}" if incident.reopened else "resolved"
    done = replace(incident, status=Status.RESOLVED, resolved_at=now, calm_since=None)
    return _tell(done, turn, sorted(told), now)


def tended(incident: Incident, settings: AlertSettings, now: float, *, silenced: bool) -> Incident:
    """What time alone does to an open incident: fire, remind, escalate, be over after a calm. Silenced, it owes no
    notices until the silence ends."""
    if not incident.is_open:
        return incident
    if incident.calm_since is not None and now - incident.calm_since >= CALM_S:
        return _over(amended(incident, f"calm, after it came back {incident.reopened} times"), now)
    pending_s = incident.evidence.get("pending_s", 0.0)
    if incident.status is Status.PENDING and now - incident.opened_at >= pending_s:
        incident = replace(incident, status=Status.FIRING)
    if silenced or incident.status is Status.PENDING or (incident.calm_since is not None):
        return incident
    incident = _first_notices(incident, settings, now)
    if incident.status is Status.FIRING and incident.severity is Severity.PAGE:
        incident = _reminders(incident, settings, now)
    return incident


def _first_notices(incident: Incident, settings: AlertSettings, now: float) -> Incident:
    """The turn that began: `firing`, or `again-n` until it counts as flapping, which is told once."""
    if incident.reopened > FLAPS:
        return incident
    turn = "firing"
    if incident.reopened:
        turn = f"again-{incident.reopened}" if incident.reopened < FLAPS else "flapping"
    names = [each.name for each in settings.notifiers if not each.escalation and _wants(each, incident)]
    return _tell(incident, turn, names, now)


def _reminders(incident: Incident, settings: AlertSettings, now: float) -> Incident:
    told_at = [notice.created_at for notice in incident.notices]
    if not told_at:
        return incident
    if now - max(told_at) >= settings.repeat_s:
        number = 1 + len({each.turn for each in incident.notices if each.turn.startswith("reminder-")})
        names = [each.name for each in settings.notifiers if not each.escalation and _wants(each, incident)]
        incident = _tell(incident, f"reminder-{number}", names, now)
    if now - min(told_at) >= settings.escalate_after_s:
        incident = _tell(incident, "escalated", [each.name for each in settings.notifiers if each.escalation], now)
    return incident


def _wants(notifier: NotifierSettings, incident: Incident) -> bool:
    return incident.severity is Severity.PAGE or notifier.least is Severity.WARNING


def _tell(incident: Incident, turn: str, names: Iterable[str], now: float) -> Incident:
    owed = {(notice.notifier, notice.turn) for notice in incident.notices}
    new = tuple(Notice(name, turn, now, now) for name in names if (name, turn) not in owed)
    return replace(incident, notices=incident.notices + new) if new else incident


def delivered(incident: Incident, notice: Notice, now: float) -> Incident:
    """A notice went out."""
    return _noted(incident, notice, delivered_at=now, attempts=notice.attempts + 1, error="")


def failed(incident: Incident, notice: Notice, now: float, wait_s: float, error: str) -> Incident:
    """A notice did not go out."""
    return _noted(incident, notice, next_at=now + wait_s, attempts=notice.attempts + 1, error=error[:300])


def _noted(incident: Incident, notice: Notice, **changes: Any) -> Incident:
    same = (notice.notifier, notice.turn)
    notices = tuple(
        replace(each, **changes) if (each.notifier, each.turn) == same and each.delivered_at is None else each
        for each in incident.notices
    )
    return replace(incident, notices=notices)


def merged(theirs: Incident, ours: Incident) -> Incident:
    """One incident from two that went on apart: what was delivered, acknowledged or amended on either side stays so.

    `ours` is the watch's own, which knows best what is wrong; `theirs` may have been acknowledged by a person.
    """
    notices = {(each.notifier, each.turn): each for each in theirs.notices}
    for each in ours.notices:
        held = notices.get((each.notifier, each.turn))
        if held is None or held.delivered_at is None:
            notices[each.notifier, each.turn] = each
    amendments = tuple(dict.fromkeys((*theirs.amendments, *ours.amendments)))[:MAX_AMENDMENTS]
    acknowledger = ours if ours.acknowledged_at is not None or ours.reopened > theirs.reopened else theirs
    status = ours.status
    if ours.is_open and acknowledger.acknowledged_at is not None:
        status = Status.ACKNOWLEDGED
    return replace(
        ours,
        status=status,
        notices=tuple(notices.values()),
        amendments=amendments,
        acknowledged_at=acknowledger.acknowledged_at,
        acknowledged_by=acknowledger.acknowledged_by,
    )
