"""Short drills for tests: a site of its own in a temporary folder, one schedule, the result in words if it is bad."""

from __future__ import annotations

import threading
from pathlib import Path

from rich.console import Console

from compose.drill.run import Result, drill
from compose.drill.schedule import Planned, Schedule
from compose.drill.site import Site
from compose.drill.table import show
from compose.stack import Stack
from shippers.clock import SystemClock

SENDERS, RATE = 12, 4_500.0
MUTANTS = Path(__file__).parent / "faults" / "mutants.py"


def played(data: Path, schedule: Schedule, stack: Stack | None = None, *, rate: float = RATE, **mutants: str) -> Result:
    """Run one schedule; what came of it, printed. `mutants` break the code of roles on purpose: see tests/faults."""
    data.chmod(0o755)
    entries = {role: (str(MUTANTS), mutant) for role, mutant in mutants.items()}
    with Site(data / "site", SystemClock(), stack, entries) as site:
        result = drill(site, schedule, rate, print, threading.Event())
    show(Console(width=160), result)
    return result


def scripted(form: str, span_s: float, *faults: Planned) -> Schedule:
    """A schedule by hand."""
    return Schedule(0, form, span_s, SENDERS, tuple(sorted(faults, key=lambda one: one.at_s)))


def held(result: Result) -> bool:
    """Whether every promise held, each said apart, so that a test's failure says which did not."""
    assert result.emitted > 0
    assert not result.unaccounted
    assert not result.duplicates
    assert not result.stated.called_lost
    assert not result.stated.wrong
    assert not result.alarms.false
    assert not result.alarms.missed
    return result.is_good
