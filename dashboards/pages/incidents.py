"""Incidents: what is wrong, why, who was told; to acknowledge, to silence; and what is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

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
    notices_frame,
    open_line,
    opened,
    place_words,
    sentence,
    spans_frame,
    told_line,
    undelivered,
    within,
)
from dashboards.silencing import holding, lift, silence
from dashboards.spans import incidents_chart
from dashboards.tables import cc, table
from dashboards.theme import incident_look
from shippers.errors import LastbeatError

STILL = "The watch goes on judging, and pages go out: they don't need this board."
HISTORY = 200
MY_NAME = "my_name"
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
            parts.figures(_figures(board, []))
            parts.quiet("● nothing has gone wrong so far; what does will stand here, with its why and who was told")
            return
        during = within(incidents, scope.start, now)
        parts.figures(_figures(board, during))
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


def _figures(board: Board, during: Sequence[Incident]) -> list[parts.Figure]:
    scope = board.scope()
    span = scope.name or "this period"
    still, waiting = opened(during), undelivered(during)
    lengths, told = lengths_line(during), told_line(during)
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
            duration(median(lengths)) if lengths else NOTHING,
            None,
            "median",
            "gray",
            lengths,
            kind="bar",
        ),
        parts.Figure(
            "Time to tell",
            duration(median(told)) if told else NOTHING,
            None,
            "median",
            "gray",
            told,
            kind="bar",
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
            _acknowledge(board, incident)
            _silence(board, incident)
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


def _acknowledge(board: Board, incident: Incident) -> None:
    if incident.status is not Status.FIRING:
        return
    with st.popover("Acknowledge", icon=":material/check:", type="primary", key=f"ack-{incident.id}"):
        name = f"ack-by-{incident.id}"
        st.text_input("Your name", key=name, value=st.session_state.get(MY_NAME, ""))
        st.markdown(":gray[Reminders and escalation stop; it stays open until it is over.]")
        action = partial(_acknowledged, board, incident.id, name)
        st.button("Acknowledge it", key=f"ack-do-{incident.id}", type="primary", on_click=_act, args=(board, action))


def _acknowledged(board: Board, id: str, name: str) -> str:
    by = str(st.session_state.get(name) or "").strip()
    st.session_state[MY_NAME] = by
    if acknowledge(board.questions.state, id, by or "a viewer of the boards", board.clock.time()) is None:
        return "This incident is no longer there."
    return "Acknowledged."


def _silence(board: Board, incident: Incident) -> None:
    with st.popover("Silence", icon=":material/notifications_off:", key=f"silence-{incident.id}"):
        what = " in ".join(filter(None, (incident.service or "every service", incident.region)))
        st.markdown(f":gray[Nobody is told of] {parts.plain(what)} :gray[while this holds. Incidents are kept.]")
        length, why = f"silence-for-{incident.id}", f"silence-why-{incident.id}"
        st.select_slider("For", SILENCE_MINUTES, value=60, format_func=_span, key=length)
        st.text_input("Why", key=why, placeholder="maintenance, known, …")
        action = partial(_silenced, board, incident, length, why)
        st.button("Silence it", key=f"silence-do-{incident.id}", type="primary", on_click=_act, args=(board, action))


def _silenced(board: Board, incident: Incident, length: str, why: str) -> str:
    minutes, comment = float(st.session_state[length]), str(st.session_state.get(why) or "")
    now = board.clock.time()
    ends = silence(board.questions.state, incident.region, incident.service, minutes, comment, now)
    return f"Silenced until {moment(ends, board.zone, now)}."


def _silences(board: Board, now: float) -> None:
    """What is silenced at the moment, so that nobody forgets it."""
    for held in holding(board.questions.state, now):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", border=True):
            what = " in ".join((held.service.replace("*", "every service"), held.region.replace("*", "every region")))
            why = f" · {parts.plain(held.comment)}" if held.comment else ""
            until = moment(held.ends_at, board.zone, now)
            st.markdown(f":gray[■] **{parts.plain(what)} is silenced** :gray[· until {until}{why}]", width="stretch")
            action = partial(_lifted, board, held.key)
            icon = ":material/notifications:"
            st.button("Lift", key=f"lift-{held.key}", icon=icon, on_click=_act, args=(board, action))


def _lifted(board: Board, key: str) -> str:
    lift(board.questions.state, key, board.clock.time())
    return "Lifted."


def _act(board: Board, action: Callable[[], str]) -> None:
    """Do what a button says, before the page is drawn anew, and say what came of it."""
    try:
        st.toast(action())
    except LastbeatError as error:
        st.toast(f"Not done: {error}", icon=":material/error:", duration="long")
    board.questions.forget()


def _span(minutes: int) -> str:
    return duration(60.0 * minutes)
