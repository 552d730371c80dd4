"""Sighted time: a clock for each path (a partition's beats through one ingress) that ticks only while it can be seen.

Canaries move it, never the operating system's clock, and by GAP_S at most at a time: so a gateway that hangs, a broker
that is down, a watch that was paused, a clock that jumps all look the same, as time that did not pass. No I/O here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .staleness import Sighted

GAP_S = 2.0
"""The most that one canary moves the clock; a longer pause is a gap of sight."""
SETTLED_S = 1.0
"""For so long after a gateway came back, it hands over what it held."""
LEAVE_S = 30.0
"""How long a gateway must be blind before its ingress goes on without it."""


class Pulse:
    """A partition's own time: grows with each record by the time between two, GAP_S at most, and never goes back. All
    silences are measured in it, so that a clock that jumps changes none. `gaps` counts the longer pauses."""

    __slots__ = ("gaps", "last_at", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.gaps = 0
        self.last_at = math.nan

    def record(self, at: float) -> None:
        """Another record was appended at `at`."""
        growth = at - self.last_at
        if growth > GAP_S:
            self.now += GAP_S
            self.gaps += 1
        elif growth > 0:
            self.now += growth
        self.last_at = at


@dataclass(slots=True)
class Gateway:
    """One gateway of an ingress. `last_at` is when the journal received its last canary, `pulse` and `gaps` are the
    partition's then, `since` its pulse when the canaries came back after a pause; `silent_s` is how long the watch,
    awake and up to date, has missed it; `moved`: since its last one something that it carried came through another."""

    last_at: float
    pulse: float
    gaps: int
    since: float
    silent_s: float = 0.0
    moved: bool = False


class PathSight:
    """The clock of one path. `low` is the pulse up to which every gateway has been seen."""

    __slots__ = ("carried", "gaps", "gateways", "low", "missed_s", "moved_at", "now", "returned_at", "returned_pulse")

    def __init__(self) -> None:
        self.now = 0.0
        self.low = math.nan
        self.gaps = 0
        self.returned_at = -math.inf
        self.returned_pulse = -math.inf
        self.moved_at = -math.inf
        self.gateways: dict[str, Gateway] = {}
        self.carried: dict[str, int] = {}
        self.missed_s = 0.0

    def canary(self, gateway: str, pulse: Pulse) -> None:
        """A gateway's canary is the partition's newest record: the clock moves as far as *every* gateway was seen."""
        self.missed_s = 0.0
        old = self.gateways.get(gateway)
        is_steady = old is not None and pulse.now - old.pulse <= GAP_S and pulse.gaps == old.gaps
        since = old.since if old is not None and is_steady else pulse.now
        self.gateways[gateway] = Gateway(pulse.last_at, pulse.now, pulse.gaps, since)
        self._give_up(pulse.now)
        low = min(each.pulse for each in self.gateways.values())
        growth = low - self.low
        if growth > 0 or growth != growth:
            has_gap = growth > GAP_S or growth != growth or pulse.gaps > self.gaps  # or the first canary of all
            self.now += min(growth, GAP_S) if growth > 0 else 0.0
            self.low, self.gaps = low, pulse.gaps
            if has_gap:
                self.returned_at, self.returned_pulse = self.now, pulse.now

    def _give_up(self, pulse: float) -> None:
        """Go on without gateways that are blind while what they carried is seen elsewhere, or that carry nothing."""
        for name, gateway in list(self.gateways.items()):
            idle = not self.carried.get(name)
            if pulse - gateway.pulse >= LEAVE_S and (gateway.moved or idle) and len(self.gateways) > 1:
                del self.gateways[name]
                self.moved_at = self.now + GAP_S  # the growth that follows, a gap, is capped at that

    @property
    def seen_at(self) -> float | None:
        """The journal's time up to which every gateway was seen."""
        return min((each.last_at for each in self.gateways.values()), default=None)

    def moment(self, pulse: float) -> float:
        """Sighted time at a pulse: between two canaries it runs on, GAP_S at most."""
        growth = pulse - self.low
        return self.now + min(growth, GAP_S) if growth > 0 else self.now

    def is_steady(self, gateway: str, pulse: Pulse) -> bool:
        """Whether a gateway is seen now, and not only just. Else what comes through it may have lain in a buffer."""
        held = self.gateways.get(gateway)
        return (
            held is not None
            and pulse.now - held.pulse <= GAP_S
            and pulse.gaps == held.gaps
            and pulse.now - held.since > SETTLED_S
        )

    def is_current(self, pulse: Pulse) -> bool:
        """Whether every gateway is seen now. While one is not, its services' beats may be lost with its canaries."""
        return pulse.now - self.low <= GAP_S and pulse.gaps == self.gaps

    def carry(self, old: str | None, new: str | None) -> None:
        """A live process was first heard (old None), moved between gateways, or is no longer live (new None)."""
        if old is not None:
            left = self.carried.get(old, 0) - 1
            if left > 0:
                self.carried[old] = left
            else:
                self.carried.pop(old, None)
            if new is not None and old in self.gateways:
                self.gateways[old].moved = True
        if new is not None:
            self.carried[new] = self.carried.get(new, 0) + 1

    def elapse(self, seconds: float) -> None:
        """The watch was awake and up to date for this long (by its own clock) without a canary of anybody."""
        self.missed_s += seconds
        for gateway in self.gateways.values():
            gateway.silent_s += seconds

    def unseen(self) -> tuple[float, tuple[str, ...]]:
        """For how long the worst gateway was missed, and the names of those missed for over half as long."""
        if not self.gateways:
            return self.missed_s, ()
        worst = max(each.silent_s for each in self.gateways.values())
        return worst, tuple(sorted(name for name, each in self.gateways.items() if each.silent_s > worst / 2))

    @property
    def sighted(self) -> Sighted:
        """The clock as the decision takes it."""
        return Sighted(self.now, self.returned_at, self.moved_at)
