"""What the watch keeps in memory of each boot, instance and service. Plain counts and links; no decisions, no I/O.

A process here is one boot: one start of one program. Several under one instance name are workers that share it, or a
start and its successor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .beat import Info
from .staleness import LIVE, Policy, Verdict

if TYPE_CHECKING:
    from .paths import Path
    from .scopes import Scope

_ORDER = (Verdict.UP, Verdict.LATE, Verdict.DOWN, Verdict.UNREACHABLE, Verdict.REFUSED, Verdict.STOPPED)
"""An instance is what its best process is."""


class Process:
    """One boot. `last` is the journal's time of its last beat; `heard` and `pulse` are the same moment in the sighted
    time of its path and in its partition's pulse; `floor` is the sighted time that its scope's return gives it.
    `born` is the pulse of its first beat, and `started_pulse` of its start: an order that a jumping clock can't change.
    `scheduled` is when its path's heap looks at it next. `judged` is False while only beats from the past are known.
    """

    __slots__ = (
        "boot",
        "born",
        "first_at",
        "floor",
        "heard",
        "info",
        "instance",
        "judged",
        "last",
        "number",
        "offset",
        "outage",
        "path",
        "policy",
        "pulse",
        "released",
        "replaced",
        "scheduled",
        "scopes",
        "started_at",
        "started_pulse",
        "succeeds",
        "verdict",
        "via",
    )

    def __init__(self, instance: Instance, boot: str, path: Path, policy: Policy, info: Info) -> None:
        self.instance = instance
        self.boot = boot
        self.path = path
        self.policy = policy
        self.info = info
        self.number = 0
        self.last = self.first_at = self.started_at = 0.0
        self.heard = self.pulse = self.born = self.started_pulse = 0.0
        self.floor = float("-inf")
        self.offset = 0
        self.scheduled = float("inf")
        self.verdict = Verdict.STOPPED
        self.via = ""
        self.judged = False
        self.released = False
        self.replaced = False
        self.succeeds: str | None = None
        self.scopes: tuple[Scope, ...] = ()
        self.outage: str | None = None

    @property
    def live(self) -> bool:
        """Whether it counts as alive."""
        return self.verdict in LIVE

    @property
    def returned_at(self) -> float:
        """The pulse when sight, or one of its scopes, came back last; -infinity if neither did since its last beat."""
        pulse = self.path.partition.pulse
        at = max(self.path.sight.returned_pulse, *(scope.returned_at(pulse) for scope in self.scopes))
        return at if at > self.pulse else -math.inf

    @property
    def unheard_s(self) -> float:
        """For how long, by its partition's pulse, it was not heard."""
        return self.path.partition.pulse.now - self.pulse

    @property
    def silent_s(self) -> float:
        """For how long it could have been heard and was not: since its last beat, or the last return of sight or of a
        scope; returns without end hide nobody for ever."""
        unheard_s = self.unheard_s
        if unheard_s > self.policy.allowed_s + self.policy.patience_s:
            return unheard_s
        return min(unheard_s, self.path.partition.pulse.now - self.returned_at)

    @property
    def missed_s(self) -> float:
        """How long ago it may have missed a beat. Right after a return that may be any time; else its beats tell."""
        is_anyones = self.released or self.silent_s < self.unheard_s
        return self.silent_s - (0.0 if is_anyones else self.policy.interval_s)

    @property
    def service_key(self) -> str:
        """`<region>/<service>`."""
        return self.instance.service.key


@dataclass(slots=True)
class Refusal:
    """Beats of one sender were turned away at a gateway: why, when last in the path's sighted time `at`, and since
    when in the journal's. `instance` is None for a sender that never got through."""

    region: str
    key: str
    code: str
    path: Path
    at: float
    first_at: float
    instance: Instance | None

    @property
    def age_s(self) -> float:
        """Sighted time since the last one."""
        return self.path.sight.now - self.at


class Instance:
    """One instance name. `restarts` counts boots that ended without a goodbye and were followed by another;
    `refused` says that its beats are turned away."""

    __slots__ = (
        "first_at",
        "heir_of",
        "key",
        "name",
        "processes",
        "refused",
        "restart_times",
        "restarts",
        "service",
        "since",
        "verdict",
        "why",
    )

    def __init__(self, service: Service, name: str, at: float) -> None:
        self.service = service
        self.name = name
        self.key = f"{service.region}/{service.name}/{name}"
        self.processes: dict[str, Process] = {}
        self.restarts = 0
        self.restart_times: list[float] = []
        self.refused: Refusal | None = None
        self.first_at = at
        self.heir_of: str | None = None
        self.verdict = Verdict.STOPPED
        self.why = ""
        self.since = at

    def best(self) -> Verdict:
        """What its processes make it."""
        held = {process.verdict for process in self.processes.values() if not process.replaced}
        return next((verdict for verdict in _ORDER if verdict in held), Verdict.STOPPED)

    @property
    def last(self) -> float:
        """The journal's time of its last beat."""
        newest = min(self.processes.values(), key=lambda each: each.unheard_s, default=None)
        return self.first_at if newest is None else newest.last

    def shown(self) -> Process | None:
        """The process that stands for it on the boards: a live one first, then the one heard last."""
        return max(self.processes.values(), key=lambda each: (each.live, -each.unheard_s), default=None)

    @property
    def live(self) -> bool:
        """Whether it counts as alive."""
        return self.verdict in LIVE


class Service:
    """One service in one region. `counts` is how many instances have each verdict."""

    __slots__ = ("counts", "first_at", "instances", "key", "minimum", "name", "region")

    def __init__(self, region: str, name: str, minimum: int, at: float) -> None:
        self.region = region
        self.name = name
        self.key = f"{region}/{name}"
        self.minimum = minimum
        self.instances: dict[str, Instance] = {}
        self.counts: dict[Verdict, int] = {}
        self.first_at = at

    @property
    def live(self) -> int:
        """How many instances are live."""
        return self.counts.get(Verdict.UP, 0) + self.counts.get(Verdict.LATE, 0)

    @property
    def known(self) -> int:
        """How many instances should be there: all that have not said goodbye."""
        return sum(self.counts.values()) - self.counts.get(Verdict.STOPPED, 0)

    def recount(self, old: Verdict | None, new: Verdict | None) -> None:
        """An instance turned from `old` into `new`; None is an instance that is not there."""
        if old is not None:
            self.counts[old] -= 1
        if new is not None:
            self.counts[new] = self.counts.get(new, 0) + 1
