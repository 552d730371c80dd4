"""Whose death is it? A process that fell silent may be dead, or its zone, ingress or region may be cut off.

A scope is a set of processes that share a fate. It counts who is live and who is late, and knows when anybody in it was
last heard, so that the decision (`place`) costs nothing per process. Times are the partitions' pulses. No I/O here.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from .sight import Pulse

if TYPE_CHECKING:
    from .processes import Process

MIN_SERVICES = 3
MIN_SHARE = 0.5
REMEMBER_S = 120.0
LULL_S = 1.0
RESUME_S = 30.0
MAX_WITNESS_INTERVAL_S = 60.0
"""Who beats more rarely can't testify that its scope is silent now."""


@dataclass(frozen=True, slots=True)
class Silence:
    """One process's silence: how long, and after how long its scope should have been heard from it again."""

    age_s: float
    interval_s: float
    tolerance_s: float
    released: bool = False

    @property
    def missing_s(self) -> float:
        """For how long its next beat has been overdue."""
        return self.age_s - self.interval_s - self.tolerance_s


@dataclass(frozen=True, slots=True)
class ScopeFacts:
    """What a scope can testify: services live (or cut off) in it, how many of them are silent, how many of these since
    about the same moment, and how long ago anybody in it was heard; and how many of the silent ones, and of those since
    the same moment, are overdue: silent for longer than is allowed."""

    name: str
    live: int
    silent: int
    together: int
    heard_s: float
    overdue: int
    overdue_together: int

    @property
    def share(self) -> float:
        """How much of it fell silent at one moment."""
        return self.together / self.live if self.live else 0.0

    @property
    def is_silent(self) -> bool:
        """Enough are silent to call it one event, if nobody is heard."""
        return self.silent >= MIN_SERVICES and self.silent >= MIN_SHARE * self.live

    @property
    def fell_silent(self) -> bool:
        """Enough fell silent at one moment to call it one event, though others are heard."""
        return self.together >= MIN_SERVICES and self.share >= MIN_SHARE

    def doc(self) -> dict[str, Any]:
        """As evidence."""
        heard_s = round(self.heard_s, 3) if math.isfinite(self.heard_s) else None
        return {"scope": self.name, "live": self.live, "silent": self.silent, "heard_s": heard_s}


class Cause(Enum):
    """OWN: the process itself is dead. SCOPE: one incident for the scope. HOLD: nobody can tell yet."""

    OWN = "own"
    SCOPE = "scope"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Placement:
    """The cause; for SCOPE and HOLD, which of the given scopes, and whether nobody at all in it is heard."""

    cause: Cause
    index: int = -1
    whole: bool = False


def place(silence: Silence, scopes: Iterable[ScopeFacts]) -> Placement:
    """Decide whose death it is. `scopes` are those the process belongs to, the widest first; no more of them are asked
    than it takes.

    A scope with somebody heard since the process's own beat was overdue is alive. One that is silent as a whole, and
    has MIN_SERVICES: its own incident once half of its services are late, and MIN_SERVICES for longer than is allowed;
    until then nobody can tell: somebody may have died just before a cut that is over soon. In a scope that is alive,
    half of the services silent at once are still one event, told in the same way for the scope they fill the most. A
    process that was given up by its scope's return has had its chance: if the scope is alive, the death is its own.
    """
    partial: tuple[int, ScopeFacts] | None = None
    for index, scope in enumerate(scopes):
        if scope.live < MIN_SERVICES:
            continue
        if scope.heard_s >= silence.missing_s:
            lasts = scope.is_silent and scope.overdue >= MIN_SERVICES
            return Placement(Cause.SCOPE if lasts else Cause.HOLD, index, whole=True)
        if scope.fell_silent and (partial is None or scope.share > partial[1].share):
            partial = index, scope
    if partial is not None and not silence.released:
        index, scope = partial
        return Placement(Cause.SCOPE if scope.overdue_together >= MIN_SERVICES else Cause.HOLD, index)
    return Placement(Cause.OWN)


class Scope:
    """The running counts of one scope."""

    __slots__ = ("_counts", "_heard", "_lulled", "_resumed", "_resuming", "key", "late", "returned", "silent")

    def __init__(self, key: str) -> None:
        self.key = key
        self._counts: dict[str, list[float]] = {}
        self._heard: dict[Pulse, float] = {}
        self._lulled: dict[Pulse, float] = {}
        self.returned: tuple[Pulse, float] | None = None
        self._resumed: dict[str, tuple[Pulse, float]] = {}
        self._resuming: deque[tuple[Pulse, float, str]] = deque()
        self.silent = 0
        self.late: set[Process] = set()

    @property
    def live(self) -> int:
        """Services with a live process in it that beats often enough to testify."""
        return len(self._counts)

    def hear(self, pulse: Pulse, at: float) -> None:
        """Somebody in it was heard, when its partition's pulse was `at`."""
        last = self._heard.get(pulse, -math.inf)
        if at > last:
            if at - last > LULL_S:
                self._lulled[pulse] = at
                self._end_lull(pulse, self.heard_s)
            self._heard[pulse] = at

    def _end_lull(self, pulse: Pulse, lull_s: float) -> None:
        """Nobody was heard for so long. When half of the scope should have been, it was an outage, which a watch that
        slept, was behind or had no sight did not see."""
        missed = sum(late_s < lull_s for _, _, late_s in self._counts.values()) if math.isfinite(lull_s) else 0
        if missed >= MIN_SERVICES and missed >= MIN_SHARE * self.live:
            self.come_back(pulse)

    @property
    def heard_s(self) -> float:
        """How long ago anybody in it was heard."""
        return min((pulse.now - at for pulse, at in self._heard.items()), default=math.inf)

    def come_back(self, pulse: Pulse, at: float | None = None) -> None:
        """It was silent as a whole, and is heard again: whoever in it was not heard since has its time from here."""
        self.returned = (pulse, pulse.now if at is None else at)

    def returned_at(self, pulse: Pulse) -> float:
        """When it last came back, by the pulse of any partition; -infinity if it never did."""
        if self.returned is None:
            return -math.inf
        other, at = self.returned
        return pulse.now - (other.now - at)

    def resume(self, service: str, pulse: Pulse, at: float) -> None:
        """A service was heard again after it missed a beat. When half of the scope is, that was an outage too."""
        self._resumed[service] = (pulse, at)
        self._resuming.append((pulse, pulse.now, service))
        while self._resuming[0][0].now - self._resuming[0][1] > RESUME_S:
            self._resuming.popleft()
        if len(self._resuming) >= MIN_SERVICES and len(self._resuming) >= MIN_SHARE * self.live:
            services = {name for _, _, name in self._resuming}
            if len(services) >= MIN_SERVICES and len(services) >= MIN_SHARE * self.live:
                self.come_back(pulse)  # an outage that nobody watched
                self._resuming.clear()

    def resumed_s(self, process: Process, is_with: Callable[[Process], bool], *, count_late: bool) -> float:
        """How long ago a silence ended that was too short to become an outage, and in which this process may have
        missed a beat: MIN_SERVICES are just back from a missed beat or (`count_late`) still late with it, after a lull
        or since the last of them is back. Infinite if there was none."""
        pulse = process.path.partition.pulse
        missed_s, fresh_s = process.missed_s, process.policy.fresh_s
        back: dict[str, float] = {}
        for service, (other, at) in list(self._resumed.items()):
            back_s = other.now - at
            if back_s > REMEMBER_S:
                del self._resumed[service]
            elif back_s < min(missed_s, fresh_s):
                back[service] = back_s
        latest_s = min(back.values(), default=math.inf)
        if len(back) >= MIN_SERVICES:
            return latest_s
        if not count_late or len(back) + self.silent < MIN_SERVICES:
            return math.inf
        lull_s = pulse.now - self._lulled.get(pulse, -math.inf)
        came_s = latest_s if back else lull_s if lull_s < missed_s else math.inf
        late = {other.service_key for other in self.late if is_with(other)}
        return came_s if len(late | back.keys()) >= MIN_SERVICES else math.inf

    def count(self, service: str, live: int, late: int, late_s: float) -> None:
        """So many more (or fewer) live and late processes of a service, of which one is late after `late_s`."""
        held = self._counts.get(service)
        if held is None:
            held = self._counts[service] = [0, 0, late_s]
        elif held[0] == held[1]:
            self.silent -= 1
        held[0] += live
        held[1] += late
        if held[0] == 0:
            del self._counts[service]
        elif held[0] == held[1]:
            self.silent += 1

    def facts(self, is_with: Callable[[Process], bool], is_overdue: Callable[[Process], bool]) -> ScopeFacts:
        """What it can testify. Silent together are the services whose processes all are `is_with` the one in question,
        silent since about the same moment; overdue are those whose processes all are."""
        facts = ScopeFacts(self.key, self.live, self.silent, self.silent, self.heard_s, 0, 0)
        if not facts.is_silent:  # then a part of the silent ones is too few as well
            return facts
        together: Counter[str] = Counter()
        overdue: Counter[str] = Counter()
        both: Counter[str] = Counter()
        for process in self.late:
            service, too_long = process.service_key, is_overdue(process)
            at_once = process.live and is_with(process)  # who is cut off already has its incident
            together[service] += at_once
            overdue[service] += too_long
            both[service] += at_once and too_long
        return replace(
            facts, together=self._all_of(together), overdue=self._all_of(overdue), overdue_together=self._all_of(both)
        )

    def _all_of(self, processes: Mapping[str, int]) -> int:
        """Of how many services these are all processes."""
        return sum(self._counts[service][0] == many for service, many in processes.items())
