"""The incidents' words and evidence: what is said of a death, an outage, a crash loop, and of their end. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .beat import Beat
from .incidents import Severity
from .processes import Instance, Process, Service
from .roster import Outage
from .scopes import ScopeFacts
from .staleness import Verdict
from .transitions import Draft
from .words import clock_time, count, duration

MAX_NAMES = 8
MAX_EVIDENCE = 20

Evidence = Mapping[Process, dict[str, Any]]


def down_key(service: Service) -> str:
    """One incident for one service's being down."""
    return f"down/{service.key}"


def instance_key(instance: Instance) -> str:
    """One incident for one instance's death."""
    return f"instance/{instance.key}"


def loop_key(service: Service) -> str:
    """One incident for one service's crash loop."""
    return f"flapping/{service.key}"


def outage_key(scope: str) -> str:
    """One incident for one scope's silence."""
    return f"unreachable/{scope}"


def names(items: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(items) - MAX_NAMES} more" if len(items) > MAX_NAMES else ""
    return ", ".join(items[:MAX_NAMES]) + more


def down(service: Service, evidence: Evidence) -> Draft:
    """A service has fewer live instances than it must have."""
    dead = [process for each in service.instances.values() for process in each.processes.values() if _is_dead(process)]
    dead.sort(key=lambda each: each.unheard_s)
    if service.minimum > 1:
        why = f"{service.live} of at least {service.minimum} instances live"
    else:
        why = "no instance lives"
    if dead:
        why += f": {_silence(dead[0], evidence)}"
        if len(dead) > 1:
            why += f"; died: {names([each.instance.name for each in dead])}"
    zones = {each.info.zone for each in dead}
    return Draft(
        kind="down",
        dedup_key=down_key(service),
        severity=Severity.PAGE,
        summary=f"{service.name} is down in {service.region}",
        why=why,
        began_at=dead[0].last if dead else _last(service),
        region=service.region,
        service=service.name,
        instance=dead[0].instance.name if len(dead) == 1 else "",
        zone=zones.pop() if len(zones) == 1 else "",
        evidence={
            "live": service.live,
            "minimum": service.minimum,
            "processes": [process_evidence(each, evidence) for each in dead[:MAX_EVIDENCE]],
        },
    )


def one_instance(instance: Instance, dead: Sequence[Process], evidence: Evidence, pending_s: float) -> Draft:
    """An instance, or one of the processes that share its name, died while its service lives on."""
    service = instance.service
    latest = min(dead, key=lambda each: each.unheard_s)
    if instance.live:
        what = (
            f"{count(len(dead), 'process', 'processes')} of {instance.name} ({service.name}) died in {service.region}"
        )
    else:
        what = f"{instance.name} ({service.name}) is down in {service.region}"
    return Draft(
        kind="instance",
        dedup_key=instance_key(instance),
        severity=Severity.WARNING,
        summary=what,
        why=f"{_silence(latest, evidence)}; {count(service.live, 'instance')} of {service.name} still live",
        began_at=latest.last,
        region=service.region,
        service=service.name,
        instance=instance.name,
        zone=latest.info.zone,
        evidence={
            "live": service.live,
            "minimum": service.minimum,
            "processes": [process_evidence(each, evidence) for each in dead[:MAX_EVIDENCE]],
        },
        pending_s=pending_s,
    )


def unreachable(outage: Outage, facts: ScopeFacts, first: Process) -> Draft:
    """A scope fell silent at one moment."""
    members = list(outage.members)
    services = sorted({each.service_key for each in members})
    regions = {each.instance.service.region for each in members}
    how = "nobody there is heard any more" if outage.whole else "others there are heard"
    return Draft(
        kind="unreachable",
        dedup_key=outage_key(outage.scope),
        severity=Severity.PAGE,
        summary=f"{scope_words(outage.scope, regions)} fell silent: {count(len(services), 'service')} unreachable",
        why=f"{facts.silent if outage.whole else facts.together} of {facts.live} services there are silent at once, "
        f"{how}; which of them died can't be told until it is heard again: {names(services)}",
        began_at=max(each.last for each in members),
        region=regions.pop() if len(regions) == 1 else "",
        zone=outage.scope.rpartition("/")[2] if outage.scope.startswith("zone/") else "",
        evidence={
            "scope": facts.doc(),
            "whole": outage.whole,
            "services": services[:500],
            "processes": [process_evidence(first, {})],
        },
    )


def scope_words(scope: str, regions: set[str]) -> str:
    """A scope's key in words."""
    kind, _, where = scope.partition("/")
    if kind == "all":
        return f"region {next(iter(regions))}" if len(regions) == 1 else "every region"
    if kind == "region" and "/ingress/" in where:
        region, _, ingress = where.partition("/ingress/")
        return f"ingress {ingress or 'without a name'} in {region}"
    if kind == "zone":
        region, _, zone = where.partition("/")
        return f"zone {zone} ({region})"
    return f"{kind} {where or 'without a name'}"


def heard_again(silent: Sequence[str]) -> str:
    """An outage's end, and who is still missing."""
    if not silent:
        return "heard again"
    return f"heard again; not yet heard: {names(silent)} (whoever stays silent is told on its own)"


def late_evidence(beat: Beat) -> str:
    """A beat that came too late to count."""
    through = f" through {beat.via}" if beat.via else ""
    when = f"from {clock_time(beat.at)} arrived late{through}, {duration(beat.age_s)} old"
    return f"a beat of {beat.instance} {when}: it lived at that time"


def back(service: Service) -> str:
    """Why a service is well again."""
    if service.live == 0:
        return "it said goodbye, or was stopped"
    shown = [instance.shown() for instance in service.instances.values() if instance.verdict is Verdict.UP]
    newest = max((each for each in shown if each is not None), key=lambda each: each.last, default=None)
    return _returned(newest) if newest is not None else "it is heard again"


def instance_back(instance: Instance) -> str:
    """Why an instance is well again."""
    if not instance.live:
        return instance.why or "it said goodbye, or was stopped"
    shown = instance.shown()
    return _returned(shown) if shown is not None else "it is heard again"


def _returned(process: Process) -> str:
    if process.number > 1 and process.succeeds is None and process.last - process.first_at > process.policy.allowed_s:
        return f"the same process of {process.instance.name} beats again (beat {process.number}): it had not ended"
    return f"{process.instance.name} was started again at {clock_time(process.started_at)}"


def crash_loop(service: Service, times: Sequence[float], window_s: float) -> Draft:
    """A service that starts again and again without a goodbye."""
    return Draft(
        kind="flapping",
        dedup_key=loop_key(service),
        severity=Severity.PAGE,
        summary=f"{service.name} restarts again and again in {service.region}",
        why=f"{len(times)} restarts without a goodbye within {duration(window_s)}, the last at {clock_time(times[-1])}",
        began_at=times[0],
        region=service.region,
        service=service.name,
        evidence={"restarts_at": list(times[-MAX_EVIDENCE:]), "window_s": window_s},
    )


def ended_with_goodbye(service: Service) -> bool:
    """Whether the last to leave a service without live instances left in order."""
    ended = (each for instance in service.instances.values() for each in instance.processes.values() if each.judged)
    last = min(ended, key=lambda each: each.unheard_s, default=None)
    return last is None or last.verdict is Verdict.STOPPED


def process_evidence(process: Process, evidence: Evidence) -> dict[str, Any]:
    """What a decision on one process rests on: where its last beat stands, the clock, the policy, its peers."""
    path = process.path
    return {
        "key": process.instance.key,
        "boot": process.boot,
        "beat": process.number,
        "partition": f"{path.partition.tp.topic}/{path.partition.tp.partition}",
        "offset": process.offset,
        "ingress": path.ingress,
        "via": process.via,
        "zone": process.info.zone,
        "last": process.last,
        "heard": round(process.heard, 3),
        "sighted": round(path.sight.now, 3),
        "interval_s": process.policy.interval_s,
        "grace_s": process.policy.grace_s,
        "released": process.released,
        **evidence.get(process, {}),
    }


def _silence(process: Process, evidence: Evidence) -> str:
    silent_s = evidence.get(process, {}).get("silent_s", process.path.sight.now - process.heard)
    return (
        f"last beat {clock_time(process.last)}, silent for {duration(silent_s)} while it could be heard, "
        f"allowed {duration(process.policy.allowed_s)}"
    )


def _is_dead(process: Process) -> bool:
    return process.verdict is Verdict.DOWN and not process.replaced


def _last(service: Service) -> float:
    return max((each.last for each in service.instances.values()), default=service.first_at)
