"""What a page is about: the period and the filters that the controls say, as the store is asked for them.

Pure. A live period ends a moment ago, rounded down, so that all viewers of one period ask the same questions and share
the answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from collector.ports import Volume, Where

RANGES = {"15 m": 900.0, "1 h": 3_600.0, "24 h": 86_400.0, "7 d": 604_800.0}
BEFORE = {"15 m": "the 15 min before", "1 h": "the hour before", "24 h": "the day before", "7 d": "the week before"}
DEFAULT_RANGE = "24 h"

STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400)
MOST_STEPS = 300
SETTLE_S = 2.0  # what happened within the last two seconds may still be on its way


@dataclass(frozen=True, slots=True)
class Choice:
    """What the controls say. `zoom` is a period brushed out of a chart; it stands still and rules over `range`."""

    range: str = DEFAULT_RANGE
    zoom: tuple[float, float] | None = None
    compare: bool = True
    regions: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    @property
    def filters(self) -> int:
        """How many of the filters are in use."""
        return sum(map(bool, (self.regions, self.services, self.levels, self.versions)))


@dataclass(frozen=True, slots=True)
class Scope:
    """A period in steps: `start` is a multiple of `step_s`; `end` need not be, so the last step may be a part of one.

    `steps` is their number. The period before has as many, and ends where this one starts.
    """

    choice: Choice
    start: float
    end: float
    step_s: float

    @property
    def steps(self) -> int:
        return math.ceil((self.end - self.start) / self.step_s)

    @property
    def before_start(self) -> float:
        """Where the period before starts."""
        return self.start - self.steps * self.step_s

    @property
    def shift_s(self) -> float:
        """How far the period before lies back."""
        return self.start - self.before_start

    @property
    def earlier(self) -> Scope:
        """The period before, for itself."""
        return replace(self, start=self.before_start, end=self.start)

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def name(self) -> str:
        """`24 h`; '' for a brushed period."""
        return "" if self.choice.zoom else self.choice.range

    @property
    def before_words(self) -> str:
        """`the day before`."""
        return BEFORE.get(self.name, "the same time before")

    def where(self, *, before: bool = False, errors: bool = False) -> Where:
        """The question's frame; with `before`, over both periods."""
        choice = self.choice
        return Where(
            self.before_start if before else self.start,
            self.end,
            regions=choice.regions,
            services=choice.services,
            levels=choice.levels,
            versions=choice.versions,
            errors=errors,
        )

    def length_of(self, at: float) -> float:
        """How many seconds of the step that starts at `at` are in the period."""
        return max(0.0, min(at + self.step_s, self.end) - at)


def scope_of(choice: Choice, now: float) -> Scope:
    """The period that the controls mean at `now`."""
    if choice.zoom is not None:
        start, end = choice.zoom
        step_s = step_for(end - start)
        return Scope(choice, math.floor(start / step_s) * step_s, math.ceil(end / step_s) * step_s, step_s)
    length = RANGES[choice.range]
    step_s = step_for(length)
    tick = max(2.0, step_s / 15)
    end = math.floor((now - SETTLE_S) / tick) * tick
    return Scope(choice, math.floor((end - length) / step_s) * step_s, end, step_s)


def step_for(length_s: float) -> float:
    """The shortest round step that divides a period into at most MOST_STEPS."""
    return float(next((step for step in STEPS if length_s / step <= MOST_STEPS), STEPS[-1]))


def split(volume: Volume, scope: Scope) -> tuple[Volume, Volume]:
    """An answer over both periods, apart: this one's and the one's before, the latter with its own times."""
    at = max(0, round((scope.start - volume.times[0]) / volume.step_s)) if volume.times else 0
    now = {name: counts[at:] for name, counts in volume.series.items()}
    before = {name: counts[:at] for name, counts in volume.series.items()}
    return Volume(volume.step_s, volume.times[at:], now), Volume(volume.step_s, volume.times[:at], before)
