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
LEAVE_S = 30.0
"""How long a gateway must be blind before its ingress goes on without it."""


class Pulse:
    """A partition's own time: grows with each record by the time between two, GAP_S at most. Compares silences of
    rows and scopes with each other, immune to a clock that jumps."""

    __slots__ = ("last_at", "now")

    def __init__(self, now: float = 0.0, last_at: float = math.nan) -> None:
        self.now = now
        self.last_at = last_at

    def record(self, at: float) -> None:
        """Another record was appended at `at`."""
        growth = at - self.last_at
        if growth > 0:
            self.now += min(growth, GAP_S)
        self.last_at = at


@dataclass(slots=True)
class Gateway:
    """One gateway of an ingress. `pulse` is the partition's when its last canary came; `silent_s` is how long the
    watch, awake and up to date, has missed it; `moved`: since then something it carried came through another."""

    last_at: float
    pulse: float
    silent_s: float = 0.0
    moved: bool = False


class PathSight:
    """The clock of one path."""

    __slots__ = ("carried", "gateways", "low", "missed_s", "moved_at", "now", "returned_at", "returned_pulse")

    def __init__(self) -> None:
        self.now = 0.0
        self.low = math.nan
        self.returned_at = -math.inf
        self.returned_pulse = -math.inf
        self.moved_at = -math.inf
        self.gateways: dict[str, Gateway] = {}
        self.carried: dict[str, int] = {}
        self.missed_s = 0.0

    def canary(self, gateway: str, at: float, pulse: float) -> None:
        """A gateway's canary was appended at `at`: the clock moves as far as *every* gateway has been seen."""
        self.missed_s = 0.0
        self.gateways[gateway] = Gateway(at, pulse)
        self._give_up(pulse)
        low = min(each.last_at for each in self.gateways.values())
        growth = low - self.low
        self.low = low
        if growth > 0:
            self.now += min(growth, GAP_S)
        if growth > GAP_S or growth != growth:  # a gap, or the first canary of all
            self.returned_at, self.returned_pulse = self.now, pulse

    def _give_up(self, pulse: float) -> None:
        """Go on without gateways that are blind while what they carried is seen elsewhere, or that carry nothing."""
        for name, gateway in list(self.gateways.items()):
            idle = not self.carried.get(name)
            if pulse - gateway.pulse >= LEAVE_S and (gateway.moved or idle) and len(self.gateways) > 1:
                del self.gateways[name]
                self.moved_at = self.now + GAP_S  # the growth that follows, a gap, is capped at that

    def moment(self, at: float) -> float:
        """Sighted time at a record appended at `at`: between two canaries it runs on, GAP_S at most."""
        growth = at - self.low
        return self.now + min(growth, GAP_S) if growth > 0 else self.now

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
