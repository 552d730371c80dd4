"""What the boards say of incidents, worked out from their rows. Pure: no state, no Streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import pandas as pd

from alerts.incidents import Incident, Severity, Status
from alerts.words import count, duration

from .encodings import AMBER, MUTED, RED
from .figures import moment
from .scope import Choice, Scope
from .shaping import SPARK_POINTS
from .theme import incident_look

BAR_POINTS = 30


def chosen(incidents: Sequence[Incident], choice: Choice) -> list[Incident]:
    """The incidents that the filters leave; what concerns a whole region passes a filter on services."""
    return [
        each
        for each in incidents
        if (not choice.regions or not each.region or each.region in choice.regions)
        and (not choice.services or not each.service or each.service in choice.services)
    ]


def opened(incidents: Sequence[Incident]) -> list[Incident]:
    """Those that are open, pages before warnings, unacknowledged before acknowledged, oldest first."""
    found = [each for each in incidents if each.status in (Status.FIRING, Status.ACKNOWLEDGED)]
    return sorted(
        found,
        key=lambda each: (each.status is Status.ACKNOWLEDGED, each.severity is Severity.WARNING, each.began_at),
    )


def within(incidents: Sequence[Incident], start: float, end: float) -> list[Incident]:
    """Those that were open at any time within a period."""
    return [
        each
        for each in incidents
        if each.status is not Status.PENDING and each.began_at < end and (each.resolved_at or end) >= start
    ]


def sentence(incidents: Sequence[Incident], now: float) -> tuple[str, str, str]:
    """Sign, colour and words of what is open."""
    still = opened(incidents)
    if not still:
        return "●", "green", "nothing is wrong"
    sign, colour = incident_look(still[0])
    first = f"{place_words(still[0])} · {duration(now - still[0].began_at)}"
    more = f" · and {len(still) - 1} more" if len(still) > 1 else ""
    return sign, colour, first + more


def place_words(incident: Incident) -> str:
    """The summary; it says what and where."""
    return incident.summary or " ".join(filter(None, (incident.service, incident.kind, incident.region)))


def lasted(incident: Incident, now: float) -> float:
    """How long it has been, or was, wrong; seconds."""
    return (incident.resolved_at or now) - incident.began_at


def undelivered(incidents: Sequence[Incident]) -> int:
    """Notices that have not reached anybody yet."""
    return sum(notice.delivered_at is None for each in incidents for notice in each.notices)


def told_line(incidents: Sequence[Incident]) -> list[float]:
    """The time from going wrong to the first notice delivered, the oldest incident first."""
    return [
        min(notice.delivered_at for notice in each.notices if notice.delivered_at is not None) - each.began_at
        for each in sorted(incidents, key=lambda each: each.began_at)
        if any(notice.delivered_at is not None for notice in each.notices)
    ]


def open_line(incidents: Sequence[Incident], start: float, end: float) -> list[float]:
    """How many were open at each of SPARK_POINTS moments of a period."""
    moments = [start + (end - start) * (point + 1) / SPARK_POINTS for point in range(SPARK_POINTS)]
    return [float(sum(each.began_at <= at < (each.resolved_at or end + 1) for each in incidents)) for at in moments]


def began_line(times: Sequence[float], start: float, end: float) -> list[float]:
    """How many of the times lie in each of BAR_POINTS equal parts of a period."""
    line = [0.0] * BAR_POINTS
    for at in times:
        if start <= at < end:
            line[int((at - start) / (end - start) * BAR_POINTS)] += 1
    return line


def lengths_line(incidents: Sequence[Incident]) -> list[float]:
    """How long each resolved one lasted, the oldest first."""
    over = [each for each in incidents if each.resolved_at is not None]
    return [lasted(each, 0.0) for each in sorted(over, key=lambda each: each.began_at)]


def notices_frame(incident: Incident, zone: tzinfo, now: float) -> pd.DataFrame:
    """Who was told, when, or why not yet."""
    return pd.DataFrame(
        [
            {
                "Notice": notice.turn,
                "By": notice.notifier,
                "Delivered": f"● {moment(notice.delivered_at, zone, now, seconds=True)}"
                if notice.delivered_at is not None
                else f"◔ not yet, next try {moment(notice.next_at, zone, now, seconds=True)}",
                "Tries": notice.attempts,
                "Last error": notice.error,
            }
            for notice in incident.notices
        ]
    )


def history_frame(incidents: Sequence[Incident], zone: tzinfo, now: float) -> pd.DataFrame:
    """What is over, newest first."""
    return pd.DataFrame(
        [
            {
                "Was": [each.kind.upper()],
                "What": place_words(each),
                "Began": moment(each.began_at, zone, now, seconds=True),
                "Lasted": duration(lasted(each, now)),
                "Told": f"{sum(n.delivered_at is not None for n in each.notices)}/{len(each.notices)}",
                "Acknowledged by": each.acknowledged_by,
                "Why": each.why,
            }
            for each in incidents
        ]
    )


def spans_frame(incidents: Sequence[Incident], scope: Scope) -> pd.DataFrame:
    """Incidents as bars over a period, cut to it."""
    rows: list[dict[str, Any]] = [
        {
            "t": max(each.began_at, scope.start) * 1_000,
            "t2": min(each.resolved_at or scope.end, scope.end) * 1_000,
            "lane": " · ".join(filter(None, (each.service or each.kind, each.region))),
            "series": _ink(each),
            "words": place_words(each),
            "lasted": duration(lasted(each, scope.end)) + ("" if each.resolved_at else ", still open"),
            "kind": "value",
        }
        for each in incidents
    ]
    rows += [{"t": at * 1_000, "kind": "bounds"} for at in (scope.start, scope.end)]
    return pd.DataFrame(rows, columns=["t", "t2", "lane", "series", "words", "lasted", "kind"])


def _ink(incident: Incident) -> str:
    if incident.kind in ("blind", "stopped"):
        return MUTED
    return RED if incident.severity is Severity.PAGE else AMBER


def lines_of(incidents: Sequence[Incident], scope: Scope, most: int = 12) -> list[tuple[float, str]]:
    """When incidents began within a period: (time, words), the latest of them."""
    began = [(each.began_at, place_words(each)) for each in within(incidents, scope.start, scope.end)]
    return sorted(line for line in began if scope.start <= line[0] < scope.end)[-most:]


def counted(incidents: Sequence[Incident]) -> str:
    """`2 open · 1 acknowledged`."""
    still = opened(incidents)
    known = sum(each.status is Status.ACKNOWLEDGED for each in still)
    words = [count(len(still) - known, "open incident") if still else "no open incident"]
    return " · ".join(words + ([f"{known} acknowledged"] if known else []))
