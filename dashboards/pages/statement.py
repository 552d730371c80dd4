"""Statement: is every event accounted for? What was emitted, and what became of it, by day, service and store."""

from __future__ import annotations

import streamlit as st

from alerts.audit.statement import Line, Statement
from alerts.words import count, duration
from dashboards import parts
from dashboards.board import Board
from dashboards.figures import count as short
from dashboards.figures import moment, percent, time_of
from dashboards.statement_view import (
    LOST_STATES,
    SILENT_S,
    STATES,
    by_day,
    chosen,
    everything,
    fates_frame,
    filled_frame,
    known,
    lines_frame,
    lost_frame,
    rest_words,
    sentence,
    shown_sink,
)
from dashboards.tables import cc, table
from dashboards.tally_chart import fates_chart

STILL = "The audit goes on without this board, and what is lost is paged."
MEANS = (
    "**Balanced** means that every number a process gave to an event is found: stored, in the dead letters, or given "
    "up and counted with its reason. What is sealed, sent or waiting in a spool is *on the way*. *Lost* is only what "
    "the sender was told is durable, and what a store's ledger lacks though all of the journal was read."
)


def page(board: Board) -> None:
    """Draw the page."""
    board.headline(lambda: _headline(board))
    board.live(lambda: _body(board))


def _headline(board: Board) -> None:
    now = board.clock.time()
    as_of = f"as of {time_of(now, board.zone, seconds=True)}"
    with board.reaching("watch's state", quietly=lambda: parts.headline(":gray[◌] the statement can't be read", as_of)):
        whole = board.questions.statement()
        if whole is None:
            parts.headline(":gray[◌] there is no statement yet", f"the auditor has not written one · {as_of}")
            return
        statement = chosen(whole, board.choice)
        sign, colour, words = sentence(statement, now)
        said = f"as of {moment(whole.head.at, board.zone, now, seconds=True)}"
        if now - whole.head.at > SILENT_S:
            sign, colour = "◌", "gray"
            said = f"the auditor has been silent for {duration(now - whole.head.at)}: this is {said}"
        parts.headline(
            f":{colour}[{sign}] {parts.plain(words)}", f"{known(statement, shown_sink(statement), now)} · {said}"
        )


def _body(board: Board) -> None:
    with board.reaching("watch's state", STILL):
        now, scope = board.clock.time(), board.scope()
        whole = board.questions.statement()
        if whole is None or not (whole.lines or whole.findings):
            parts.empty("Nothing was emitted yet")
            return
        statement = chosen(whole, board.choice, scope)
        sink = shown_sink(statement)
        days = by_day(statement, sink)
        parts.figures(_figures(everything(statement, sink), days))
        _lost(board, statement, now)
        with st.container(key="charts"):
            _charts(days)
        with st.container(border=True):
            parts.title(
                "By day and service", f"{count(len(days), 'day')} of {scope.name or 'this period'}, worst first"
            )
            st.markdown(f":gray[{MEANS}]")
            frame = lines_frame(statement)
            if len(frame):
                table(frame, _columns(), "The statement, by day, service and store")
            else:
                parts.quiet("nothing was emitted on these days")
        filled = filled_frame(statement, board.zone, now)
        if len(filled):
            with st.container(border=True):
                parts.title("What was missed and came after all", count(len(filled), "stream"))
                table(filled, {"Numbers": cc.TextColumn(width=260)}, "Ranges that were filled again")


def _figures(line: Line, days: list[Line]) -> list[parts.Figure]:
    share = line.stored / line.emitted if line.emitted else None
    return [
        parts.Figure("Emitted", short(line.emitted), None, "by the services' own count", "gray",
                     [float(day.emitted) for day in days], kind="bar"),
        parts.Figure("Stored", short(line.stored), None, percent(share), "gray" if share is None else "green",
                     [float(day.stored) for day in days], kind="bar"),
        parts.Figure("Dead letters", short(line.dead), None, "kept, with their reason" if line.dead else "none",
                     "orange" if line.dead else "green", [float(day.dead) for day in days], kind="bar",
                     help="What could not be stored: `lastbeat dead list`."),
        parts.Figure("Dropped", short(line.drops), None, "counted, with their reason" if line.drops else "none",
                     "orange" if line.drops else "green", [float(day.drops) for day in days], kind="bar"),
        parts.Figure("Lost", short(line.unaccounted), None, "need a look" if line.unaccounted else "all accounted for",
                     "red" if line.unaccounted else "green", [float(day.unaccounted) for day in days], kind="bar"),
    ]  # fmt: skip


def _lost(board: Board, statement: Statement, now: float) -> None:
    frame = lost_frame(statement, board.zone, now)
    if not len(frame):
        return
    with st.container(border=True):
        lost = len(statement.open)
        parts.title("Not accounted for", count(lost, "stream") if lost else "nothing lost, but not proven either")
        if lost:
            st.markdown(":gray[Ask for a range again with] `lastbeat resend <stream> <first>-<last>`:gray[.]")
        columns = {
            "State": _states(LOST_STATES),
            "Stream": cc.TextColumn(width=210),
            "Numbers": cc.TextColumn(width=150),
            "Why": cc.TextColumn(width=460),
        }
        table(frame, columns, "Ranges that are lost, contradicted or cut off")


def _charts(days: list[Line]) -> None:
    left, right = st.columns(2, gap="small")
    with left, st.container(border=True, height="stretch"):
        most = max(days, key=lambda day: day.emitted, default=None)
        parts.title("Emitted", f"most on {most.day}: {short(most.emitted)}" if most is not None else "")
        frame = fates_frame(days, stored=True)
        if len(frame):
            parts.chart(fates_chart(frame), "Events by day and what became of them, stacked")
        else:
            parts.quiet("nothing was emitted on these days")
    with right, st.container(border=True, height="stretch"):
        rest = fates_frame(days, stored=False)
        parts.title("What is not stored", rest_words(days) or "nothing: all of it is stored")
        if len(rest):
            parts.chart(fates_chart(rest), "Events that are not stored, by day and reason, stacked")
        else:
            parts.quiet("● all that was emitted is stored")


def _states(looks: dict[str, str]) -> object:
    return cc.MultiselectColumn("State", options=list(looks), color=list(looks.values()), width=124)


def _columns() -> dict[str, object]:
    numbers = ("Emitted", "Stored", "Dead", "Dropped", "On the way", "Cut off", "Lost")
    return {
        "State": _states(STATES),
        "Day": cc.TextColumn(width=92),
        **{name: cc.NumberColumn(format="%,d", width=88) for name in numbers},
        "Why": cc.TextColumn(width=380),
    }
