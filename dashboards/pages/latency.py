"""Latency: how long things take, for most, for the unlucky, and which service is slow; against the period before."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from collector.latency import percentile_ns
from collector.ports import Latency
from dashboards import parts
from dashboards.board import Board
from dashboards.charts import heat_chart, latency_chart, marks_frame
from dashboards.controls import zoom_to
from dashboards.figures import change, count, latency, moment
from dashboards.scope import Scope
from dashboards.shaping import coarse, counts_by, counts_of, heat, percentile_frame, percentile_line, spark
from dashboards.tables import Columns, cc, table

QUANTILES = (
    ("p50", 0.50, "half take less"),
    ("p90", 0.90, "9 of 10 take less"),
    ("p95", 0.95, "19 of 20 take less"),
    ("p99", 0.99, "99 of 100 take less"),
)
FEWEST_BEFORE = 3  # fewer points are no line


def page(board: Board) -> None:
    """Draw the page."""
    board.headline(lambda: _headline(board))
    board.live(lambda: _body(board))


def _ask(board: Board, scope: Scope) -> Latency:
    return board.questions.latency(scope, before=board.choice.compare)


def _by_service(board: Board, scope: Scope) -> dict[str, dict[int, int]]:
    return counts_by(board.questions.latency(scope, "service", whole=True))


def _headline(board: Board) -> None:
    scope = board.scope()
    with board.reaching("store", quietly=lambda: parts.headline(":gray[◌] latency can't be read", "")):
        found = _ask(board, scope)
        now, before = counts_of(found, scope.start), counts_of(found, scope.before_start, scope.start)
        p95, p95_before = percentile_ns(now, 0.95), percentile_ns(before, 0.95)
        if p95 is None:
            parts.headline(":gray[○] nothing in this period says how long it took", board.period(scope))
            return
        services = _by_service(board, scope)
        slowest = max(services, key=lambda name: percentile_ns(services[name], 0.95) or 0)
        its_p95 = latency(percentile_ns(services[slowest], 0.95))
        moved = change(p95, p95_before)
        known = [f"{count(sum(now.values()))} timed", f"p95 {moved} on {scope.before_words}" if moved else ""]
        parts.headline(
            f"95 of 100 take under {latency(p95)} · {parts.plain(slowest)} is slowest, {its_p95}",
            " · ".join(filter(None, [*known, board.period(scope)])),
        )


def _body(board: Board) -> None:
    with board.reaching("store"):
        scope = board.scope()
        found = _ask(board, scope)
        if not counts_of(found, scope.start):
            parts.empty("Nothing in this period says how long it took")
            return
        _figures(scope, found)
        with st.container(key="charts"):
            left, right = st.columns(2, gap="small")
            with left, st.container(border=True, height="stretch"):
                _lines(board, scope, found)
            with right, st.container(border=True, height="stretch"):
                parts.title("Where requests lie", "denser is more of them, the line is p95")
                columns = coarse(found, scope)
                line = percentile_line(columns, 0.95, scope.start)
                parts.chart(heat_chart(heat(columns, scope), line), "Heat map of latency over time, with p95 as a line")
        with st.container(border=True):
            _services(board, scope)


def _figures(scope: Scope, found: Latency) -> None:
    now, before = counts_of(found, scope.start), counts_of(found, scope.before_start, scope.start)
    columns = coarse(found, scope)
    shown = []
    for label, q, meaning in QUANTILES:
        value, then = percentile_ns(now, q), percentile_ns(before, q)
        slower = bool(value and then and value > 1.25 * then)
        line = spark([ms for _, ms in percentile_line(columns, q, scope.start)])
        note = "vs before" if then else meaning
        shown.append(
            parts.Figure(label, latency(value), change(value, then), note, "orange" if slower else "primary", line)
        )
    timed = [sum(step.values()) for step in columns.series.get("", ())]
    shown.append(
        parts.Figure(
            "Timed", count(sum(now.values())), None, "events with a duration", "gray", spark(timed[:-1] or timed)
        )
    )
    parts.figures(shown)


def _lines(board: Board, scope: Scope, found: Latency) -> None:
    columns, earlier = coarse(found, scope), coarse(found, scope.earlier)
    line = percentile_line(columns, 0.95, scope.start)
    at, worst = max(line, key=lambda point: point[1])
    before = [(at_ + scope.shift_s, ms) for at_, ms in percentile_line(earlier, 0.95, scope.before_start, scope.start)]
    before = [(at_, ms) for at_, ms in before if at_ < scope.end]
    if len(before) < FEWEST_BEFORE:
        before = []
    finding = f"p95 was highest at {moment(at, board.zone, scope.end)}, {latency(worst * 1e6)}"
    parts.title("Percentiles", finding + (" · dashed: p95 before" if before else ""))
    drawn = latency_chart(percentile_frame(columns, scope.start), marks_frame(before=before))
    span = parts.brushed_chart(drawn, "p50, p95 and p99 over time", f"latency-{board.choice.zoom}")
    if span is not None:
        zoom_to(span)


def _services(board: Board, scope: Scope) -> None:
    now = _by_service(board, scope)
    before = _by_service(board, scope.earlier) if board.choice.compare else {}
    parts.title("By service", "the slowest first")
    rows = []
    for name in sorted(now, key=lambda each: -_ms(now[each], 0.95))[:100]:
        counts = now[name]
        p95, then = percentile_ns(counts, 0.95), percentile_ns(before.get(name, {}), 0.95)
        rows.append(
            {
                "Service": name,
                "p50": _ms(counts, 0.50),
                "p95": _ms(counts, 0.95),
                "p99": _ms(counts, 0.99),
                "Timed": sum(counts.values()),
                "On before": change(p95, then) or "",
                "Why": _why(p95, then, scope),
            }
        )
    columns: Columns = {name: cc.NumberColumn(format="%,.1f ms") for name in ("p50", "p95", "p99")}
    columns |= {
        "Timed": cc.NumberColumn(format="localized"),
        "On before": cc.TextColumn("p95 on before", alignment="right"),
        "Why": cc.TextColumn(width=360),
    }
    table(pd.DataFrame(rows), columns, "Latency by service, the slowest first")


def _ms(counts: dict[int, int], q: float) -> float:
    return (percentile_ns(counts, q) or 0) / 1e6


def _why(p95: float | None, before: float | None, scope: Scope) -> str:
    if not p95 or not before:
        return ""
    if p95 > 1.25 * before:
        return f"◔ slower: p95 was {latency(before)} in {scope.before_words}"
    return f"faster: p95 was {latency(before)} in {scope.before_words}" if p95 < 0.8 * before else ""
