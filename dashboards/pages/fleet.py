"""Fleet: is everybody there? The state of every application, its volume, errors and latency, and why."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from alerts.fleet import Fleet, InstanceRow, ServiceRow
from alerts.incidents import Incident, Status
from alerts.staleness import Verdict
from alerts.words import count, duration
from collector.ports import Page, Where
from dashboards import overview, parts
from dashboards.board import STATE_STILL, Board
from dashboards.events_view import events_frame
from dashboards.figures import moment, time_of
from dashboards.fleet_view import Numbers, chosen, instances_frame, known, sentence, services_frame, watch_is_silent
from dashboards.reading import event_columns
from dashboards.shaping import counts_by
from dashboards.tables import Columns, cc, pick, state_column, table
from dashboards.theme import coloured, incident_look

SELECTED = "fleet_selected"
LAST_LINES = 12


def page(board: Board) -> None:
    """Draw the page."""
    board.headline(lambda: _headline(board))
    board.live(lambda: _body(board))


def _headline(board: Board) -> None:
    now = board.clock.time()
    as_of = f"as of {time_of(now, board.zone, seconds=True)}"
    try_again = "its state can't be read"
    with board.reaching("watch's state", STATE_STILL, quietly=lambda: parts.headline(f":gray[◌] {try_again}", as_of)):
        fleet = board.questions.fleet()
        rows = chosen(fleet, board.choice)
        if not rows:
            why = "no service fits the filters" if fleet.services else "no service has reported yet"
            parts.headline(f":gray[○] {why}", as_of)
            return
        verdict, words = sentence(rows, now)
        sign, _, rest = words.partition(" ")
        silent = watch_is_silent(fleet, now)
        if silent is not None:
            then = moment(silent, board.zone, now, seconds=True)
            as_of = f"the watch has been silent for {duration(now - silent)}: this is as of {then}"
        parts.headline(f"{coloured(verdict, sign)} {parts.plain(rest)}", f"{known(rows, fleet)} · {as_of}")


def _body(board: Board) -> None:
    fleet: Fleet | None = None
    incidents: Sequence[Incident] = ()
    numbers: Numbers | None = None
    with board.reaching("watch's state", STATE_STILL):
        fleet, incidents = board.questions.fleet(), board.questions.incidents()
    if fleet is not None and not fleet.services:
        parts.empty("No service has reported yet")
        return
    rows = chosen(fleet or Fleet(), board.choice)
    with board.reaching("store"):
        scope = board.scope()
        seen = overview.ask(board, scope)
        by_application = board.questions.latency(scope, "application", whole=True)
        numbers = Numbers(seen.volume, seen.errors, scope, counts_by(by_application))
        overview.figures(board, seen, fleet or Fleet())
        with st.container(key="charts"):
            overview.charts(board, seen, fleet or Fleet(), rows, incidents)
    if fleet is not None and rows:
        picked = _table(board, rows, numbers)
        if picked is not None:
            _details(board, fleet, incidents, next(row for row in rows if row.key == picked))


def _table(board: Board, rows: Sequence[ServiceRow], numbers: Numbers | None) -> str | None:
    span = board.scope().name or "chosen"
    columns: Columns = {
        "State": state_column(),
        "Service": cc.TextColumn(width=132),
        "Region": cc.TextColumn(width=78),
        "Last beat": cc.TextColumn(width=100, help="When the journal received the last heartbeat."),
        "Live / min": cc.TextColumn(width=74, help="Instances that beat, and how many must."),
        "Version": cc.TextColumn(width=108, help="▲ stands where a newer version runs beside an older one."),
        "Zone": cc.TextColumn(width=58, help="Without the region's name."),
        "Volume": cc.AreaChartColumn(f"Volume, {span}", width=130, y_min=0),
        "Errors": cc.NumberColumn(format="%.2f %%", width=74),
        "p95": cc.NumberColumn(format="%,.0f ms", width=74),
        "Why": cc.TextColumn(width=440),
    }
    frame = services_frame(rows, numbers, board.clock.time())
    return pick(frame, [row.key for row in rows], columns, "Every application, the worst first", SELECTED)


def _details(board: Board, fleet: Fleet, incidents: Sequence[Incident], row: ServiceRow) -> None:
    """One service: its instances, its open incident, and its last log lines."""
    now = board.clock.time()
    instances = [each for each in fleet.instances if (each.region, each.service) == (row.region, row.service)]
    with st.container(border=True, key="details"):
        parts.title(f"{row.service} in {row.region}", f"{count(len(instances), 'instance')}, {row.live} live")
        for incident in incidents:
            if incident.status is not Status.RESOLVED and (incident.region, incident.service) == (
                row.region,
                row.service,
            ):
                sign, colour = incident_look(incident)
                since = moment(incident.began_at, board.zone, now, seconds=True)
                st.markdown(
                    f":{colour}[{sign}] **{parts.plain(incident.summary)}** :gray[· since {since}]  \n"
                    f"{parts.plain(incident.why)}"
                )
        table(instances_frame(instances, now), _instance_columns(), f"Instances of {row.service}")
        with board.reaching("store"):
            _last_lines(board, row, instances)


def _instance_columns() -> Columns:
    return {
        "State": state_column(),
        "CPU": cc.NumberColumn(format="%.1f %%"),
        "Memory": cc.NumberColumn(format="%,.0f MB"),
        "Queue": cc.NumberColumn(format="%,d", help="Events that wait in the process to be sent."),
        "Dropped": cc.NumberColumn(format="%,d"),
        "Restarts": cc.NumberColumn(help="Starts of this instance that ended without a goodbye."),
        "Why": cc.TextColumn(width=300),
    }


def _last_lines(board: Board, row: ServiceRow, instances: Sequence[InstanceRow]) -> None:
    dead = [each for each in instances if each.verdict in (Verdict.DOWN, Verdict.UNREACHABLE, Verdict.LATE)]
    last = max((each.last_notify_time for each in dead), default=row.last_notify_time)
    where = Where(
        (last - 3_600) // 60 * 60,
        (board.clock.time() + 10) // 5 * 5,
        regions=(row.region,),
        services=(row.service,),
        instances=tuple(each.instance for each in dead),
    )
    lines = board.questions.search(where, Page(LAST_LINES)).events
    parts.title("What led up to it" if dead else "Last log lines", "newest first" if lines else "")
    if not lines:
        parts.quiet("it logged nothing in the hour before its last beat")
        return
    table(events_frame(lines, board.zone), event_columns(), f"The last log lines of {row.service}")
