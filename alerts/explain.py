"""Replays an incident's decision in words, from the evidence that is stored with it. Decides nothing anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .incidents import Incident, Status
from .words import clock_time, count, duration


def explain(incident: Incident) -> str:
    """Why the watch said what it said, what became of it, and who was told. Several lines."""
    lines = [f"{incident.summary}  ({incident.id}, {incident.severity}, {incident.status})", incident.why, ""]
    lines += _times(incident)
    how = _DECISIONS.get(incident.kind)
    if how is not None:
        lines += ["", *how(incident.evidence)]
    if incident.amendments:
        lines += ["", "What became known later:", *(f"  · {text}" for text in incident.amendments)]
    lines += ["", *_notices(incident)]
    return "\n".join(lines)


def _times(incident: Incident) -> list[str]:
    lines = [f"began     {clock_time(incident.began_at)}  (by the journal's clock)"]
    lines.append(f"said      {clock_time(incident.opened_at)}")
    if incident.acknowledged_at is not None:
        lines.append(f"taken     {clock_time(incident.acknowledged_at)} by {incident.acknowledged_by or 'somebody'}")
    if incident.resolved_at is not None and incident.status is Status.RESOLVED:
        lasted = duration(incident.resolved_at - incident.began_at)
        lines.append(f"over      {clock_time(incident.resolved_at)}, after {lasted}")
    return lines


def _process(doc: Mapping[str, Any]) -> list[str]:
    interval_s, grace_s = doc["interval_s"], doc["grace_s"]
    silent_s = doc.get("silent_s", doc["sighted"] - doc["heard"])
    where = f"offset {doc['offset']} of {doc['partition']}"
    promise = f"a beat each {duration(interval_s)}, {duration(grace_s)} of grace: {duration(interval_s + grace_s)}"
    clock = f"{doc['heard']:.1f} s when it was heard and {doc['sighted']:.1f} s when this was said"
    lines = [
        f"{doc['key']}, process {doc['boot'][:8]}:",
        f"  its last beat, number {doc['beat']}, was received {clock_time(doc['last'])}, {where}",
        f"  it came through gateway {doc['via'] or '-'} of ingress {doc['ingress'] or '-'}",
        f"  it is allowed {promise}",
        f"  the sighted time of its path was {clock}: for {duration(silent_s)} it could have been heard and was not",
    ]
    if doc.get("released"):
        lines.append("  it had fallen silent with others; they were heard again, it was not")
    lines += [f"  {_scope(scope)}" for scope in doc.get("scopes", ())]
    return lines


def _scope(doc: Mapping[str, Any]) -> str:
    silent = f"{doc['silent']} of {count(doc['live'], 'live service')} silent"
    heard_s = doc["heard_s"]
    heard = "nobody there was ever heard" if heard_s is None else f"somebody there was heard {duration(heard_s)} before"
    return f"in scope {doc['scope']}: {silent}, {heard}"


def _death(evidence: Mapping[str, Any]) -> list[str]:
    lines = [f"{count(evidence['live'], 'instance')} lived, at least {evidence['minimum']} must."]
    for doc in evidence["processes"]:
        lines += _process(doc)
    return lines


def _outage(evidence: Mapping[str, Any]) -> list[str]:
    lines = [_scope(evidence["scope"]), f"services: {', '.join(evidence['services'])}"]
    for doc in evidence["processes"]:
        lines += ["the first to pass its deadline:", *_process(doc)]
    return lines


def _blind(evidence: Mapping[str, Any]) -> list[str]:
    lines = []
    for path in evidence.get("paths", ()):
        gateways = ", ".join(path["gateways"]) or "any gateway"
        lines.append(
            f"{path['region']} through ingress {path['ingress'] or '-'}: no canary of {gateways} for "
            f"{duration(path['unseen_s'])}, with everything there was read"
        )
    return lines


def _refused(evidence: Mapping[str, Any]) -> list[str]:
    lines = [f"The gateway's canaries said that these were turned away with {evidence['code']!r}:"]
    lines += [f"  {key}" for key in evidence["senders"]]
    if evidence["missing"]:
        lines.append(f"Their last accepted beats are too old by now: {', '.join(evidence['missing'])}")
    return lines


def _loop(evidence: Mapping[str, Any]) -> list[str]:
    times = ", ".join(clock_time(at) for at in evidence["restarts_at"])
    return [f"Started again without a goodbye before, at: {times}"]


def _loss(evidence: Mapping[str, Any]) -> list[str]:
    if "findings" not in evidence:
        return []
    lines = ["Said to be durable by a beat, read past by the sink, and in no interval of its ledger:"]
    for doc in evidence["findings"]:
        ranges = ", ".join(f"{first}–{last}" for first, last in doc["ranges"])
        lines.append(f"  {doc['sink']}: {doc['stream']} {ranges} ({doc['missing']:,} events)")
        lines.append(f"    by its beat {doc['said_by_beat']}, {doc['since']}; asked for again {doc['tries']} times")
    return lines


_DECISIONS = {
    "lossy": _loss,
    "down": _death,
    "instance": _death,
    "unreachable": _outage,
    "blind": _blind,
    "refused": _refused,
    "flapping": _loop,
}


def _notices(incident: Incident) -> list[str]:
    if not incident.notices:
        return ["Nobody was told."]
    lines = ["Who was told:"]
    for notice in incident.notices:
        if notice.delivered_at is not None:
            tries = f", at try {notice.attempts}" if notice.attempts > 1 else ""
            lines.append(f"  {notice.turn} → {notice.notifier} at {clock_time(notice.delivered_at)}{tries}")
        else:
            why = f": {notice.error}" if notice.error else ""
            lines.append(f"  {notice.turn} → {notice.notifier} not yet, {count(notice.attempts, 'try', 'tries')}{why}")
    return lines
