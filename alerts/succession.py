"""Which process replaced which under one instance name, so that a restart is a restart and not a death. No I/O."""

from __future__ import annotations

from .processes import Instance, Process
from .staleness import Verdict

KEEP_RESTARTS = 32


def match(instance: Instance) -> bool:
    """Give each process that ended without a goodbye a successor: one that started after its last beat (an interval
    less, as starts overlap with ends), each at most one. Whether any was found."""
    ended = [each for each in instance.processes.values() if each.verdict is Verdict.DOWN and not each.replaced]
    found = False
    for dead in sorted(ended, key=lambda each: each.born):
        heirs = [each for each in instance.processes.values() if _may_succeed(each, dead)]
        if heirs:
            heir = min(heirs, key=lambda each: each.born)
            heir.succeeds = dead.boot
            dead.replaced = found = True
            instance.restarts += 1
            instance.restart_times = [*instance.restart_times[1 - KEEP_RESTARTS :], heir.started_at]
    return found


def undo(instance: Instance, process: Process) -> None:
    """Its own beat shows that a process was never replaced."""
    process.replaced = False
    instance.restarts -= 1
    for other in instance.processes.values():
        if other.succeeds == process.boot:
            other.succeeds = None


def _may_succeed(process: Process, dead: Process) -> bool:
    """By the journal's clock or by the pulse: one may have jumped, the other stood still."""
    if process.succeeds is not None or process.replaced or not process.judged or process.born <= dead.born:
        return False
    slack_s = dead.policy.interval_s
    return process.started_at >= dead.last - slack_s or process.started_pulse >= dead.pulse - slack_s
