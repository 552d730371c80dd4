"""How each fault is made, and healed. `schedule.KINDS` says what they are; here is one class for each.

A fault is begun and ended once, by one thread of its own; healing must work whatever else is broken at that moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from .crew import ZONES, Crew
from .parts import Part
from .poison import Poisoner
from .schedule import Planned
from .site import Site

_SLICE_S = 0.4
_AWAKE = 0.25


class Fault(Protocol):
    """One planned fault on the real thing."""

    def begin(self) -> None:
        """Break it."""
        ...

    def end(self) -> None:
        """Heal it."""
        ...


class Scene:
    """What faults act upon."""

    def __init__(self, site: Site, crew: Crew, poisoner: Poisoner) -> None:
        self.site, self.crew, self.poisoner = site, crew, poisoner

    def part(self, name: str) -> Part:
        """A part by its name."""
        kind, _, number = name.partition("-")
        return self.crew.senders[int(number)] if kind == "sender" else self.site.parts[name]

    def serves(self, name: str) -> bool:
        """Whether a part does its work, as far as it can be asked: others do once they are healed."""
        return name not in self.site.roles or self.site.serves(name)


class _OnPart:
    def __init__(self, scene: Scene, planned: Planned) -> None:
        self._scene, self._planned = scene, planned
        self._part = scene.part(planned.part)


class Kill(_OnPart):
    """SIGKILL, and later a new start."""

    def begin(self) -> None:
        self._part.kill()

    def end(self) -> None:
        self._part.start()


class Death(_OnPart):
    """SIGKILL of a sender that nobody starts again."""

    def begin(self) -> None:
        sender = self._scene.crew.senders[int(self._planned.part.partition("-")[2])]
        sender.kill()
        sender.dead = True
        self._scene.crew.dead.add(sender.service)

    def end(self) -> None:
        """Never."""


class Freeze(_OnPart):
    """SIGSTOP, and later SIGCONT."""

    def begin(self) -> None:
        self._part.freeze()

    def end(self) -> None:
        self._part.thaw()


class Restart(_OnPart):
    """SIGTERM, wait, and start."""

    def begin(self) -> None:
        self._part.stop()

    def end(self) -> None:
        self._part.start()


class Full(_OnPart):
    """Every write fails as on a full disk."""

    def begin(self) -> None:
        self._part.choke()

    def end(self) -> None:
        self._part.unchoke()


class Stutter(_OnPart):
    """SIGSTOP and SIGCONT in turns."""

    def begin(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lastbeat-stutter", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        self._part.thaw()

    def _run(self) -> None:
        while not self._over.is_set():
            self._part.freeze()
            self._over.wait((1 - _AWAKE) * _SLICE_S)
            self._part.thaw()
            self._over.wait(_AWAKE * _SLICE_S)


class _OnLink:
    def __init__(self, scene: Scene, planned: Planned) -> None:
        names = ("network", "zone") if planned.part == "network" else (planned.part,)
        self._links = [scene.site.links[name] for name in names]
        self._strength = planned.strength


class Delay(_OnLink):
    """Each piece of data of each direction waits."""

    def begin(self) -> None:
        for link in self._links:
            link.delay_s = self._strength

    def end(self) -> None:
        for link in self._links:
            link.delay_s = 0.0


class Cut(_OnLink):
    """Nothing comes through."""

    def begin(self) -> None:
        for link in self._links:
            link.cut()

    def end(self) -> None:
        for link in self._links:
            link.mend()


class Storm:
    """Indexers come and go: the partitions are dealt out anew each time."""

    def __init__(self, scene: Scene, planned: Planned) -> None:
        self._site, self._over = scene.site, threading.Event()
        self._names = [f"indexer-{number + 2}" for number in range(max(1, round(planned.strength)))]

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="lastbeat-storm", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        for name in self._names:
            self._site.role(name).end()

    def _run(self) -> None:
        kills = False
        while not self._over.is_set():
            for name in self._names:
                self._site.role(name).start()
            self._over.wait(2.0)
            for name in self._names:
                role = self._site.role(name)
                role.kill() if kills else role.stop()
            kills = not kills


class ClockStep:
    """A sender's wall clock jumps, and stays so."""

    def __init__(self, scene: Scene, planned: Planned) -> None:
        self._sender = scene.crew.senders[int(planned.part.partition("-")[2])]
        self._seconds = planned.strength

    def begin(self) -> None:
        self._sender.step(self._seconds)

    def end(self) -> None:
        """It stays so: a clock that was set wrong is not set right by itself."""


class Poison:
    """Batches that no sound shipper makes."""

    def __init__(self, scene: Scene, planned: Planned) -> None:
        self._poisoner, self._planned = scene.poisoner, planned

    def begin(self) -> None:
        self._poisoner.send(round(self._planned.at_s * 10))

    def end(self) -> None:
        """Nothing is to be healed."""


FAULTS: Mapping[str, Callable[[Scene, Planned], Fault]] = {
    "kill": Kill, "death": Death, "freeze": Freeze, "restart": Restart, "full": Full, "stutter": Stutter,
    "delay": Delay, "cut": Cut, "storm": Storm, "clock": ClockStep, "poison": Poison,
}  # fmt: skip

BLINDING = ("gateway", "kafka", "kafka-link", "network", "watch", "elasticsearch", "elastic-link")
"""Parts without which beats are not seen, or not judged, for a while."""

REMOTE = ("kafka", "kafka-link", "elasticsearch", "elastic-link")
"""Parts to which roles must connect anew once they are back."""

CUT_ZONE = ZONES[1]
"""The zone whose senders have a link of their own."""
