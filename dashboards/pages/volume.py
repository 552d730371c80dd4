"""Volume: how much, from whom, when was the peak; against the period before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from alerts.fleet import Fleet
from collector.ports import Peak, Volume
from dashboards import parts
from dashboards.board import Board
from dashboards.charts import LEVEL_SLOTS, marks_frame, volume_chart
from dashboards.controls import zoom_to
from dashboards.figures import NOTHING, change, count, moment, percent, rate
from dashboards.fleet_view import deploys
from dashboards.incidents_view import chosen, lines_of
from dashboards.scope import Scope, split
from dashboards.shaping import Top, ranked, rate_line, rates, ratio_line, spark, sums, top_of, total, trend
from dashboards.tables import Columns, cc, table
from shippers.errors import Unavailable

BY = ("service", "region", "level")
PEAKS = 8


def page(board: Board) -> None:
    """Draw the page."""
    board.headline(lambda: _headline(board))
    board.live(lambda: _body(board))


def _by() -> str:
    # The control stands in the chart's card, below what needs it: on the first run of a page only the URL knows.
    asked = st.session_state.get("by") or st.query_params.get("by")
    return asked if asked in BY else BY[0]


def _headline(board: Board) -> None:
    scope = board.scope()
    with board.reaching("store", quietly=lambda: parts.headline(":gray[◌] volume can't be read", "")):
        volume, before = split(_volume(board, scope), scope)
        peak = top_of(volume, scope)
        if peak is None:
            parts.headline(":gray[○] nothing was logged in this period", f"{board.period(scope)}")
            return
        who = parts.plain(peak.name) or "no name"
        at = moment(peak.at, board.zone, scope.end)
        moved = change(total(volume) / scope.seconds, total(before) / scope.shift_s)
        against = f"{moved} on {scope.before_words}" if moved else "nothing to compare with"
        parts.headline(
            f"peak {rate(peak.per_s)} at {at} · {who} {percent(peak.share)}",
            f"{count(total(volume))} events · {against} · {board.period(scope)}",
        )


def _volume(board: Board, scope: Scope) -> Volume:
    return board.questions.volume(scope, _by(), before=board.choice.compare)


def _body(board: Board) -> None:
    with board.reaching("store"):
        scope = board.scope()
        volume, before = split(_volume(board, scope), scope)
        if not total(volume) and not total(before):
            parts.empty("Nothing was logged in this period")
            return
        errors, errors_before = split(
            board.questions.volume(scope, _by(), before=board.choice.compare, errors=True), scope
        )
        peak = top_of(volume, scope)
        _figures(board, scope, peak, (volume, before, errors, errors_before))
        with st.container(key="charts"):
            _chart(board, scope, volume, before, peak)
        left, right = st.columns([3, 2], gap="small")
        with left, st.container(border=True, height="stretch"):
            _split_table(scope, volume, before, errors)
        with right, st.container(border=True, height="stretch"):
            _peaks_table(board, scope)


def _figures(board: Board, scope: Scope, peak: Top | None, seen: tuple[Volume, Volume, Volume, Volume]) -> None:
    volume, before, errors, errors_before = seen
    line = spark(rate_line(volume, scope))
    moved = change(total(volume) / scope.seconds, total(before) / scope.shift_s)
    note = "vs before"
    share = total(errors) / total(volume) if total(volume) else None
    share_before = total(errors_before) / total(before) if total(before) else None
    worse = bool(share and share_before and share > 0.005 and share > 1.5 * share_before)
    live = sum(sums(board.questions.live(scope))) / 60
    parts.figures(
        [
            parts.Figure("Events a second", rate(live), None, "in the last minute", line=line),
            parts.Figure("Events", count(total(volume)), moved, note if moved else "in this period", line=line),
            parts.Figure(
                "Peak",
                rate(peak.per_s) if peak else NOTHING,
                None,
                f"at {moment(peak.at, board.zone, scope.end)}" if peak else None,
                "gray",
                line,
            ),
            parts.Figure(
                "Peak over mean",
                f"× {peak.per_s / (total(volume) / scope.seconds):.1f}" if peak else NOTHING,
                None,
                f"mean {rate(total(volume) / scope.seconds)}",
                "gray",
                line,
            ),
            parts.Figure(
                "Errors",
                percent(share),
                change(share, share_before),
                note if share_before else f"{count(total(errors))} events",
                "orange" if worse else "primary",
                spark(ratio_line(errors, volume)),
            ),
        ]
    )


def _chart(board: Board, scope: Scope, volume: Volume, before: Volume, peak: Top | None) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            found = ""
            if peak is not None:
                at = moment(peak.at, board.zone, scope.end)
                found = f"peak {rate(peak.per_s)} at {at}, {parts.plain(peak.name)} {percent(peak.share)}"
            parts.title("Events a second", found + (" · dashed: the period before" if total(before) else ""))
            st.segmented_control(
                "Split by",
                BY,
                default=BY[0],
                required=True,
                key="by",
                bind="query-params",
                label_visibility="collapsed",
            )
        if peak is None:
            parts.quiet("nothing was logged in this period; the period before had something")
            return
        slots = _slots(board, volume)
        marks = marks_frame(
            peak=(peak.at, peak.per_s, f"{rate(peak.per_s)} · {moment(peak.at, board.zone, scope.end)}"),
            before=_before(scope, before),
            **_happened(board, scope),
        )
        drawn = volume_chart(rates(volume, scope, list(slots)), marks, slots, brush=True)
        span = parts.brushed_chart(drawn, f"Events a second by {_by()}, stacked", f"volume-{_by()}-{board.choice.zoom}")
        if span is not None:
            zoom_to(span)


def _slots(board: Board, volume: Volume) -> Mapping[str, int]:
    return LEVEL_SLOTS if _by() == "level" else board.slots_by_size(volume)


def _before(scope: Scope, before: Volume) -> list[tuple[float, float]]:
    if not total(before):
        return []
    line = rate_line(before, scope)
    return [
        (at + scope.shift_s, value)
        for at, value in zip(before.times, line, strict=False)
        if at + scope.shift_s < scope.end
    ]


def _happened(board: Board, scope: Scope) -> dict[str, list[tuple[float, str]]]:
    """Incidents and deploys; a chart of volume can do without them."""
    try:
        fleet: Fleet = board.questions.fleet()
        incidents = lines_of(chosen(board.questions.incidents(), board.choice), scope)
    except Unavailable:
        return {}
    return {"incidents": incidents, "deploys": deploys(fleet, fleet.services, scope.start, scope.end)}


def _split_table(scope: Scope, volume: Volume, before: Volume, errors: Volume) -> None:
    parts.title(f"By {_by()}", "the biggest first")
    whole = total(volume) or 1
    rows = []
    for name in ranked(volume)[:100]:
        mine, then = sum(volume.series[name]), sum(before.series.get(name, ()))
        wrong = sum(errors.series.get(name, ()))
        moved = change(mine / scope.seconds, then / scope.shift_s)
        rows.append(
            {
                _by().capitalize(): name or "(none)",
                "Events": mine,
                "Share": 100 * mine / whole,
                "Trend": spark(trend(volume, name, scope)),
                "Before": moved or ("new" if total(before) else ""),
                "Errors": 100 * wrong / mine if mine else None,
            }
        )
    columns: Columns = {
        "Events": cc.NumberColumn(format="localized"),
        "Share": cc.ProgressColumn(format="%.1f %%", min_value=0, max_value=100),
        "Trend": cc.AreaChartColumn(y_min=0, width=140),
        "Before": cc.TextColumn("On before", width=84, alignment="right"),
        "Errors": cc.NumberColumn(format="%.2f %%", width=84),
    }
    table(pd.DataFrame(rows), columns, f"Volume by {_by()}", most=9)


def _peaks_table(board: Board, scope: Scope) -> None:
    step_s = min(60.0, scope.step_s)
    peaks: Sequence[Peak] = board.questions.peaks(scope, step_s, _by(), PEAKS)
    parts.title("Busiest minutes" if step_s == 60 else f"Busiest {step_s:.0f} seconds", "the highest first")
    frame = pd.DataFrame(
        [
            {
                "At": moment(each.at, board.zone, scope.end, seconds=step_s < 60),
                "Height": rate(each.count / step_s),
                "Events": each.count,
                "Most from": each.top or "(none)",
                "Its share": 100 * each.top_count / each.count,
            }
            for each in peaks
        ]
    )
    columns: Columns = {
        "At": cc.TextColumn(width=118),
        "Events": cc.NumberColumn(format="localized"),
        "Its share": cc.ProgressColumn(format="%.0f %%", min_value=0, max_value=100),
    }
    table(frame, columns, "The busiest steps", most=9)
