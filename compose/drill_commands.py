"""`lastbeat drill`: from the command line."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from shippers.clock import SystemClock

from .drill.observe import observe
from .drill.observe import show as show_observed
from .drill.run import drill
from .drill.schedule import EMBEDDED, STACK, plan
from .drill.site import Site
from .drill.table import show
from .running import find
from .settings import writable
from .stack import LINKED_PORTS, Stack
from .stopping import stop_on_signal

SENDERS = 12
RATE = 4_500.0
SPAN_S = 15.0
_SEEDS = 2**31


def run(stack: bool, minutes: float | None, seed: int | None, faults: list[str], keep: Path | None) -> int:
    """One drill in a scratch folder, or in `keep`, which stays. Returns the exit code: 0 if every promise held."""
    console = Console(highlight=False)
    seed = secrets.randbelow(_SEEDS) if seed is None else seed
    form = STACK if stack else EMBEDDED
    schedule = plan(seed, SPAN_S if minutes is None else 60 * minutes, form, SENDERS, faults)
    console.print(f"[bold]● lastbeat drill[/bold] · seed {seed} · {form}; again: lastbeat drill "
                  f"{'--stack ' if stack else ''}--seed {seed}{_again(minutes, faults)}")  # fmt: skip
    stop = stop_on_signal()
    clock = SystemClock()
    with ExitStack() as opened:
        data = writable(keep.absolute()) if keep else Path(tempfile.mkdtemp(prefix="lastbeat-drill-"))
        data.chmod(0o755)  # the servers run as another user when we are root
        if not keep:
            opened.callback(shutil.rmtree, data, ignore_errors=True)
        servers = None
        if stack:
            servers = Stack(data, clock, console, ports=LINKED_PORTS)
            opened.callback(servers.down if keep else servers.reset)
        with console.status("starting the platform …"):
            site = opened.enter_context(Site(data / f"seed-{seed}", clock, servers))
        result = drill(site, schedule, RATE, lambda line: console.print(line, style="bright_black"), stop)
        show(console, result)
        if stop.is_set():
            console.print("ended early: this was no whole drill", style="yellow")
            return 130
        return 0 if result.is_good else 1


def run_observe(config: Path | None, minutes: float | None) -> int:
    """Read and count on the platform of these settings. Returns the exit code: 0 if there was something to count, and
    nothing is missing or double."""
    console = Console(highlight=False)
    stop = stop_on_signal()
    seconds = 60 * (1.0 if minutes is None else minutes)
    with console.status(f"reading for {seconds:g} s; nothing is broken …"):
        observed = observe(find(config), SystemClock(), seconds, stop)
    show_observed(console, observed)
    return 0 if observed.is_good else 1


def _again(minutes: float | None, faults: list[str]) -> str:
    return (f" --minutes {minutes:g}" if minutes is not None else "") + "".join(f" --fault {name}" for name in faults)
