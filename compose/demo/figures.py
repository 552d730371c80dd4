"""What `demo --once` counts, and what must hold of it. Pure: numbers in, verdicts out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alerts.incidents import Incident

from .processes import GRACE_S, INTERVAL_S

DEADLINE_S = INTERVAL_S + GRACE_S
PAGED_WITHIN_S = 2.5
"""How long past the deadline the alert may come. The promise is 1.5 s in quiet times; here everything runs at once on
one machine that may well be doing something else."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: its name, what was found, and whether it holds."""

    name: str
    found: str
    good: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts by instance. `emitted` is the senders' own, `stored` what the store finds, `dropped` what the product says
    that it dropped. `archived` is what the archive holds, None where there is none. `beats` is, by stream, how many
    beats are stored and the highest number among them; `behind` is, by store, how much the journal has for it yet."""

    victim: str
    emitted: Mapping[str, int]
    stored: Mapping[str, int]
    archived: Mapping[str, int] | None
    dropped: Mapping[str, int]
    beats: Mapping[str, tuple[int, int]]
    behind: Mapping[str, int]
    dead: tuple[Incident, ...]
    living: tuple[Incident, ...]
    last_beat_at: float
    alert_at: float

    def missing(self, instance: str) -> int:
        """Emitted, but neither stored nor counted as dropped; negative: stored more often than emitted."""
        kept = self.stored.get(instance, 0) + self.dropped.get(instance, 0)
        return self.emitted.get(instance, 0) - kept

    @property
    def tail(self) -> int:
        """What the killed process had said and not yet handed over."""
        return self.missing(self.victim)

    @property
    def seconds_to_alert(self) -> float:
        """From the dead one's last beat to the alert."""
        return self.alert_at - self.last_beat_at

    def checks(self) -> list[Check]:
        """Everything that must hold, each with what was found."""
        living = sorted((self.emitted.keys() | self.stored.keys()) - {self.victim})
        wrong = {name: self.missing(name) for name in living if self.missing(name)}
        holes = {stream: last - count for stream, (count, last) in self.beats.items() if last != count}
        gaps = ", ".join(f"{stream} lacks {lacking}" for stream, lacking in holes.items())
        gaps = gaps or (f"none in {len(self.beats)} streams" if self.beats else "no beats at all")
        balance = ", ".join(f"{name} {missing:+,}" for name, missing in wrong.items())
        behind = ", ".join(f"{store} is {left:,} behind" for store, left in self.behind.items())
        return [
            Check("emitted = stored + dropped, for every living process", balance or "difference 0", not wrong),
            Check("the killed process: at most a tail is missing", f"{self.tail:,} events", self.tail >= 0),
            Check("all that the journal holds is stored", behind, not any(self.behind.values())),
            *self._archive(),
            Check("no gap in any stream of beats", gaps, bool(self.beats) and not holes),
            Check("alerts for the dead: exactly one", _told(self.dead), len(self.dead) == 1),
            Check("alerts for the living: none", _told(self.living), not self.living),
            Check(
                f"alert within {DEADLINE_S:g} + {PAGED_WITHIN_S:g} s of the last beat",
                f"{self.seconds_to_alert:.1f} s",
                DEADLINE_S <= self.seconds_to_alert <= DEADLINE_S + PAGED_WITHIN_S,
            ),
        ]

    def _archive(self) -> list[Check]:
        if self.archived is None:
            return []
        names = sorted(self.stored.keys() | self.archived.keys())
        wrong = {name: self.archived.get(name, 0) - self.stored.get(name, 0) for name in names}
        found = ", ".join(f"{name} {more:+,}" for name, more in wrong.items() if more)
        return [Check("the archive holds the same, for every process", found or "difference 0", not found)]


def _told(incidents: tuple[Incident, ...]) -> str:
    return str(len(incidents)) + "".join(f"; {incident.summary}" for incident in incidents)
