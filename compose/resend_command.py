"""`lastbeat resend`: gets a missing range of a stream back from wherever there is a copy, and says what was where."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collector.ledger.intervals import Interval, IntervalSet
from collector.resend.recovery import Recovery
from collector.resend.wanted import ARCHIVE, JOURNAL, SPOOL, Recovered, Wanted, count_of, spelled, without
from shippers.batch import DATASETS
from shippers.clock import Clock
from shippers.errors import Misconfigured

from .inquiries import seconds_of
from .running import find
from .settings import Settings

_LOOK_EVERY_S = 2.0
_STREAM = re.compile(r"[a-z0-9]{8,40}\.([a-z]+)")
_RANGE = re.compile(r"(\d{1,19})(?:-(\d{1,19}))?")
_MOST = 10_000_000


class Kind(StrEnum):
    """Where to look."""

    JOURNAL = JOURNAL
    ARCHIVE = ARCHIVE
    SPOOL = SPOOL


def resend(
    stream: Annotated[str, typer.Argument(help="<boot>.<dataset>, as `lastbeat audit` and a finding name it.")],
    numbers: Annotated[str, typer.Argument(help="101-300, or several with commas: 101-300,412.")],
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Settings; ./lastbeat.toml.")] = None,
    only: Annotated[Kind | None, typer.Option("--from", help="Only from there; else from all, in this order.")] = None,
    since: Annotated[str, typer.Option(help="How far back the journal is read: 6h, 2d.")] = "3d",
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="How many seconds a service may take to answer.")
    ] = 30.0,
) -> None:
    """Get missing events back: from the journal, the other store, or the service's own spool, and send them again.

    What is stored already is not stored twice. Exit code 1 if something of it is nowhere to be had.
    """
    from .recovering import open_recovery
    from .wiring import CLOCK

    wanted = wanted_of(stream, numbers, CLOCK.time(), since)
    settings = find(config)
    with open_recovery(settings) as recovery:
        found = search(recovery, wanted, "" if only is None else only.value, CLOCK, wait_s)
    raise typer.Exit(print_recovered(found, wanted, settings, only))


def wanted_of(stream: str, numbers: str, now: float, since: str) -> Wanted:
    """What the arguments ask for. Raises Misconfigured."""
    known = _STREAM.fullmatch(stream)
    if known is None or known[1] not in DATASETS:
        raise Misconfigured(f"{stream!r} is no stream: it looks like k3v9abcd.business; `lastbeat audit` names them")
    ranges: list[Interval] = []
    for part in numbers.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last:
            raise Misconfigured(f"{part.strip()!r} are no numbers: give them as 101-300, several with commas")
        ranges.append((first, last))
    if count_of(IntervalSet(ranges)) > _MOST:
        raise Misconfigured(f"these are more than {_MOST:,} numbers: give a part of them at a time")
    return Wanted(stream, tuple(IntervalSet(ranges)), now - seconds_of("--since", since), now)


def search(recovery: Recovery, wanted: Wanted, only: str, clock: Clock, wait_s: float) -> Recovered:
    """Look everywhere; then, for what its service was asked for, wait until it has answered, or for `wait_s`."""
    found = recovery.search(wanted, only=only)
    until = clock.monotonic() + wait_s
    never = threading.Event()
    while found.pending and clock.monotonic() < until:
        clock.wait(never, min(_LOOK_EVERY_S, max(0.0, until - clock.monotonic())))
        more = recovery.search(replace(wanted, numbers=found.left), only=SPOOL)
        spool = tuple(IntervalSet((*found.found.get(SPOOL, ()), *more.found.get(SPOOL, ()))))
        by_source = {**found.found, **({SPOOL: spool} if spool else {})}
        found = Recovered(by_source, more.left, more.pending, more.lacking, {**found.trouble, **more.trouble})
    return found


def print_recovered(found: Recovered, wanted: Wanted, settings: Settings, only: Kind | None = None) -> int:
    """A table of what was where, and what to do about what is left. Returns the exit code: 1 if something is left."""
    console = Console(highlight=False)
    table = Table(box=None, header_style="bright_black", pad_edge=False)
    for column in ("", "Where", "Events", "Numbers"):
        table.add_column(column, overflow="fold", justify="right" if column == "Events" else "left")
    for name, numbers in found.found.items():
        table.add_row(Text("●", "green"), name, f"{count_of(numbers):,}", f"{spelled(numbers)}, sent again")
    still = without(found.left, IntervalSet((*found.pending, *found.lacking)))
    for sign, numbers, words in (
        (Text("…", "yellow"), found.pending, "its service is asked, and has not answered yet"),
        (Text("✖", "red"), found.lacking, "its service has them no more"),
        (Text("✖", "red"), still, "nowhere"),
    ):
        if numbers:
            table.add_row(sign, "", f"{count_of(numbers):,}", f"{spelled(numbers)}: {words}")
    console.print(table)
    for name, why in found.trouble.items():
        console.print(Text.assemble(("✖ ", "red"), f"{name}: {why}"))
    if found.whole:
        console.print(f"all of {wanted.stream} {spelled(wanted.numbers)} was sent again; stores drop what they have")
        return 0
    for words in _advice(found, settings, only):
        console.print(words, style="bright_black", markup=False)
    return 1


def _advice(found: Recovered, settings: Settings, only: Kind | None) -> list[str]:
    """What a person may do about what is left."""
    from .wiring import archive_away

    advice = []
    if only is not None:
        advice.append(f"only the {only.value} was asked: without --from, the others are too")
    if away := archive_away(settings):
        advice.append(away)
    if found.pending:
        advice.append("the request stands for an hour, and reaches the service with a gateway's answers: does one run?")
        advice.append("run this again to see what came, it doubles nothing")
    if only is None and not found.pending:
        advice.append("if they were sent earlier than the journal was read for, give --since; else they are lost")
    return advice
