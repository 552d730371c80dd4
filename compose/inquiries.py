"""What the command line shows of the fleet, incidents and logs. Asks Store and State; decides nothing."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alerts.explain import explain
from alerts.fleet import ServiceRow, read_fleet
from alerts.incidents import Incident, Status, read_incidents
from alerts.staleness import SIGNS, Verdict
from alerts.words import ago, duration
from collector.ports import Event, Page, State, Store, Where
from shippers.clock import Clock
from shippers.errors import Misconfigured

from .stopping import stop_on_signal

_COLOURS = {
    Verdict.DOWN: "red",
    Verdict.UNREACHABLE: "red",
    Verdict.REFUSED: "red",
    Verdict.LOSSY: "red",
    Verdict.FLAPPING: "yellow",
    Verdict.LATE: "yellow",
    Verdict.UP: "green",
    Verdict.NEW: "green",
    Verdict.BLIND: "bright_black",
    Verdict.STOPPED: "bright_black",
}
_LEVEL_COLOURS = {"ERROR": "red", "CRITICAL": "bold red", "WARNING": "yellow", "DEBUG": "bright_black"}
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def print_fleet(state: State, now: float) -> int:
    """A table of every service, worst first. Returns the exit code: 1 if anything is down."""
    console = Console(highlight=False)
    services = read_fleet(state).services
    if not services:
        console.print("Nothing has reported yet. Three lines make a service visible: see `lastbeat up`.")
        return 0
    table = Table(box=None, header_style="bright_black", pad_edge=False)
    for column in ("State", "Service", "Region", "Last beat", "Live/min", "Version", "Why"):
        table.add_column(column)
    order = list(Verdict)
    for row in sorted(services, key=lambda row: (order.index(row.verdict), row.service, row.region)):
        table.add_row(*_fleet_cells(row, now))
    console.print(table)
    return int(any(row.verdict is Verdict.DOWN for row in services))


def _fleet_cells(row: ServiceRow, now: float) -> list[Text | str]:
    state = Text(f"{SIGNS[row.verdict]} {row.verdict}", style=_COLOURS[row.verdict])
    versions = ", ".join(row.versions)
    return [
        state,
        row.service,
        row.region,
        ago(row.last_notify_time, now),
        f"{row.live}/{row.minimum}",
        versions,
        row.why,
    ]


def print_incidents(state: State, now: float) -> int:
    """Open incidents, then the last twenty resolved. Returns the exit code: 1 if any is open."""
    console = Console(highlight=False)
    known = sorted(read_incidents(state), key=lambda incident: -incident.opened_at)
    still_open = [incident for incident in known if incident.status is not Status.RESOLVED]
    if not known:
        console.print("● nothing has ever been wrong")
    for incident in (*still_open, *[one for one in known if one.status is Status.RESOLVED][:20]):
        console.print(_incident_line(incident, now))
        console.print(f"    {incident.why}", style="bright_black", markup=False)
    return int(bool(still_open))


def _incident_line(incident: Incident, now: float) -> Text:
    if incident.resolved_at is not None:
        lasted = duration(incident.resolved_at - incident.began_at)
        return Text(f"■ {incident.id}  {incident.summary} · resolved after {lasted}", style="bright_black")
    lasts = duration(now - incident.began_at)
    return Text(f"✖ {incident.id}  {incident.summary} · {incident.status} · {lasts}", style="red")


def print_explanation(state: State, id: str) -> int:
    """The evidence of one incident in words."""
    for incident in read_incidents(state):
        if incident.id == id or incident.dedup_key == id:
            Console(highlight=False).print(explain(incident), markup=False)
            return 0
    raise Misconfigured(f"there is no incident {id}; `lastbeat incidents` lists them")


def where_of(
    now: float,
    since: str,
    services: Sequence[str] | None,
    regions: Sequence[str] | None,
    levels: Sequence[str] | None,
    *,
    errors: bool,
    id: str | None,
    text: str,
) -> Where:
    """The question that the options of `lastbeat logs` ask. Raises Misconfigured for a `since` that is none."""
    return Where(
        now - seconds_of("--since", since),
        now + 60,
        regions=tuple(regions or ()),
        services=tuple(services or ()),
        levels=tuple(level.upper() for level in levels or ()),
        errors=errors,
        ids=(id,) if id else (),
        text=text,
    )


def seconds_of(option: str, text: str) -> int:
    """A span such as 15m in seconds. Raises Misconfigured, naming the option."""
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if not match:
        raise Misconfigured(f"{option} {text!r}: a number and s, m, h or d, such as 15m or 2h")
    return int(match[1]) * _UNITS[match[2]]


def print_logs(store: Store, clock: Clock, where: Where, limit: int, *, follow: bool, place: str) -> int:
    """The newest `limit` events, oldest first; with `follow`, then what comes in, until Ctrl-C. That there are none is
    said beside them (stderr), with `place`, where they were looked for."""
    stop = stop_on_signal([signal.SIGINT]) if follow else threading.Event()
    console = Console(highlight=False, soft_wrap=True)
    after = store.tail(where).after if follow else None
    found = store.search(where, Page(limit)).events
    for event in reversed(found):
        console.print(log_line(event))
    if not found:
        since = datetime.fromtimestamp(where.start).astimezone().strftime("%m-%d %H:%M:%S")
        print(f"no such events since {since} in {place}", file=sys.stderr)
    while after is not None and not clock.wait(stop, 0.5):
        tail = store.tail(replace(where, end=clock.time() + 60), after)
        for event in tail.events:
            console.print(log_line(event))
        after = tail.after
    return 0


def log_line(event: Event) -> Text:
    """One event as one coloured line (more only where the message or a stack has more)."""
    at = datetime.fromtimestamp(event.at).astimezone().strftime("%m-%d %H:%M:%S.%f")[:-3]
    line = Text.assemble((at, "bright_black"), " ", (f"{event.level or '-':<8}", _LEVEL_COLOURS.get(event.level, "")))
    line.append(f"{event.service}", "bold").append(f" {event.region} ", "bright_black").append(event.message)
    if event.duration_ns is not None:
        line.append(f" {event.duration_ns / 1e6:.0f} ms", "bright_black")
    measures = {name: f"{value:g}" for name, value in event.measures.items()}
    for name, value in {**event.labels, **measures}.items():
        line.append(f" {name}=", "bright_black").append(value)
    if event.error_stack:
        line.append(f"\n{event.error_stack}", "red")
    return line
