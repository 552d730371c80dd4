"""The upper half of the Fleet page: five figures and two charts over everything that is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from alerts.fleet import Fleet, ServiceRow
from alerts.incidents import Incident
from collector.latency import percentile_ns
from collector.ports import Latency, Volume

from . import parts
from .board import Board
from .charts import heat_chart, marks_frame, volume_chart
from .controls import zoom_to
from .figures import NOTHING, change, count, latency, moment, percent, rate
from .fleet_view import deploys, dropped_of, waiting_of
from .incidents_view import chosen, lines_of
from .scope import Scope, split
from .shaping import (
    coarse,
    counts_of,
    heat,
    merge_series,
    percentile_line,
    rate_line,
    rates,
    ratio_line,
    spark,
    sums,
    top_of,
    total,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the store says of a period and of the one before, by application; `live` is the last minute."""

    scope: Scope
    live: Volume
    volume: Volume
    volume_before: Volume
    errors: Volume
    errors_before: Volume
    durations: Latency


def ask(board: Board, scope: Scope) -> Seen:
    """Four questions. Raises Unavailable."""
    before = board.choice.compare
    volume = split(board.questions.volume(scope, "application", before=before), scope)
    errors = split(board.questions.volume(scope, "application", before=before, errors=True), scope)
    durations = board.questions.latency(scope, before=before)
    return Seen(scope, board.questions.live(scope), *volume, *errors, durations)


def figures(board: Board, seen: Seen, fleet: Fleet) -> None:
    """Events a second, the peak, p95, errors, and what was dropped."""
    parts.figures(
        [*_volume_figures(board, seen), _latency_figure(seen), _error_figure(seen), _dropped_figure(board, fleet)]
    )


def _volume_figures(board: Board, seen: Seen) -> list[parts.Figure]:
    scope, peak = seen.scope, top_of(seen.volume, seen.scope)
    line = spark(rate_line(seen.volume, scope))
    moved = change(total(seen.volume) / scope.seconds, total(seen.volume_before) / scope.shift_s)
    now = parts.Figure(
        "Events a second",
        rate(sum(sums(seen.live)) / 60),
        moved,
        "vs before" if moved else "in the last minute",
        line=line,
        help="Over the last minute. The change is that of the whole period against the one before.",
    )
    where = f"at {moment(peak.at, board.zone, scope.end)}" if peak else None
    return [now, parts.Figure("Peak", rate(peak.per_s) if peak else NOTHING, None, where, "gray", line)]


def _latency_figure(seen: Seen) -> parts.Figure:
    scope = seen.scope
    p95 = percentile_ns(counts_of(seen.durations, scope.start), 0.95)
    before = percentile_ns(counts_of(seen.durations, scope.before_start, scope.start), 0.95)
    slower = bool(p95 and before and p95 > 1.25 * before)
    line = spark([value for _, value in percentile_line(coarse(seen.durations, scope), 0.95, scope.start)])
    note = "vs before" if before else "19 of 20 take less"
    return parts.Figure("p95 latency", latency(p95), change(p95, before), note, "orange" if slower else "primary", line)


def _error_figure(seen: Seen) -> parts.Figure:
    share = total(seen.errors) / total(seen.volume) if total(seen.volume) else None
    before = total(seen.errors_before) / total(seen.volume_before) if total(seen.volume_before) else None
    worse = bool(share and before and share > 0.005 and share > 1.5 * before)
    return parts.Figure(
        "Errors",
        percent(share),
        change(share, before),
        "vs before" if before else f"{count(total(seen.errors))} events",
        "orange" if worse else "primary",
        spark(ratio_line(seen.errors, seen.volume)),
        help="Events of level ERROR and worse, or with outcome failure.",
    )


def _dropped_figure(board: Board, fleet: Fleet) -> parts.Figure:
    dropped = sum(map(dropped_of, fleet.instances))
    waiting = sum(map(waiting_of, fleet.instances))
    return parts.Figure(
        "Dropped",
        f"{dropped:,}",
        None,
        f"{waiting:,} on their way" if waiting else "all sent ones are durable",
        "orange" if dropped else "green",
        board.questions.waited(waiting),
        help="Events that services had to give up, as their heartbeats count them; on their way are those that have "
        "a number and are not known to be durable yet; the line is theirs.",
    )


def charts(board: Board, seen: Seen, fleet: Fleet, rows: tuple[ServiceRow, ...], incidents: Sequence[Incident]) -> None:
    """Volume by service with what happened meanwhile, and latency as a heat map."""
    lines = lines_of(chosen(incidents, board.choice), seen.scope)
    starts = deploys(fleet, rows, seen.scope.start, seen.scope.end)
    left, right = st.columns([3, 2], gap="small")
    with left, st.container(border=True, height="stretch"):
        _volume_chart(board, seen, lines, starts)
    with right, st.container(border=True, height="stretch"):
        columns = coarse(seen.durations, seen.scope)
        cells = heat(columns, seen.scope)
        parts.title("Latency", "denser is more requests, the line is p95" if len(cells) else "")
        if len(cells):
            line = percentile_line(columns, 0.95, seen.scope.start)
            parts.chart(heat_chart(cells, line), "Heat map of latency over time, with p95 as a line")
        else:
            parts.quiet("no event of this period says how long it took")


def _volume_chart(
    board: Board, seen: Seen, incidents: Sequence[tuple[float, str]], starts: Sequence[tuple[float, str]]
) -> None:
    scope = seen.scope
    by_service = merge_series(seen.volume, lambda key: key.partition("/")[2])
    peak = top_of(by_service, scope)
    if peak is None:
        parts.title("Volume by service", "")
        parts.quiet("nothing was logged in this period")
        return
    at = moment(peak.at, board.zone, scope.end)
    parts.title("Volume by service", f"peak {rate(peak.per_s)} at {at}, {parts.plain(peak.name)} {percent(peak.share)}")
    slots = board.slots_by_size(by_service)
    marks = marks_frame(
        peak=(peak.at, peak.per_s, f"{rate(peak.per_s)} · {at}"),
        incidents=incidents,
        deploys=starts,
    )
    drawn = volume_chart(rates(by_service, scope, list(slots)), marks, slots, brush=True)
    span = parts.brushed_chart(drawn, "Events a second by service, stacked", f"fleet-volume-{board.choice.zoom}")
    if span is not None:
        zoom_to(span)
