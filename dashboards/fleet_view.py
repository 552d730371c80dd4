"""What the Fleet page says, worked out from rows and counts. Pure: no store, no Streamlit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from alerts.fleet import Fleet, InstanceRow, ServiceRow
from alerts.staleness import Verdict
from alerts.words import count, duration
from collector.latency import percentile_ns
from collector.ports import Volume

from .scope import Choice, Scope
from .shaping import spark, trend
from .theme import SIGNS, signed

WELL = (Verdict.UP, Verdict.NEW, Verdict.STOPPED)
STALE_SIGHT_S = 15.0

IS_WHAT: dict[Verdict, str] = {
    Verdict.DOWN: "is down",
    Verdict.UNREACHABLE: "can't be reached",
    Verdict.LOSSY: "loses events",
    Verdict.REFUSED: "is turned away",
    Verdict.FLAPPING: "is flapping",
    Verdict.LATE: "is late",
    Verdict.BLIND: "can't be seen",
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the store says of each application (`<region>/<service>`) over the period."""

    volume: Volume
    errors: Volume
    scope: Scope
    durations: Mapping[str, Mapping[int, int]]


def chosen(fleet: Fleet, choice: Choice) -> tuple[ServiceRow, ...]:
    """The services that the filters leave. Levels are of events, not of services: they don't count here."""
    return tuple(
        row
        for row in fleet.services
        if (not choice.regions or row.region in choice.regions)
        and (not choice.services or row.service in choice.services)
        and (not choice.versions or set(row.versions) & set(choice.versions))
    )


def sentence(rows: Sequence[ServiceRow], now: float) -> tuple[Verdict, str]:
    """What is wrong, where, since when: the worst first, the others counted. Plain text, with its verdict's sign."""
    wrong = [row for row in rows if row.verdict not in WELL]
    if not wrong:
        return Verdict.UP, f"{SIGNS[Verdict.UP][0]} {_all_well(rows)}"
    worst = wrong[0].verdict
    same = [row for row in wrong if row.verdict is worst]
    lasted = duration(now - min(row.since for row in same))
    sign = SIGNS[worst][0]
    if len(same) == 1:
        return worst, f"{sign} {same[0].service} {IS_WHAT[worst]} in {same[0].region} · {lasted}"
    regions = sorted({row.region for row in same})
    where = f" in {regions[0]}" if len(regions) == 1 else f" in {len(regions)} regions"
    does = {"is": "are", "loses": "lose"}
    verb, _, rest = IS_WHAT[worst].partition(" ")
    return worst, f"{sign} {len(same)} services {does.get(verb, verb)} {rest}{where} · {lasted}"


def _all_well(rows: Sequence[ServiceRow]) -> str:
    up = sum(row.verdict is not Verdict.STOPPED for row in rows)
    return f"all {up} services up" if up != 1 else "the one service is up"


def known(rows: Sequence[ServiceRow], fleet: Fleet) -> str:
    """What else is known: how many up, late, blind, stopped; whether every event is accounted for."""
    by = {verdict: sum(row.verdict is verdict for row in rows) for verdict in Verdict}
    words = [f"{by[Verdict.UP] + by[Verdict.NEW]} of {count(len(rows), 'service')} up"]
    words += [
        f"{by[verdict]} {word}"
        for verdict, word in (
            (Verdict.LATE, "late"),
            (Verdict.FLAPPING, "flapping"),
            (Verdict.REFUSED, "turned away"),
            (Verdict.LOSSY, "losing events"),
            (Verdict.UNREACHABLE, "unreachable"),
            (Verdict.STOPPED, "stopped"),
        )
        if by[verdict]
    ]
    blind = [sight for sight in fleet.sights if sight.blind]
    words.append(f"blind to {', '.join(sorted({sight.region for sight in blind}))}" if blind else "nothing blind")
    dropped = sum(dropped_of(row) for row in fleet.instances)
    words.append(f"{count(dropped, 'event')} dropped, each one counted" if dropped else "no event dropped")
    return " · ".join(words)


def watch_is_silent(fleet: Fleet, now: float) -> float | None:
    """Since when the watch itself has not looked; None while it does."""
    seen = [sight.last_canary_at for sight in fleet.sights]
    if not seen or any(sight.blind for sight in fleet.sights) or now - max(seen) < STALE_SIGHT_S:
        return None
    return max(seen)


def dropped_of(row: InstanceRow) -> int:
    """Events that this boot dropped, all of them counted."""
    return row.dropped or sum(stream.get("dropped", 0) for stream in row.streams.values())


def waiting_of(row: InstanceRow) -> int:
    """Events that have a number and are not known to be durable yet."""
    return sum(max(0, stream.get("last", 0) - stream.get("acked", 0)) for stream in row.streams.values())


def versions_words(versions: Iterable[str]) -> str:
    """`1.4.2`; `1.5.0 ▲ 1.4.2` while a newer one runs beside the older."""
    ordered = sorted(versions, key=_natural, reverse=True)
    return " ▲ ".join(ordered)


def _natural(version: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.findall(r"\d+|\D+", version)]


def ago(at: float, now: float) -> str:
    """`3 s ago`."""
    return f"{duration(float(max(0, round(now - at))))} ago"


def services_frame(rows: Sequence[ServiceRow], numbers: Numbers | None, now: float) -> pd.DataFrame:
    """The fleet's table, in the rows' order; without the store's numbers those columns are empty."""
    table = []
    for row in rows:
        volume = numbers.volume.series.get(row.key, ()) if numbers else ()
        errors = sum(numbers.errors.series.get(row.key, ())) if numbers else 0
        p95 = percentile_ns(numbers.durations.get(row.key, {}), 0.95) if numbers else None
        table.append(
            {
                "State": [signed(row.verdict)],
                "Service": row.service,
                "Region": row.region,
                "Last beat": ago(row.last_notify_time, now),
                "Live / min": f"{row.live} / {row.minimum}",
                "Version": versions_words(row.versions),
                "Zone": ", ".join(sorted(zone.removeprefix(f"{row.region}-") for zone in row.zones)),
                "Volume": spark(trend(numbers.volume, row.key, numbers.scope)) if numbers and any(volume) else None,
                "Errors": 100 * errors / sum(volume) if any(volume) else None,
                "p95": p95 / 1e6 if p95 is not None else None,
                "Why": why_words(row),
            }
        )
    return pd.DataFrame(table)


def why_words(row: ServiceRow) -> str:
    """Why the row stands as it does; nothing where all is well."""
    silenced = "silenced" if row.silenced else ""
    why = "" if row.verdict is Verdict.UP and row.live >= row.known else row.why
    return " · ".join(filter(None, (why, silenced)))


def instances_frame(rows: Sequence[InstanceRow], now: float) -> pd.DataFrame:
    """One service's instances."""
    return pd.DataFrame(
        [
            {
                "State": [signed(row.verdict)],
                "Instance": row.instance,
                "Last beat": ago(row.last_notify_time, now),
                "Allowed": duration(row.interval_s + row.grace_s),
                "Up for": duration(row.last_notify_time - row.started_at) if row.started_at else "",
                "Boot": row.boot[:8],
                "Restarts": row.restarts,
                "Version": row.version,
                "Zone": row.zone,
                "CPU": row.cpu_percent,
                "Memory": row.memory_bytes / 1e6 if row.memory_bytes is not None else None,
                "Queue": row.queue_events,
                "Dropped": dropped_of(row),
                "Why": "" if row.verdict is Verdict.UP else row.why,
            }
            for row in rows
        ]
    )


def deploys(fleet: Fleet, rows: Sequence[ServiceRow], start: float, end: float) -> list[tuple[float, str]]:
    """When a version first started beside an older one, within a period: (time, words)."""
    keys = {row.key for row in rows}
    first: dict[tuple[str, str], float] = {}
    for row in fleet.instances:
        if f"{row.region}/{row.service}" in keys and row.version and row.started_at:
            key = row.service, row.version
            first[key] = min(first.get(key, row.started_at), row.started_at)
    return [
        (at, f"{service} {version} starts")
        for (service, version), at in sorted(first.items(), key=lambda item: item[1])
        if start <= at < end and any(other == service and then < at for (other, _), then in first.items())
    ]
