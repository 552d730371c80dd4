"""Plays a schedule on the real thing: each fault on a thread of its own, and what really happened when.

A fault comes at its time, or later: healing may take longer than planned (a server needs its time to start), and a part
must be whole before it is broken anew. Then all is shifted, and none is shorter.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shippers.clock import Clock

from .faults import BLINDING, CUT_ZONE, FAULTS, Scene
from .reckoning import Trouble
from .schedule import Planned, Schedule


@dataclass(slots=True)
class Deed:
    """A fault as it was done; times are seconds since the epoch."""

    planned: Planned
    began_at: float = 0.0
    ended_at: float = 0.0
    error: str = ""


class Player:
    """Plays one schedule, once."""

    def __init__(self, scene: Scene, schedule: Schedule, clock: Clock, stop: threading.Event) -> None:
        self._scene, self._schedule, self._clock, self._stop = scene, schedule, clock, stop
        self.deeds = [Deed(planned) for planned in schedule.faults]
        self._whole = {planned.part: threading.Lock() for planned in schedule.faults}

    def play(self) -> None:
        """From the first fault to the end of the span, and until every fault is healed. Ended early by `stop`."""
        start = self._clock.monotonic()
        with ThreadPoolExecutor(max(1, len(self.deeds)), thread_name_prefix="lastbeat-fault") as pool:
            for deed in self.deeds:
                pool.submit(self._do, deed, start)
            self._clock.wait(self._stop, self._schedule.span_s)

    def _do(self, deed: Deed, start: float) -> None:
        try:
            self._until(start + deed.planned.at_s)
            with self._whole[deed.planned.part]:
                if self._stop.is_set():
                    return
                late_s = max(0.0, self._clock.monotonic() - start - deed.planned.at_s)
                fault = FAULTS[deed.planned.kind](self._scene, deed.planned)
                deed.began_at = self._clock.time()
                try:
                    fault.begin()
                    self._until(start + deed.planned.ends_s + late_s)
                finally:
                    fault.end()
                    deed.ended_at = self._clock.time()
        except Exception as error:  # noqa: BLE001  whatever it is, it is told in the table, and the drill has failed
            deed.error = f"{type(error).__name__}: {error}"

    def _until(self, moment: float) -> None:
        self._clock.wait(self._stop, max(0.0, moment - self._clock.monotonic()))

    def troubles(self) -> list[Trouble]:
        """What was really wrong, as far as faults are no sender's own: those tell their own."""
        found = []
        for deed in self.deeds:
            if not deed.began_at:
                continue
            until, words = deed.ended_at or None, f"{deed.planned.kind} {deed.planned.part}"
            if deed.planned.part in BLINDING:
                found.append(Trouble(deed.began_at, until, words=words))
            elif deed.planned.part == "zone":
                cut_off = [sender.service for sender in self._scene.crew.senders if sender.zone == CUT_ZONE]
                found += [Trouble(deed.began_at, until, service, words) for service in cut_off]
        return found

    def is_reachable(self) -> bool:
        """Whether no fault stands between senders and the journal now."""
        ways = ("gateway", "kafka", "kafka-link", "network", "zone")
        return not any(deed.began_at and not deed.ended_at and deed.planned.part in ways for deed in self.deeds)
