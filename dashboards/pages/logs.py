"""Logs: find the line, read it in full, and follow its order or trace over all services."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from alerts.words import count
from collector.ports import Page, Volume, Where
from dashboards import parts, reading
from dashboards.board import Board
from dashboards.charts import LEVEL_SLOTS, marks_frame, volume_chart
from dashboards.controls import zoom_to
from dashboards.events_view import events_frame
from dashboards.figures import count as figure
from dashboards.figures import percent, rate, time_of
from dashboards.scope import Scope
from dashboards.shaping import rate_line, rates, spark, top_of, total, trend
from dashboards.tables import table

PAGE_LINES = 100
TAIL_LINES = 300
TAIL_S = 1.0
SELECTED = "logs_selected"
CURSORS = "logs_cursors"
TAIL = "logs_tail"


def page(board: Board) -> None:
    """Draw the page."""
    if reading.GOTO in st.session_state:
        st.session_state["id"] = st.session_state.pop(reading.GOTO)
    _find()
    followed = str(st.session_state.get("id") or "").strip()
    if followed:
        board.live(lambda: reading.path(board, followed), every_s=None)
        return
    board.headline(lambda: _headline(board))
    board.live(lambda: _overview(board))
    if st.session_state.get("follow"):
        board.live(lambda: _follow(board), every_s=TAIL_S)
    else:
        board.live(lambda: _found(board), every_s=None)


def _find() -> None:
    """What to look for; beside the controls that every page has."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="find"):
        for key, label, hint, icon in (
            ("q", "Search", "words in the message or the error", ":material/search:"),
            ("id", "Order, trace or label", "an order, a trace, any label's value", ":material/route:"),
        ):
            st.text_input(
                label,
                key=key,
                bind="query-params",
                placeholder=hint,
                icon=icon,
                label_visibility="collapsed",
                width=330,
            )
        st.toggle("Errors only", key="errors", bind="query-params")
        st.toggle("Follow live", key="follow", bind="query-params")


def _where(scope: Scope) -> Where:
    where = scope.where(errors=bool(st.session_state.get("errors")))
    return replace(where, text=str(st.session_state.get("q") or "").strip()[:200])


def _levels(board: Board) -> tuple[Scope, Volume]:
    scope = board.scope()
    return scope, board.questions.counts(_where(scope), scope.step_s, "level")


def _headline(board: Board) -> None:
    with board.reaching("store", quietly=lambda: parts.headline(":gray[◌] logs can't be read", "")):
        scope, volume = _levels(board)
        if not total(volume):
            parts.headline(":gray[○] nothing was logged in this period", board.period(scope))
            return
        wrong = sum(sum(volume.series.get(level, ())) for level in ("ERROR", "CRITICAL"))
        sign = ":orange[◔]" if wrong else ":green[●]"
        share = f" · {percent(wrong / total(volume))}" if wrong else ""
        errors = "no error" if not wrong else f"{figure(wrong)} {'error' if wrong == 1 else 'errors'}"
        found = "events fit the search" if st.session_state.get("q") else "events"
        parts.headline(
            f"{sign} {errors} in {figure(total(volume))} {found}{share}",
            f"{rate(total(volume) / scope.seconds)} on average · {board.period(scope)}",
        )


def _overview(board: Board) -> None:
    """Five figures and the levels over time."""
    with board.reaching("store", quietly=lambda: None):
        scope, volume = _levels(board)
        peak = top_of(volume, scope)
        if peak is None:
            return
        shown = [
            parts.Figure("Events", figure(total(volume)), line=spark(rate_line(volume, scope)), note="in this period")
        ]
        for label, level, colour in (
            ("Info", "INFO", "primary"),
            ("Warnings", "WARNING", "orange"),
            ("Errors", "ERROR", "orange"),
            ("Critical", "CRITICAL", "red"),
        ):
            counts = volume.series.get(level, ())
            note = percent(sum(counts) / total(volume))
            shown.append(
                parts.Figure(
                    label,
                    figure(sum(counts)),
                    None,
                    note,
                    colour if sum(counts) else "gray",  # type: ignore[arg-type]
                    spark(trend(volume, level, scope) or [0] * len(volume.times)),
                )
            )
        parts.figures(shown)
        with st.container(key="charts"), st.container(border=True):
            at = time_of(peak.at, board.zone)
            parts.title("Events a second by level", f"most at {at}, {rate(peak.per_s)}")
            marks = marks_frame(peak=(peak.at, peak.per_s, f"{rate(peak.per_s)} · {at}"))
            drawn = volume_chart(rates(volume, scope, list(LEVEL_SLOTS)), marks, LEVEL_SLOTS, brush=True, height=150)
            span = parts.brushed_chart(drawn, "Events a second by level", f"logs-{board.choice.zoom}")
            if span is not None:
                zoom_to(span)


def _found(board: Board) -> None:
    """One page of what was found, newest first. It stands still, so that it can be read."""
    with board.reaching("store"):
        scope = board.scope()
        where = _where(scope)
        if board.choice.zoom is None:
            where = replace(where, end=board.clock.time() + 60)
        cursors = _cursors(where)
        hits = board.questions.search(where, Page(PAGE_LINES, cursors[-1] if cursors else None))
        if not hits.events and not cursors:
            _nothing(board, scope)
            return
        picked = reading.pick_event(board, hits.events, "Events, the newest first", SELECTED)
        _pager(cursors, len(hits.events), hits.next)
        if picked is not None:
            reading.in_full(board, picked)


def _cursors(where: Where) -> list[str]:
    """The pages behind us; forgotten once the question is another."""
    asked = replace(where, start=0, end=0)
    held = st.session_state.get(CURSORS)
    if held is None or held[0] != asked:
        held = st.session_state[CURSORS] = (asked, [])
    cursors: list[str] = held[1]
    return cursors


def _pager(cursors: list[str], lines: int, next: str | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("Newer", icon=":material/chevron_left:", disabled=not cursors, on_click=_newer, args=(cursors,))
        st.button(
            "Older", icon=":material/chevron_right:", disabled=next is None, on_click=cursors.append, args=(next,)
        )
        st.button("Newest", icon=":material/refresh:", help="Ask again for the newest.", on_click=cursors.clear)
        first = len(cursors) * PAGE_LINES
        st.markdown(f":gray[{first + 1:,} to {first + lines:,}{', and older ones' if next else ', the oldest'}]")


def _newer(cursors: list[str]) -> None:
    if cursors:
        cursors.pop()


def _nothing(board: Board, scope: Scope) -> None:
    asked = st.session_state.get("q") or st.session_state.get("errors") or board.choice.filters
    if asked:
        parts.quiet(f"Nothing fits between {board.period(scope)}. A longer period or fewer filters may.")
    else:
        parts.empty("Nothing was logged in this period")


def _follow(board: Board) -> None:
    """What comes in, as it comes in: the newest first, the last few hundred."""
    with board.reaching("store"):
        where = _where(board.scope())
        asked = replace(where, start=0, end=0)
        held = st.session_state.get(TAIL)
        if held is None or held[0] != asked:
            # The cursor first: what comes in between the two is then in both, and not in neither.
            cursor = board.questions.tail(where, None, TAIL_LINES).after
            newest = board.questions.search(replace(where, end=board.clock.time() + 60), Page(50)).events
            held = (asked, cursor, newest)
        came = board.questions.tail(where, held[1], TAIL_LINES)
        lines = tuple({event.id: event for event in (*reversed(came.events), *held[2])}.values())[:TAIL_LINES]
        st.session_state[TAIL] = (asked, came.after, lines)
        now = time_of(board.clock.time(), board.zone, seconds=True)
        parts.title("Following", f"{count(len(came.events), 'new line')} at {now} · turn it off to open a line")
        if lines:
            table(events_frame(lines, board.zone), reading.event_columns(), "Events as they come in", most=18)
        else:
            parts.quiet("nothing has come in yet")
