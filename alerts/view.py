"""The rows that boards read, made from what the watch keeps in memory. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .fleet import InstanceRow, ServiceRow, Sight
from .paths import Path
from .processes import Instance, Process, Service
from .staleness import Verdict
from .words import clock_time, duration

NEW_S = 60.0


def instance_row(instance: Instance) -> InstanceRow | None:
    """An instance's row. None before any process is known."""
    shown = instance.shown()
    if shown is None:
        return None
    verdict = Verdict.BLIND if instance.live and shown.path.blind else instance.verdict
    info = shown.info
    return InstanceRow(
        region=instance.service.region,
        service=instance.service.name,
        instance=instance.name,
        verdict=verdict,
        why=_instance_why(instance, shown, verdict),
        since=instance.since,
        last_notify_time=instance.last,
        boot=shown.boot,
        beat=shown.number,
        started_at=shown.started_at,
        interval_s=shown.policy.interval_s,
        grace_s=shown.policy.grace_s,
        version=info.version,
        environment=info.environment,
        zone=info.zone,
        host=info.host,
        pid=info.pid,
        ingress=shown.path.ingress,
        via=shown.via,
        cpu_percent=info.cpu_percent,
        memory_bytes=info.memory_bytes,
        queue_events=info.queue_events,
        spool_bytes=info.spool_bytes,
        dropped=info.dropped,
        restarts=instance.restarts,
        streams=info.streams,
    )


def _instance_why(instance: Instance, shown: Process, verdict: Verdict) -> str:
    if verdict is Verdict.BLIND:
        return "not known: the watch is blind there"
    if verdict is Verdict.DOWN:
        return f"no beat since {clock_time(shown.last)}, allowed {duration(shown.policy.allowed_s)}"
    if verdict is Verdict.LATE:
        return f"no beat since {clock_time(shown.last)}, due each {duration(shown.policy.interval_s)}"
    if verdict is Verdict.UNREACHABLE:
        return "cut off together with others"
    if verdict is Verdict.REFUSED:
        code = instance.refused.code if instance.refused is not None else "refused"
        return f"its beats are turned away: {code}"
    if verdict is Verdict.STOPPED:
        if not shown.judged:
            return f"only beats from the past arrive; the newest is from {clock_time(shown.last)}"
        return instance.why or f"said goodbye at {clock_time(shown.last)}"
    return f"beats each {duration(shown.policy.interval_s)}"


def service_verdict(service: Service, now: float, *, is_down: bool, is_looping: bool) -> Verdict:
    """What a service's instances make it; `is_down` is the judge's word."""
    counts = service.counts
    if is_down:
        return Verdict.DOWN
    if service.live == 0:
        for verdict in (Verdict.UNREACHABLE, Verdict.REFUSED):
            if counts.get(verdict):
                return verdict
        return Verdict.STOPPED
    if is_looping:
        return Verdict.FLAPPING
    live = [process for each in service.instances.values() if each.live and (process := each.shown()) is not None]
    if live and all(process.path.blind for process in live):
        return Verdict.BLIND
    if not counts.get(Verdict.UP):
        return Verdict.LATE
    return Verdict.NEW if 0 <= now - service.first_at < NEW_S else Verdict.UP


def service_row(
    service: Service,
    now: float,
    was: ServiceRow | None,
    *,
    incident: str | None,
    is_down: bool,
    is_looping: bool,
    silenced: bool,
) -> ServiceRow:
    """A service's row; `was` is the one before it, which knows since when."""
    verdict = service_verdict(service, now, is_down=is_down, is_looping=is_looping)
    shown = [process for each in service.instances.values() if (process := each.shown()) is not None]
    present = [each for each in shown if each.live] or shown
    return ServiceRow(
        region=service.region,
        service=service.name,
        verdict=verdict,
        why=_service_why(service, verdict, shown),
        since=was.since if was is not None and was.verdict is verdict else now,
        last_notify_time=max((each.last for each in shown), default=service.first_at),
        live=service.live,
        known=service.known,
        minimum=service.minimum,
        versions=_distinct(present, lambda each: each.info.version),
        zones=_distinct(present, lambda each: each.info.zone),
        restarts=sum(each.restarts for each in service.instances.values()),
        incident=incident,
        silenced=silenced,
        first_seen_at=service.first_at,
    )


def _service_why(service: Service, verdict: Verdict, shown: list[Process]) -> str:
    last = max(shown, key=lambda each: each.last, default=None)
    if last is None:
        return "not heard yet"
    if verdict is Verdict.DOWN and service.live:
        return f"{service.live} of at least {service.minimum} instances live"
    if verdict in (Verdict.UP, Verdict.NEW, Verdict.FLAPPING):
        text = f"{service.live} of {service.known} live"
        return f"{text}; restarts again and again" if verdict is Verdict.FLAPPING else text
    instance_verdict = last.instance.verdict
    return _instance_why(last.instance, last, verdict if verdict is Verdict.BLIND else instance_verdict)


def _distinct(processes: Iterable[Process], of: Callable[[Process], str]) -> tuple[str, ...]:
    return tuple(sorted({text for each in processes if (text := of(each))})[:20])


def sights(paths: Iterable[Path]) -> list[Sight]:
    """What can be seen, by region and ingress: blind where any of its partitions is."""
    rows: dict[str, Sight] = {}
    for path in paths:
        seen_at = path.sight.seen_at or 0.0
        gateways = tuple(sorted(path.sight.gateways))
        row = Sight(path.partition.region, path.ingress, path.blind, path.since, seen_at, gateways)
        other = rows.get(row.key)
        if other is None or (row.blind and not other.blind):
            rows[row.key] = row
    return list(rows.values())
