"""What the demo shows: calm on a terminal, plain lines where there is none (a pipe, CI), readable without colour.

Decides nothing and asks nobody: it is handed what to show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from alerts.fleet import ServiceRow
from alerts.staleness import SIGNS, Verdict
from alerts.words import duration

from .evidence import Death
from .figures import Check, Figures

_COLOURS = {
    Verdict.UP: "green",
    Verdict.NEW: "green",
    Verdict.LATE: "yellow",
    Verdict.FLAPPING: "yellow",
    Verdict.BLIND: "bright_black",
    Verdict.STOPPED: "bright_black",
}
_LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_WELL = frozenset({Verdict.UP, Verdict.NEW, Verdict.STOPPED})
_WORST_ROWS = 6
_PLAIN_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class View:
    """One moment of the demo. `phase` says in words what is going on; counts are of live events."""

    now: float
    phase: str
    boards_url: str
    orders: int
    emitted: int
    stored: int
    dropped: int
    services: Sequence[ServiceRow]


class Screen:
    """The demo's terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._plain_at = 0.0

    def say(self, words: str, style: str = "") -> None:
        """One line that stays."""
        self.console.print(Text(words, style), soft_wrap=True)

    @contextmanager
    def filling(self, seconds: float) -> Iterator[Callable[[float, int], None]]:
        """A bar for the history; what it yields is told how many seconds of it are done, and how many events."""
        if not self.console.is_terminal:
            self.say(f"  filling {seconds / 3600:.0f} h of history through the gateway …")
            yield lambda done, events: None  # noqa: ARG005
            return
        columns = (
            TextColumn(f"  filling {seconds / 3600:.0f} h of history"),
            BarColumn(40),
            TaskProgressColumn(),
            TextColumn("{task.fields[events]:>9,} events"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("", total=seconds, events=0)
            yield lambda done, events: progress.update(task, completed=done, events=events)

    @contextmanager
    def storing(self, events: int) -> Iterator[Callable[[int], None]]:
        """A bar for what was sent and is not stored yet; what it yields is told how many events are."""
        if not self.console.is_terminal:
            self.say(f"  storing {events:,} events …")
            yield lambda stored: None  # noqa: ARG005
            return
        columns = (TextColumn("  storing it             "), BarColumn(40), TaskProgressColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("", total=events)
            yield lambda stored: progress.update(task, completed=stored)

    @contextmanager
    def live(self) -> Iterator[None]:
        """What `show` is given stays in place and changes, as long as this is open."""
        if not self.console.is_terminal:
            yield
            return
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        try:
            with self._live:
                yield
        finally:
            self._live = None

    def show(self, view: View) -> None:
        """The present state; without a terminal, one line every few seconds."""
        if self._live:
            self._live.update(_picture(view), refresh=True)
        elif view.now - self._plain_at >= _PLAIN_EVERY_S:
            self._plain_at = view.now
            ill = [f"{row.verdict} {row.service} {row.region}" for row in view.services if row.verdict not in _WELL]
            how = ", ".join(ill) or f"all {len(view.services)} services well"
            self.say(f"  {_counts(view)} · {how} · {view.phase}")

    def death(self, death: Death) -> None:
        """The alert, and the lines that led up to it."""
        incident, rows = death.incident, Table.grid(padding=(0, 1))
        for event in death.lines:
            rows.add_row(
                Text(_clock(event.at), "bright_black"),
                Text(event.level, _LEVELS.get(event.level, "")),
                Text(event.message),
            )
        seconds = death.alert_at - death.last_beat_at
        head = Text.assemble(
            (f"{SIGNS[Verdict.DOWN]} {incident.summary}\n", "bold red"),
            f"{incident.why}\n",
            f"last beat {_clock(death.last_beat_at)}, alert {_clock(death.alert_at)}: {seconds:.1f} s\n",
            ("\nwhat led up to it\n", "bold"),
        )
        self.console.print(Padding(Panel(Group(head, rows), title="alert", title_align="left", border_style="red"), 1))

    def figures(self, figures: Figures, checks: Sequence[Check]) -> None:
        """The balance and the checks."""
        emitted, stored, dropped = (sum(part.values()) for part in (figures.emitted, figures.stored, figures.dropped))
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right")
        for number, words in (
            (f"{emitted:,}", "events emitted, by the senders' own count"),
            (f"{stored:,}", "events stored"),
            *(() if figures.archived is None else ((f"{sum(figures.archived.values()):,}", "events in the archive"),)),
            (f"{dropped:,}", "events dropped, counted"),
            (f"{figures.tail:,}", f"cut off by the SIGKILL, unsent, in {figures.victim}"),
            (f"{sum(count for count, _ in figures.beats.values()):,}", "heartbeats stored"),
            (str(len(figures.dead)), "alerts for the dead"),
            (str(len(figures.living)), "alerts for the living"),
            (f"{figures.seconds_to_alert:.1f}", "seconds from the last beat to the alert"),
        ):
            table.add_row(number, words)
        self.console.print(Padding(table, (1, 2)))
        for check in checks:
            sign, style = ("✔", "green") if check.good else ("✖", "red")
            line = Text.assemble((f"  {sign} ", style), check.name, (f"  {check.found}", "bright_black"))
            self.console.print(line, soft_wrap=True)


def _picture(view: View) -> RenderableType:
    table = Table(box=None, header_style="bright_black", pad_edge=False)
    for column in ("State", "Service", "Region", "Live", "Last beat", "Why"):
        table.add_column(column, no_wrap=column != "Why")
    for row in view.services[:_WORST_ROWS]:
        table.add_row(
            Text(f"{SIGNS[row.verdict]} {row.verdict}", _COLOURS.get(row.verdict, "red")),
            row.service,
            row.region,
            f"{row.live}/{row.known}",
            f"{duration(view.now - row.last_notify_time)} ago",
            Text(row.why, "bright_black", overflow="ellipsis"),
        )
    more = len(view.services) - _WORST_ROWS
    rest = Text(f"and {more} more, none of them worse" if more > 0 else "", "bright_black")
    head = Text.assemble(("boards  ", "bright_black"), (view.boards_url, "bold"), "   ", (view.phase, "cyan"))
    return Padding(Group(head, Text(_counts(view)), Text(), table, rest), (1, 2))


def _counts(view: View) -> str:
    under_way = max(0, view.emitted - view.stored - view.dropped)
    counts = f"{view.orders:,} orders · {view.emitted:,} events emitted · {view.stored:,} stored"
    return f"{counts} · {view.dropped:,} dropped · {under_way:,} under way"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S.%f")[:-5]
