"""One event in full, and one order's (or trace's) way over all services: what a line of the log leads to."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from alerts.words import count
from collector.memory import is_error
from collector.ports import Event

from . import parts
from .board import Board
from .events_view import events_frame, facts, jumps, path_frame, stamp
from .figures import latency, moment
from .spans import path_chart
from .tables import Columns, cc, level_column, pick

GOTO = "logs_goto"
PATH_BARS = 40
PATH_EARLIER_S = 3_600.0


def event_columns() -> Columns:
    """How a list of events is set."""
    return {
        "Time": cc.TextColumn(width=150),
        "Level": level_column(),
        "Service": cc.TextColumn(width=120),
        "Message": cc.TextColumn(width=560),
        "Took": cc.TextColumn(width=76, alignment="right"),
    }


def pick_event(board: Board, events: Sequence[Event], alt: str, key: str) -> Event | None:
    """A list of events to pick one of."""
    keys = [event.id for event in events]
    picked = pick(events_frame(events, board.zone), keys, event_columns(), alt, key, most=16)
    return events[keys.index(picked)] if picked is not None else None


def in_full(board: Board, event: Event) -> None:
    """Everything that is known of an event, and where one can go from it."""
    with st.container(border=True, key="event"):
        parts.title(f"{event.service} · {stamp(event.at, board.zone)}", "the whole event")
        st.code(event.message or event.action or "(no message)", language=None, wrap_lines=True)
        found = jumps(event)
        if found:
            with st.container(horizontal=True, gap="xsmall"):
                for name, value in found[:5]:
                    short = value if len(value) <= 24 else value[:23] + "…"
                    label = f"Same {parts.plain(name)} {parts.plain(short)}"
                    if st.button(label, icon=":material/route:", key=f"jump-{event.id}-{name}"):
                        st.session_state[GOTO] = value
                        st.rerun()
        left, right = st.columns(2, gap="medium")
        with left:
            _pairs("Event", facts(event, board.zone))
        with right:
            _pairs("Labels", dict(event.labels))
            _pairs("Measures", {name: f"{value:g}" for name, value in event.measures.items()})
        if event.error_stack:
            st.markdown("**Stack**")
            st.code(event.error_stack, language="python", wrap_lines=True)


def _pairs(name: str, pairs: dict[str, str]) -> None:
    st.markdown(f"**{name}**")
    if not pairs:
        st.markdown(":gray[none]")
        return
    frame = pd.DataFrame({"name": list(pairs), "value": list(pairs.values())})
    columns: Columns = {"name": cc.TextColumn("Name", width=110), "value": cc.TextColumn("Value", width=260)}
    st.dataframe(frame, column_config=columns, hide_index=True, row_height=28, alt=name, height="content")


def path(board: Board, id: str) -> None:
    """All events that bear an id, over all services, in the order of time."""
    with board.reaching("store"):
        scope = board.scope()
        events = board.questions.correlate(id, scope.start - PATH_EARLIER_S, scope.end + 60)
        if not events:
            with board.head:
                parts.headline(":gray[○] nothing bears this id", f"{parts.plain(id)} · {board.period(scope)}")
            parts.quiet(
                "An id must be exact: an order, a trace, a transaction, or any label's value. Try a longer period."
            )
            return
        with board.head:
            _path_headline(board, id, events)
        names = list(dict.fromkeys(event.service for event in events))
        with st.container(border=True):
            parts.title("The way it took", f"{count(len(names), 'service')}, in the order of time")
            slots = board.slots(names)
            parts.chart(
                path_chart(path_frame(events[:PATH_BARS], slots), slots),
                "A bar for each event, from its start to its end, by service",
            )
        picked = pick_event(board, events, "All its events, the oldest first", "path_selected")
        if picked is not None:
            in_full(board, picked)


def _path_headline(board: Board, id: str, events: Sequence[Event]) -> None:
    wrong = [event for event in events if is_error(event)]
    sign = ":red[✖]" if wrong else ":green[●]"
    took = events[-1].at - min(event.at - (event.duration_ns or 0) / 1e9 for event in events)
    end = f"{count(len(wrong), 'error')}, the first in {parts.plain(wrong[0].service)}" if wrong else "no error"
    services = len({event.service for event in events})
    where = ", ".join(sorted({event.region for event in events}))
    began = moment(events[0].at, board.zone, board.clock.time(), seconds=True)
    parts.headline(
        f"{sign} {parts.plain(id)} · {count(len(events), 'event')} in {count(services, 'service')} · "
        f"{latency(took * 1e9)}",
        f"{end} · began {began} · {parts.plain(where)}",
    )
