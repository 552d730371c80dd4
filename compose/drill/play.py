"""Plays a schedule on the real thing: each fault on a thread of its own, and what really happened when.

A fault comes at its time, or later: healing may take longer than planned (a server needs its time to start), and a part
must be whole before it is broken anew. Then all is shifted, and none is shorter.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from shippers.clock import Clock

from .faults import BLINDING, CUT_ZONE, FAULTS, REMOTE, Scene
from .reckoning import Trouble
from .schedule import Planned, Schedule
from .site import BLIND_AFTER_S

_TOTAL = ("kill", "restart", "freeze", "cut")
_JOURNAL = ("kafka", "kafka-link")
_BLIND_FROM_S = dict.fromkeys(("gateway", "network", "zone"), BLIND_AFTER_S + 1.5) | dict.fromkeys(_JOURNAL, 30.0)
"""How long nothing came through before somebody must have been told. The watch waits for a journal that doesn't answer,
and that counts little."""
_CONNECTS_AGAIN_S = 10.0
"""Who lost a server tries again after so long, at most."""
_SERVES_WITHIN_S = 300.0
_LOOKS_EVERY_S = 0.25


@dataclass(slots=True)
class Deed:
    """A fault as it was done; times are seconds since the epoch. `well_at`: when its part was seen to serve again."""

    planned: Planned
    began_at: float = 0.0
    ended_at: float = 0.0
    well_at: float = 0.0
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
                    threading.Thread(target=self._note_well, args=(deed,), name="lastbeat-well", daemon=True).start()
        except Exception as error:  # noqa: BLE001  whatever it is, it is told in the table, and the drill has failed
            deed.error = f"{type(error).__name__}: {error}"

    def _note_well(self, deed: Deed) -> None:
        """A role that was started again serves only later. On a thread of its own: the drill goes on meanwhile."""
        deadline, waited = self._clock.monotonic() + _SERVES_WITHIN_S, threading.Event()
        while not self._scene.serves(deed.planned.part) and self._clock.monotonic() < deadline:
            self._clock.wait(waited, _LOOKS_EVERY_S)
        deed.well_at = self._clock.time()

    def _until(self, moment: float) -> None:
        self._clock.wait(self._stop, max(0.0, moment - self._clock.monotonic()))

    def troubles(self) -> list[Trouble]:
        """What was really wrong, as far as faults are no sender's own: those tell their own."""
        found = []
        for deed in self.deeds:
            if not deed.began_at:
                continue
            part, words = deed.planned.part, f"{deed.planned.kind} {deed.planned.part}"
            blind_from_s = _BLIND_FROM_S.get(part) if deed.planned.kind in _TOTAL else None
            trouble = Trouble(deed.began_at, deed.well_at or None, "", "", words, blind_from_s, deed.ended_at or None)
            if part in BLINDING:
                late_s = _CONNECTS_AGAIN_S if part in REMOTE else 0.0
                found.append(replace(trouble, until=trouble.until and trouble.until + late_s))
            elif part == "zone":
                cut_off = [sender.service for sender in self._scene.crew.senders if sender.zone == CUT_ZONE]
                found += [replace(trouble, service=service, zone=CUT_ZONE) for service in cut_off]
        return found

    def is_reachable(self) -> bool:
        """Whether no fault stands between senders and the journal now."""
        ways = ("gateway", "kafka", "kafka-link", "network", "zone")
        return not any(deed.began_at and not deed.well_at and deed.planned.part in ways for deed in self.deeds)
