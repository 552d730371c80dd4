"""What a person reads after a drill: one table, the schedule, and every thing that went wrong in words."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .play import Deed
from .run import Result
from .schedule import KINDS, Schedule


def show(console: Console, result: Result) -> None:
    """Print it."""
    _faults(console, result.schedule, result.deeds)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_column(justify="left", style="bright_black")
    for row in _rows(result):
        table.add_row(*row)
    console.print()
    console.print(table)
    for words in _troubles(result):
        console.print(f"✖ {words}", style="red", markup=False)
    verdict = "[green]every promise held[/green]" if result.is_good else "[red]a promise was broken[/red]"
    console.print(f"\n{verdict} · seed {result.schedule.seed} · {result.took_s:.0f} s")


def _rows(result: Result) -> list[tuple[str | Text, str | Text, str]]:
    main, quiet = result.main, result.quiet
    runs = len(main.balances)
    catch_up = f"{quiet.rate:,.0f} events/s" if quiet.behind > result.rate else "nothing to catch up with"
    times = f"{quiet.rate / result.rate:.1f} times the live rate, {quiet.behind:,} behind" if result.rate else ""
    rows: list[tuple[str | Text, str | Text, str]] = [
        ("emitted", f"{main.total('emitted'):,}", f"by {runs} runs' own logs, {result.rate:,.0f} a second"),
        ("stored exactly once", f"{main.total('once'):,}", main.store),
        ("dead-lettered", f"{main.total('dead'):,}", "with reason and original"),
        ("dropped and counted", f"{main.total('counted'):,}", "by beats and void batches"),
        ("cut off by SIGKILL", f"{main.total('cut_off'):,}", "the end of what runs without a spool had in memory"),
        _zero("unaccounted", result.unaccounted, ""),
        _zero("unaccounted by the statement", result.stated.called_lost, "by the platform itself, now or at any time"),
        _zero("visible duplicates", result.duplicates, ""),
        _zero("false alarms", len(result.alarms.false), f"of {result.alarms.told} incidents"),
        _zero("alarms missed", len(result.alarms.missed), ""),
        ("longest blind time", f"{result.alarms.longest_blind_s:.1f} s", ""),
        ("catch-up rate", catch_up, times if quiet.behind > result.rate else ""),
        ("quiet after", f"{quiet.took_s:.1f} s", "from the last healing"),
    ]
    for other in result.accounts[1:]:
        rows.insert(2, (f"… in the {other.store}", f"{other.total('once'):,}", ""))
    return rows


def _zero(name: str, count: int, note: str) -> tuple[str | Text, str | Text, str]:
    style = "bold red" if count else "bold green"
    return Text(name, style=style), Text(f"{count:,}", style=style), note


def _faults(console: Console, schedule: Schedule, deeds: list[Deed]) -> None:
    table = Table(box=None, header_style="bright_black", pad_edge=False)
    for column in ("At", "Fault", "Part", "For", "What it is"):
        table.add_column(column, justify="right" if column in ("At", "For") else "left")
    for deed in deeds:
        planned = deed.planned
        lasts = "" if not planned.lasts_s else f"{planned.lasts_s:.1f} s"
        if KINDS[planned.kind].for_good:
            lasts = "good"
        words = KINDS[planned.kind].words + (f" ({planned.strength:g})" if planned.strength else "")
        table.add_row(f"{planned.at_s:.1f} s", planned.kind, planned.part, lasts, words)
    console.print(f"schedule of seed {schedule.seed}, {schedule.form}, {schedule.span_s:g} s:", style="bold")
    console.print(table)


def _troubles(result: Result) -> list[str]:
    found = list(result.wrong)
    for account in result.accounts:
        found += [f"{account.store}: run {one.run.name}: {one.why or 'stored more than once'}" for one in account.wrong]
        if account.twice:
            found.append(f"{account.store}: {account.twice} rows bear the number of another")
    found += [f"the statement: {words}" for words in result.stated.wrong]
    found += [f"false alarm: {words}" for words in result.alarms.false]
    return found + [f"missed: {words}" for words in result.alarms.missed]
