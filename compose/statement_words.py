"""`lastbeat audit`: the statement as a table, what is lost with its ranges, and what of it is to be done. Decides
nothing: the auditor has."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alerts.audit.counting import Counted
from alerts.audit.reconcile import by_reason
from alerts.audit.statement import Difference, Line, Statement, grouped, read_statement
from alerts.audit.vouching import doubts, last_counted
from alerts.words import ago, count, duration
from collector.ledger.account import Total
from collector.ports import State
from shippers.errors import Misconfigured

_SILENT_S = 60.0
_MOST_LISTED = 20
_COLUMNS = ("Day", "Service", "Region", "Store", "Emitted", "Stored", "Dead", "Dropped", "On the way", "Cut off",
            "Unaccounted")  # fmt: skip


def print_statement(state: State, now: float, console: Console | None = None) -> int:
    """A table by service and day, then every range that is not accounted for. Returns the exit code: 1 on a difference,
    and where nothing can be vouched for since the auditor doesn't run."""
    console = console or _console()
    statement = read_statement(state)
    if statement is None:
        console.print("◌ there is no statement yet: the auditor has never run here; `lastbeat up` starts it")
        return 1
    if statement.lines:
        console.print(_table(statement))
    _print_lost(console, statement, now)
    for tail in statement.head.tails[:_MOST_LISTED]:
        sign = "[bright_black]■ counted[/bright_black]" if tail.counted else "[yellow]◔ cut off[/yellow]"
        console.print(f"{sign}  {tail.region}/{tail.service}: {tail.words} ({ago(tail.at, now)})")
    silent_s = now - statement.head.at
    if silent_s > _SILENT_S:
        console.print(f"[yellow]◌ the auditor has been silent for {duration(silent_s)}[/yellow]: this is as of then")
    elif statement.is_balanced:
        _print_balance(console, statement, now)
    return int(not statement.is_balanced or silent_s > _SILENT_S)


def _print_balance(console: Console, statement: Statement, now: float) -> None:
    head = statement.head
    rest = f"{ago(head.at, now)}{_behind(statement)}; {last_counted(head, now)}"
    if not (open_questions := doubts(head, now)):
        console.print(f"[green]●[/green] every event is accounted for, {rest}")
        return
    console.print(f"[yellow]◌[/yellow] nothing is known to be lost, {rest}")
    for words in open_questions:
        console.print(f"[yellow]◌[/yellow] {words}")


def _console() -> Console:
    """A pipe has no width: there every line is whole."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def _table(statement: Statement) -> Table:
    table = Table(box=None, header_style="bright_black", pad_edge=False)
    several = len(statement.sinks) > 1
    for name in _COLUMNS:
        if name != "Store" or several:
            table.add_column(name, justify="left" if name in _COLUMNS[:4] else "right")
    names = ("day", "region", "service", "sink")
    for line in grouped(statement.lines, *names):
        table.add_row(*_cells(line, several=several))
    for sink in statement.sinks:
        table.add_row(*_cells(statement.of(sink), several=several, label="all"), style="bold")
    return table


def _cells(line: Line, *, several: bool, label: str = "") -> list[str | Text]:
    lost = Text(f"{line.unaccounted:,}", "bold red" if line.unaccounted else "green")
    numbers = [line.emitted, line.stored, line.dead, line.drops, line.flight, line.tail]
    names = [label or line.day, line.service, line.region, *([line.sink] if several else [])]
    return [*names, *(f"{number:,}" for number in numbers), lost]


def _print_lost(console: Console, statement: Statement, now: float) -> None:
    for each in statement.open[:_MOST_LISTED]:
        console.print(
            f"[red]≠ lost[/red]  {each.region}/{each.service}: {each.words}: {each.sink} has not got them, though beat "
            f"{each.beat} said that they are durable, {ago(each.since, now)}"
        )
        tried = f"{each.tried}; " if each.tried else ""
        console.print(f"   {tried}ask again: [bold]lastbeat resend {each.stream} "
                      f"{each.holes[0][0]}-{each.holes[-1][1]}[/bold]")  # fmt: skip
    for liar in statement.head.liars[:_MOST_LISTED]:
        console.print(f"[yellow]◔ lying[/yellow]  {liar.region}/{liar.service}: {liar.stream}: {liar.words}")
    print_differences(console, statement.head.differences)
    if statement.unreadable:
        number = count(len(statement.unreadable), "finding")
        console.print(f"[yellow]◔ unreadable[/yellow]  {number} can't be read, so nothing is proven")
    for words in statement.unreadable[:_MOST_LISTED]:
        console.print(f"   {words}", markup=False)
    reasons = [(line, dict(line.dropped)) for line in grouped(statement.lines, "service") if line.dropped]
    for line, dropped in reasons:
        per_store = len({each.sink for each in statement.lines})
        console.print(f"dropped by {line.service}: {by_reason({k: n // per_store for k, n in dropped.items()})}")


def print_differences(console: Console, differences: Iterable[Difference]) -> None:
    """What stores that should have the same don't have alike."""
    listed = list(differences)
    for each in listed[:_MOST_LISTED]:
        console.print(f"[red]≠ differs[/red]  {each.day} {each.region}/{each.dataset} {each.stream}: {each.words}")
    if len(listed) > _MOST_LISTED:
        console.print(f"  … and {len(listed) - _MOST_LISTED} more")


def checked_days(days: Iterable[str]) -> list[str]:
    """Days as they are asked for. Raises Misconfigured for what is none."""
    listed = list(days)
    for day in listed:
        try:
            good = date.fromisoformat(day).isoformat() == day
        except ValueError:
            good = False
        if not good:
            raise Misconfigured(f"--day {day!r}: a day such as 2026-11-21")
    return listed


def print_count(counted: Counted, console: Console | None = None) -> int:
    """How many events each store has of each day, and every difference. Returns the exit code: 1 on a difference, and
    where there was nothing to count."""
    console = console or _console()
    sinks = sorted({sink for sink, _ in counted.events})
    table = Table(box=None, header_style="bright_black", pad_edge=False)
    table.add_column("Day")
    for sink in sinks:
        table.add_column(sink, justify="right")
    for day in counted.days:
        if any(counted.events.get((sink, day)) for sink in sinks) or len(counted.days) == 1:
            table.add_row(day, *(f"{counted.events.get((sink, day), 0):,}" for sink in sinks))
    console.print(table)
    print_differences(console, counted.differences)
    if counted.differences:
        return 1
    if not any(counted.events.values()):
        console.print("◌ there is nothing to vouch for: no store that can be seen from here holds an event of it")
        return 1
    console.print("[green]●[/green] what is stored is what the ledger says, number by number")
    return 0


def rebuilt_line(sink: str, streams: int, total: Total) -> str:
    """What rebuilding one ledger found."""
    return (
        f"{sink}: {streams:,} streams, {total.stored:,} events stored, {total.dead:,} dead letters, {total.void:,} void"
    )


def _behind(statement: Statement) -> str:
    waiting = {sink: number for sink, number in statement.head.behind.items() if number}
    words = ", ".join(f"{sink} {count(number, 'partition')}" for sink, number in sorted(waiting.items()))
    return f"; not read to the end yet: {words}" if words else ""
