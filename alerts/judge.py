"""The judge: looks at whom time has made due, decides whose death it is, and keeps the incidents in step with it.

It decides only for partitions that were read to their end. Incidents follow from what the rows are now, not from what
just happened, so that a restart, or a decision made twice, comes to the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from . import reasons
from .book import Book
from .processes import Instance, Process, Service
from .roster import Outage, Roster
from .scopes import Cause, Placement, Scope, ScopeFacts, Silence, place
from .settings import AlertSettings
from .staleness import Verdict, deadline, evaluate

HEARD_S = 5.0
"""A scope in which somebody was heard so lately is no outage."""


class Judge:
    """Turns processes LATE, DOWN, REFUSED and UNREACHABLE; opens, amends and resolves the incidents of services."""

    def __init__(self, roster: Roster, book: Book, settings: AlertSettings) -> None:
        self._roster = roster
        self._book = book
        self._settings = settings
        self._suspects: dict[Process, Scope | None] = {}
        self._evidence: dict[Process, dict[str, Any]] = {}
        self._looping: set[Service] = set()
        self._short: dict[Service, tuple[Process, float]] = {}

    @property
    def held(self) -> int:
        """Processes past their deadline of which nobody can tell yet whose silence it is."""
        return len(self._suspects)

    def step(self) -> None:
        """Judge all that is due."""
        self._look()
        self._decide()
        self._tell_outages()
        self._tell_late_evidence()
        for service in {*self._roster.touched, *self._looping, *self._short}:
            self._reconcile(service)
        for process in [each for each in self._evidence if each.verdict is not Verdict.DOWN or each.replaced]:
            del self._evidence[process]
        self._roster.touched.clear()

    # --- processes ---

    def _look(self) -> None:
        for path in self._roster.paths.values():
            if not path.partition.caught_up:
                continue
            sighted = path.sight.sighted
            for process in path.due():
                if not process.live:
                    continue
                found = evaluate(sighted, process.heard, process.policy, process.floor)
                if found.verdict is Verdict.DOWN:
                    self._suspects[process] = None
                    found_verdict = Verdict.LATE
                else:
                    found_verdict = Verdict.LATE if process.released else found.verdict
                    path.schedule(process, found.next_at)
                self._roster.turn(process, found_verdict)

    def _decide(self) -> None:
        held: set[tuple[Scope, ...]] = set()  # where nobody can tell yet, asked once for all who are there
        for process in list(self._suspects):
            if process not in self._suspects or not process.path.partition.caught_up:
                continue
            if process.verdict is not Verdict.LATE:  # heard, or said goodbye
                del self._suspects[process]
                continue
            if not process.path.sight.is_current(process.path.partition.pulse):
                continue  # perhaps a gap of sight that gives it time again: that is seen when it ends
            until = deadline(process.path.sight.sighted, process.heard, process.policy, process.floor)
            if process.path.sight.now <= until:  # sight was lost and came back
                del self._suspects[process]
                process.path.schedule(process, until)
            elif process.instance.refused is not None:
                self._refuse(process)
            elif _is_awaited(process) or self._joins_outage(process) or process.scopes in held:
                continue
            elif self._place(process) is Cause.HOLD:
                held.add(process.scopes)

    def _refuse(self, process: Process) -> None:
        refusal = process.instance.refused
        assert refusal is not None
        if refusal.age_s > process.policy.allowed_s:
            process.instance.refused = None  # then it is judged in the next step
            return
        del self._suspects[process]
        self._roster.turn(process, Verdict.REFUSED)

    def _joins_outage(self, process: Process) -> bool:
        for scope in process.scopes:
            outage = self._roster.outages.get(scope.key)
            if outage is None:
                continue
            if scope.heard_s >= _silence(process).missing_s:
                outage.whole = True
            if outage.whole or _fell_with(process, outage):
                self._cut_off(process, outage)
                return True
        return False

    def _place(self, process: Process) -> Cause | None:
        """Whose death it was found to be; None if it has yet to be awaited."""
        silence = _silence(process)
        waits_for = self._suspects[process]
        if waits_for is not None and waits_for.heard_s < silence.missing_s:
            self._suspects[process] = None
            if waits_for.silent > 1:  # others missed their beats too: it was cut off, not merely between beats
                waits_for.come_back(process.path.partition.pulse)
                return None  # to be awaited from here
        is_with = functools.partial(_together, process)
        is_overdue = functools.partial(self._is_overdue, process.policy.allowed_s)
        facts: list[ScopeFacts] = []

        def asked() -> Iterator[ScopeFacts]:
            for scope in process.scopes:
                facts.append(scope.facts(is_with, is_overdue))
                yield facts[-1]

        placement = place(silence, asked())
        if placement.cause is Cause.HOLD:
            self._suspects[process] = process.scopes[placement.index] if placement.whole else None
        elif placement.cause is Cause.SCOPE:
            self._open_outage(process, placement, facts)
        elif placement.cause is Cause.OWN and not _may_resume(process):
            del self._suspects[process]
            self._evidence[process] = {
                "silent_s": round(process.path.sight.now - process.heard, 3),
                "scopes": [each.doc() for each in facts],
            }
            self._roster.turn(process, Verdict.DOWN)
            self._roster.match_successors(process.instance)
        return placement.cause

    def _is_overdue(self, allowed_s: float, other: Process) -> bool:
        """Whether it is past its own deadline, or silent for longer than the one in question is allowed to be."""
        return other in self._suspects or not other.live or other.silent_s > allowed_s

    # --- outages ---

    def _open_outage(self, process: Process, placement: Placement, facts: list[ScopeFacts]) -> None:
        scope = process.scopes[placement.index]
        pulses = {tp: partition.pulse.now for tp, partition in self._roster.partitions.items()}
        outage = self._roster.outages.setdefault(
            scope.key, Outage(scope.key, placement.whole, process.silent_s, pulses)
        )
        outage.whole = outage.whole or placement.whole
        late = [each for each in scope.late if each.verdict is Verdict.LATE]
        for other in [process, *(each for each in late if placement.whole or _together(process, each))]:
            self._cut_off(other, outage)
        for narrower in [each for each in self._roster.outages.values() if each is not outage]:
            if narrower.members and all(scope in member.scopes for member in narrower.members):
                for member in list(narrower.members):
                    self._cut_off(member, outage)
                del self._roster.outages[narrower.scope]
                self._book.resolve(reasons.outage_key(narrower.scope), f"part of a wider one: {scope.key}")
        self._book.open(reasons.unreachable(outage, facts[placement.index], process))

    def _cut_off(self, process: Process, outage: Outage) -> None:
        self._suspects.pop(process, None)
        self._roster.turn(process, Verdict.UNREACHABLE)
        if process.outage is not None and process.outage in self._roster.outages:
            self._roster.outages[process.outage].members.discard(process)
        process.outage = outage.scope
        outage.members.add(process)
        self._roster.changed.add(process.instance)

    def _tell_outages(self) -> None:
        for outage in self._roster.ended_outages:
            silent = sorted({each.service_key for each in outage.members if each.released})
            self._book.resolve(reasons.outage_key(outage.scope), reasons.heard_again(silent))
        self._roster.ended_outages.clear()
        for incident in [each for each in self._book.opens() if each.kind == "unreachable"]:
            key = incident.dedup_key.removeprefix(reasons.outage_key(""))
            scope = self._roster.scopes.get(key)
            if key not in self._roster.outages and scope is not None and scope.heard_s < HEARD_S:
                self._book.resolve(incident.dedup_key, reasons.heard_again(()))  # it ended just before a restart
        for outage in list(self._roster.outages.values()):
            if not outage.members:  # all said goodbye, or were forgotten
                del self._roster.outages[outage.scope]
                self._book.resolve(reasons.outage_key(outage.scope), "nobody in it is expected any more")

    # --- services ---

    def _tell_late_evidence(self) -> None:
        for process, beat in self._roster.late_evidence:
            text = reasons.late_evidence(beat)
            service = process.instance.service
            for key in (reasons.down_key(service), reasons.instance_key(process.instance)):
                self._book.amend(key, text)
        self._roster.late_evidence.clear()

    def _reconcile(self, service: Service) -> None:
        """Make the incidents of one service what its rows say."""
        _replace_dead(service, self._roster)
        is_down = self._is_down(service)
        key = reasons.down_key(service)
        if is_down:
            self._book.open(reasons.down(service, self._evidence))
        elif self._book.find(key) is not None and self._is_well(service):
            self._book.resolve(key, reasons.back(service))
        for instance in service.instances.values():
            self._reconcile_instance(instance, service_is_down=is_down)
        self._reconcile_loop(service)

    def _is_down(self, service: Service) -> bool:
        excused = service.counts.get(Verdict.UNREACHABLE, 0) + service.counts.get(Verdict.REFUSED, 0)
        if service.live + excused >= service.minimum:
            self._short.pop(service, None)
            return False
        if service.live == 0:
            self._short.pop(service, None)
            return service.counts.get(Verdict.DOWN, 0) > 0 and not reasons.ended_with_goodbye(service)
        return service.counts.get(Verdict.DOWN, 0) > 0 or self._is_short(service)

    def _is_short(self, service: Service) -> bool:
        """Fewer live than its minimum though nobody died (goodbyes, or a slow start): told after what a beat is
        allowed, so that a rolling restart is not an incident."""
        held = self._short.get(service)
        if held is None or not held[0].live:
            live = (
                each for instance in service.instances.values() for each in instance.processes.values() if each.live
            )
            process = next(live)
            held = self._short[service] = (process, process.path.sight.now)
        process, since = held
        return process.path.sight.now - since > process.policy.allowed_s

    @staticmethod
    def _is_well(service: Service) -> bool:
        """Resolved by beats, not by the lack of a verdict: one that is late proves nothing."""
        return service.counts.get(Verdict.UP, 0) >= service.minimum or service.live + service.known == 0 or (
            service.live == 0 and reasons.ended_with_goodbye(service)
        )  # fmt: skip

    def _reconcile_instance(self, instance: Instance, *, service_is_down: bool) -> None:
        dead = [each for each in instance.processes.values() if each.verdict is Verdict.DOWN and not each.replaced]
        key = reasons.instance_key(instance)
        if dead and not service_is_down and instance.service.live > 0:
            pending_s = self._settings.instance_pending_s
            self._book.open(reasons.one_instance(instance, dead, self._evidence, pending_s))
        elif self._book.find(key) is not None:
            if service_is_down:
                self._book.resolve(key, "the whole service is down now")
            elif not dead and (instance.verdict is Verdict.UP or not instance.live):
                self._book.resolve(key, reasons.instance_back(instance))
            elif dead and instance.service.live == 0:
                self._book.resolve(key, "the service was stopped")

    def _reconcile_loop(self, service: Service) -> None:
        window_s, now = self._settings.crash_loop_window_s, self._roster.now()
        times = sorted(
            at for each in service.instances.values() for at in each.restart_times if 0 <= now - at <= window_s
        )
        if len(times) >= self._settings.crash_loop_restarts:
            self._looping.add(service)
            if self._book.find(reasons.loop_key(service)) is None:
                self._book.open(reasons.crash_loop(service, times, window_s))
        elif service in self._looping or self._book.find(reasons.loop_key(service)) is not None:
            self._looping.discard(service)
            self._book.resolve(reasons.loop_key(service), "no further restarts")

    def is_looping(self, service: Service) -> bool:
        """Whether it restarts again and again."""
        return service in self._looping


def _silence(process: Process) -> Silence:
    policy = process.policy
    return Silence(process.silent_s, policy.interval_s, policy.tolerance_s, process.released)


def _together(one: Process, other: Process) -> bool:
    """Whether the other fell silent at about the moment that this one did: within what their beats can tell."""
    slack = max(one.policy.late_s, other.policy.late_s)
    return abs(one.silent_s - other.silent_s) <= slack


def _is_awaited(process: Process) -> bool:
    """Whether sight or one of its scopes came back too lately for a healthy process to have been heard."""
    return process.silent_s < min(process.unheard_s, process.policy.fresh_s)


def _may_resume(process: Process) -> bool:
    """Whether others are just coming back from a silence, too short to be an outage, in which it lost beats too."""
    fresh_s = process.policy.fresh_s
    over_s = process.unheard_s - process.policy.allowed_s
    if over_s > process.policy.patience_s:
        return False
    is_with = functools.partial(_together, process)
    return any(scope.resumed_s(process, is_with, count_late=over_s < fresh_s) < fresh_s for scope in process.scopes)


def _fell_with(process: Process, outage: Outage) -> bool:
    partition = process.path.partition
    age_then = process.silent_s - (partition.pulse.now - outage.pulses.get(partition.tp, partition.pulse.now))
    return abs(age_then - outage.age_s) <= process.policy.late_s


def _replace_dead(service: Service, roster: Roster) -> None:
    """A dead instance whose place another took that came after its death is not missing (names that change with each
    start, as in a cluster)."""
    dead = [each for each in service.instances.values() if each.verdict is Verdict.DOWN]
    if not dead:
        return
    heirs = [each for each in service.instances.values() if each.verdict is Verdict.UP and each.heir_of is None]
    for instance in sorted(dead, key=lambda each: each.last):
        heir = min(
            (each for each in heirs if each.first_at > instance.last), key=lambda each: each.first_at, default=None
        )
        if heir is not None:
            heirs.remove(heir)
            heir.heir_of = instance.key
            for process in instance.processes.values():
                if process.verdict is Verdict.DOWN:
                    roster.turn(process, Verdict.STOPPED)
            instance.why = f"died; {heir.name} took its place"
