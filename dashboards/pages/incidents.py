"""Incidents: what is wrong, why, who was told; to acknowledge, to silence; and what is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from alerts.book import acknowledge
from alerts.incidents import Incident, Severity, Status
from alerts.words import count, duration
from dashboards import parts
from dashboards.board import Board
from dashboards.figures import NOTHING, moment, time_of
from dashboards.incidents_view import (
    began_line,
    chosen,
    history_frame,
    lasted,
    lengths_line,
    median_length,
    median_notice,
    notices_frame,
    open_line,
    opened,
    place_words,
    sentence,
    spans_frame,
    undelivered,
    within,
)
from dashboards.silencing import holding, lift, silence
from dashboards.spans import incidents_chart
from dashboards.tables import cc, table
from dashboards.theme import incident_look
from shippers.errors import LastbeatError, Unavailable

STILL = "The watch goes on judging, and pages go out: they don't need this board."
HISTORY = 200
SILENCE_MINUTES = (15, 30, 60, 120, 240, 480, 1440)


def page(board: Board) -> None:
    """Draw the page."""
    board.headline(lambda: _headline(board))
    board.live(lambda: _body(board))


def _headline(board: Board) -> None:
    now = board.clock.time()
    as_of = f"as of {time_of(now, board.zone, seconds=True)}"
    with board.reaching("watch's state", quietly=lambda: parts.headline(":gray[◌] incidents can't be read", as_of)):
        incidents = chosen(board.questions.incidents(), board.choice)
        sign, colour, words = sentence(incidents, now)
        waiting = undelivered(opened(incidents))
        told = f"{count(waiting, 'notice')} not delivered yet" if waiting else "everybody who should know was told"
        still = opened(incidents)
        rest = [count(len(still), "open incident") if still else "no open incident", told if still else "", as_of]
        parts.headline(f":{colour}[{sign}] {parts.plain(words)}", " · ".join(filter(None, rest)))


def _body(board: Board) -> None:
    with board.reaching("watch's state", STILL):
        now, scope = board.clock.time(), board.scope()
        incidents = chosen(board.questions.incidents(), board.choice)
        if not incidents:
            parts.figures(_figures(board, [], now))
            parts.quiet("● nothing has gone wrong so far; what does will stand here, with its why and who was told")
            return
        during = within(incidents, scope.start, now)
        parts.figures(_figures(board, during, now))
        _silences(board, now)
        for incident in opened(incidents):
            _card(board, incident, now)
        with st.container(key="charts"), st.container(border=True):
            parts.title("Over time", f"{count(len(during), 'incident')} in {scope.name or 'this period'}")
            if during:
                parts.chart(incidents_chart(spans_frame(during[:40], scope)), "Incidents as bars over time, by service")
            else:
                parts.quiet("nothing was wrong in this period")
        over = [each for each in during if each.status is Status.RESOLVED]
        with st.container(border=True):
            parts.title("What is over", f"{count(len(over), 'incident')}, the newest first" if over else "")
            if over:
                columns = {
                    "Was": cc.ListColumn(width=110),
                    "What": cc.TextColumn(width=300),
                    "Why": cc.TextColumn(width=380),
                }
                table(history_frame(over[:HISTORY], board.zone, now), columns, "Resolved incidents, the newest first")
            else:
                parts.quiet("nothing was resolved in this period")


def _figures(board: Board, during: Sequence[Incident], now: float) -> list[parts.Figure]:
    scope = board.scope()
    span = scope.name or "this period"
    still, waiting = opened(during), undelivered(during)
    length, told = median_length(during, now), median_notice(during)
    pages = [each for each in during if each.severity is Severity.PAGE]
    alarm = any(each.status is Status.FIRING and each.severity is Severity.PAGE for each in still)
    notices = [notice.created_at for each in during for notice in each.notices]
    return [
        parts.Figure(
            "Open",
            str(len(still)),
            None,
            "need a look" if still else "all well",
            "red" if alarm else "orange" if still else "green",
            open_line(during, scope.start, scope.end),
        ),
        parts.Figure(
            "Pages",
            str(len(pages)),
            None,
            f"in {span}",
            "gray",
            began_line([each.began_at for each in pages], scope.start, scope.end),
            kind="bar",
        ),
        parts.Figure(
            "Time to resolve",
            duration(length) if length is not None else NOTHING,
            None,
            "median",
            "gray",
            lengths_line(during),
            kind="bar",
        ),
        parts.Figure(
            "Time to tell",
            duration(told) if told is not None else NOTHING,
            None,
            "median, from its beginning",
            "gray",
            help="From when it went wrong to the first notice that arrived.",
        ),
        parts.Figure(
            "Undelivered",
            str(waiting),
            None,
            "still on their way" if waiting else "all notices arrived",
            "orange" if waiting else "green",
            began_line(notices, scope.start, scope.end),
            kind="bar",
            help="Notices that have not arrived; the bars are all notices.",
        ),
    ]


def _card(board: Board, incident: Incident, now: float) -> None:
    """One open incident: what, since when, why, who was told, and what can be done."""
    sign, colour = incident_look(incident)
    with st.container(border=True, key=f"incident-{incident.id}"):
        left, right = st.columns([4, 1], vertical_alignment="top")
        with left:
            began = moment(incident.began_at, board.zone, now, seconds=True)
            st.markdown(
                f"#### :{colour}[{sign}] {parts.plain(place_words(incident))} · {duration(lasted(incident, now))}",
                anchors=False,
            )
            st.markdown(f"{parts.plain(incident.why)}  \n:gray[{_standing(board, incident, now)} · since {began}]")
            for amendment in incident.amendments:
                st.markdown(f":gray[amended: {parts.plain(amendment)}]")
        with right, st.container(horizontal=True, horizontal_alignment="right", gap="xsmall"):
            _acknowledge(board, incident, now)
            _silence(board, incident, now)
        if incident.notices:
            columns = {"Last error": cc.TextColumn(width=360)}
            table(notices_frame(incident, board.zone, now), columns, "Who was told of this incident", most=5)
        else:
            st.markdown(":gray[nobody is to be told of this]")
        if incident.evidence:
            with st.expander("What this rests on", icon=":material/fact_check:"):
                st.json(dict(incident.evidence), expanded=2)


def _standing(board: Board, incident: Incident, now: float) -> str:
    if incident.status is Status.ACKNOWLEDGED and incident.acknowledged_at is not None:
        at = moment(incident.acknowledged_at, board.zone, now, seconds=True)
        return f"acknowledged by {parts.plain(incident.acknowledged_by) or 'somebody'} at {at}"
    return "a page" if incident.severity is Severity.PAGE else "a warning"


def _acknowledge(board: Board, incident: Incident, now: float) -> None:
    if incident.status is not Status.FIRING:
        return
    with st.popover("Acknowledge", icon=":material/check:", type="primary", key=f"ack-{incident.id}"):
        by = st.text_input("Your name", key=f"ack-by-{incident.id}", value=st.session_state.get("my_name", ""))
        st.markdown(":gray[Reminders and escalation stop; it stays open until it is over.]")
        if st.button("Acknowledge it", key=f"ack-do-{incident.id}", type="primary"):
            st.session_state["my_name"] = by
            _act(lambda: _acknowledged(board, incident, by, now))


def _acknowledged(board: Board, incident: Incident, by: str, now: float) -> str:
    if acknowledge(board.questions.state, incident.id, by.strip() or "a viewer of the boards", now) is None:
        return "This incident is no longer there."
    return "Acknowledged."


def _act(action: Callable[[], str]) -> None:
    """Do it, say what came of it, and show the page anew."""
    try:
        st.toast(action())
    except (Unavailable, LastbeatError) as error:
        st.toast(f"Not done: {error}", icon=":material/error:", duration="long")
        return
    st.rerun(scope="fragment")


def _silence(board: Board, incident: Incident, now: float) -> None:
    with st.popover("Silence", icon=":material/notifications_off:", key=f"silence-{incident.id}"):
        what = " in ".join(filter(None, (incident.service or "every service", incident.region)))
        st.markdown(f":gray[Nobody is told of] {parts.plain(what)} :gray[while this holds. Incidents are kept.]")
        minutes = st.select_slider(
            "For", SILENCE_MINUTES, value=60, format_func=_span, key=f"silence-for-{incident.id}"
        )
        comment = st.text_input("Why", key=f"silence-why-{incident.id}", placeholder="maintenance, known, …")
        if st.button("Silence it", key=f"silence-do-{incident.id}", type="primary"):
            _act(lambda: _silenced(board, incident, minutes, comment, now))


def _silenced(board: Board, incident: Incident, minutes: int, comment: str, now: float) -> str:
    ends = silence(board.questions.state, incident.region, incident.service, minutes, comment, now)
    return f"Silenced until {moment(ends, board.zone, now)}."


def _span(minutes: int) -> str:
    return duration(60.0 * minutes)


def _silences(board: Board, now: float) -> None:
    """What is silenced at the moment, so that nobody forgets it."""
    for held in holding(board.questions.state, now):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", border=True):
            what = " in ".join((held.service.replace("*", "every service"), held.region.replace("*", "every region")))
            why = f" · {parts.plain(held.comment)}" if held.comment else ""
            until = moment(held.ends_at, board.zone, now)
            st.markdown(f":gray[■] **{parts.plain(what)} is silenced** :gray[· until {until}{why}]", width="stretch")
            if st.button("Lift", key=f"lift-{held.key}", icon=":material/notifications:"):
                _act(partial(_lifted, board, held.key, now))


def _lifted(board: Board, key: str, now: float) -> str:
    lift(board.questions.state, key, now)
    return "Lifted."
