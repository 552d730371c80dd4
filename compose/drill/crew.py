"""The senders: a dozen small services in processes of their own, some with a spool, in two zones. It remembers every
run of each, and what was done to it, so that the audit knows the truth."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from shippers.clock import Clock
from shippers.spool import SENT

from .parts import OwnProcess
from .reckoning import Run, Trouble
from .side import Side, read
from .site import GRACE_S, INTERVAL_S, REGION, Site

ZONES = ("a", "b")
_SPOOLED_EVERY = 2


@dataclass(slots=True)
class Life:
    """One run of a sender: where its own log is, and how it ended."""

    name: str
    side_path: Path
    began_at: float
    ended_at: float | None = None
    cut: bool = False
    """It ended in a way that may cut off what it had not sent."""
    stopped: bool = False
    """It was asked to end: what it had no time to send it drops, and counts."""

    @property
    def side(self) -> Side:
        """What it says of itself."""
        return read(self.side_path)


@dataclass(slots=True)
class Sender:
    """One service with one instance, as a Part that faults can harm."""

    service: str
    zone: str
    spool: Path | None
    folder: Path
    environment: dict[str, str]
    rate: float
    clock: Clock
    is_reachable: Callable[[], bool]
    lives: list[Life] = field(default_factory=list)
    quiet: bool = False
    dead: bool = False
    _process: OwnProcess | None = None
    _frozen_at: float | None = None
    frozen: list[tuple[float, float]] = field(default_factory=list)

    def start(self) -> None:
        """A new run, unless one is under way."""
        if self.dead or (self._process is not None and self._process.running):
            return
        name = f"{self.service}-{len(self.lives)}"
        life = Life(name, self.folder / f"{name}.side", self.clock.time())
        command = [sys.executable, "-P", "-m", "compose.drill.sender", name, str(life.side_path), f"{self.rate:g}"]
        self._process = OwnProcess(name, command, self.environment, self.folder / f"{self.service}.log")
        self.lives.append(life)
        self._process.start()
        if self.quiet:
            self._process.say("quiet")

    def kill(self) -> None:
        """SIGKILL. With a spool, what it had not sent is sent or counted by another."""
        assert self._process is not None
        self._process.kill()
        self._ended(cut=True)

    def stop(self) -> None:
        """SIGTERM. What nobody takes within its two seconds ends with it: counted, but nobody hears the count."""
        assert self._process is not None
        self._process.thaw()
        reachable = self.is_reachable()
        self._process.stop()
        self._ended(cut=not (reachable and self.is_reachable()), stopped=True)

    def freeze(self) -> None:
        """SIGSTOP."""
        if self._process is not None and self._process.running:
            self._process.freeze()
            self._frozen_at = self.clock.time()

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.thaw()
        if self._frozen_at is not None:
            self.frozen.append((self._frozen_at, self.clock.time()))
            self._frozen_at = None

    def choke(self) -> None:
        """Nothing: what a full disk does to a spool is another drill's."""

    def unchoke(self) -> None:
        """Nothing."""

    def step(self, seconds: float) -> None:
        """Its wall clock jumps."""
        if self._process is not None:
            self._process.say(f"step {seconds:g}")

    def hush(self) -> None:
        """Log nothing more, in this run and later ones; go on beating."""
        self.quiet = True
        if self._process is not None:
            self._process.say("quiet")

    def end(self) -> None:
        """Ask it to end, and wait."""
        if self._process is not None:
            self._process.end()
            self._ended(cut=False)

    @property
    def alive(self) -> bool:
        """Whether a run is under way."""
        return self._process is not None and self._process.running

    def _ended(self, *, cut: bool, stopped: bool = False) -> None:
        life = self.lives[-1]
        if life.ended_at is None:
            life.ended_at, life.cut, life.stopped = self.clock.time(), cut, stopped

    def runs(self) -> list[tuple[Run, float]]:
        """Every run as the audit wants it."""
        found = []
        for life in self.lives:
            side = life.side
            run = Run(life.name, side.intent, side.returned, side.boot, life.cut, life.stopped, self.spool is not None,
                      service=self.service)  # fmt: skip
            found.append((run, life.began_at))
        return found

    def troubles(self) -> list[Trouble]:
        """When it did not live, or was frozen. Who begins has the time until its shipper works."""
        found = [Trouble(began, until, self.service, self.zone, "frozen") for began, until in self.frozen]
        for life, heir in zip(self.lives, [*self.lives[1:], None], strict=True):
            if life.ended_at is not None:
                ready_at = heir.side.ready_at if heir else 0.0
                found.append(Trouble(life.ended_at, ready_at or None, self.service, self.zone, f"{life.name} ended"))
        return found


class Crew:
    """All senders. `rate` is the events a second of all of them together."""

    def __init__(self, site: Site, senders: int, rate: float) -> None:
        self._site, self._rate = site, rate / senders
        self.is_reachable: Callable[[], bool] = lambda: True
        """Whether nothing is known to stand between the senders and the journal: whoever breaks it knows."""
        self._folder = site.data / "senders"
        self._folder.mkdir(exist_ok=True)
        self.senders = [self._sender(index) for index in range(senders)]
        self.dead: set[str] = set()

    def _sender(self, index: int) -> Sender:
        site = self._site
        service = f"{site.prefix.replace('_', '-')}-{index:02}"
        zone = ZONES[index // _SPOOLED_EVERY % len(ZONES)]
        link = site.links["network" if zone == ZONES[0] else "zone"]
        spool = self._spool if index % _SPOOLED_EVERY == 0 else None
        environment = site.environment | {
            "LASTBEAT_URL": link.url,
            "LASTBEAT_SERVICE": service,
            "LASTBEAT_INSTANCE": f"{service}-1",
            "LASTBEAT_REGION": REGION,
            "LASTBEAT_ZONE": zone,
            "LASTBEAT_INTERVAL": f"{INTERVAL_S:g}",
            "LASTBEAT_GRACE": f"{GRACE_S:g}",
        }
        if spool:
            environment["LASTBEAT_SPOOL"] = str(spool)
        return Sender(service, zone, spool, self._folder, environment, self._rate, site.clock, self._may_reach)

    def _may_reach(self) -> bool:
        return self.is_reachable()

    @property
    def _spool(self) -> Path:
        return self._folder / "spool"

    def start(self) -> None:
        """Start all."""
        for sender in self.senders:
            sender.start()

    def hush(self) -> None:
        """No more events; the living go on beating."""
        for sender in self.senders:
            sender.hush()

    def inherit(self) -> None:
        """One more sender, which logs nothing: the next process on the spool sends what the dead have left there."""
        index = len(self.senders)
        heir = self._sender(index + index % _SPOOLED_EVERY)
        heir.quiet = True
        self.senders.append(heir)
        heir.start()

    @property
    def inherited(self) -> bool:
        """Whether nothing of the dead is left in the spool."""
        living = {sender.lives[-1].side.boot for sender in self.senders if sender.alive}
        if not self._spool.is_dir():
            return True
        left = [path for path in self._spool.iterdir() if path.name not in living]
        return all((path / SENT).exists() for path in left)  # what is sent is kept for a while, in case

    def end(self) -> None:
        """End all, together."""
        for sender in self.senders:
            if sender.alive:
                sender.thaw()
        for sender in self.senders:
            sender.end()

    @property
    def emitted(self) -> int:
        """How many log calls have returned, by the senders' own logs."""
        return sum(life.side.returned for sender in self.senders for life in sender.lives)

    @property
    def ready(self) -> bool:
        """Whether every living sender's shipper works."""
        return all(sender.lives[-1].side.ready_at for sender in self.senders if sender.alive)

    @property
    def drained(self) -> bool:
        """Whether the shippers of all that live say that nothing is left to be sent."""
        return all(sender.lives[-1].side.left == 0 for sender in self.senders if sender.alive)
