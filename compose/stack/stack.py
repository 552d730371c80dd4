"""Both servers of one data folder as one thing: up, down, reset, status. Idempotent, and safe to call from two places.

`<data>/stack/<server>` holds a server's configuration, data and logs, its ports (kept across restarts while they are
free) and which process it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from shippers.clock import Clock
from shippers.errors import Misconfigured, Unavailable

from . import elastic, kafka
from .fetch import fetch_elasticsearch, fetch_kafka, software_folder
from .java import find_jdk
from .server import Process, Runner, ServerFailed, end_of, free_ports

SERVERS = ("kafka", "elasticsearch")
_READY_WITHIN_S = 180.0
_STARTS = 4
_OWN_PORTS = 3

Ports = Mapping[str, tuple[int, ...]]
PREFERRED_PORTS: Ports = {"kafka": kafka.PREFERRED_PORTS, "elasticsearch": elastic.PREFERRED_PORTS}
ANY_PORTS: Ports = dict.fromkeys(SERVERS, (0, 0))
LINKED_PORTS: Ports = {"kafka": (0, 0, 0, 0), "elasticsearch": (0, 0)}
"""With one more listener of Kafka's, which tells its clients another port than its own: whoever listens there stands
between them, and can cut them off."""


@dataclass(frozen=True, slots=True)
class Status:
    """One server as it is now. `address` is where it listens, '' before it ever ran."""

    name: str
    running: bool
    serving: bool
    address: str
    pid: int | None
    disk_bytes: int


class Stack:
    """The local Kafka and Elasticsearch of one data folder.

    `ports` are where each is first looked for a place; where one is taken, and for ANY_PORTS, a free one is found.
    `jvm_options` go to both, behind their own.
    """

    def __init__(
        self,
        data: Path,
        clock: Clock,
        console: Console | None = None,
        *,
        ports: Ports = PREFERRED_PORTS,
        jvm_options: Sequence[str] = (),
    ) -> None:
        self._clock, self._wanted, self._jvm_options = clock, ports, jvm_options
        self._console = console or Console(quiet=True)
        self._runner = Runner.choose()
        self.home = _reachable(data.absolute() / "stack", self._runner)

    @property
    def kafka(self) -> str:
        """Kafka's bootstrap address, host:port. Raises Unavailable before the first `up`."""
        return f"127.0.0.1:{self._ports('kafka')[0]}"

    @property
    def kafka_link(self) -> tuple[int, int]:
        """Where Kafka's other listener is, and the port that it tells its clients: see LINKED_PORTS."""
        ports = self._ports("kafka")
        if len(ports) < len(LINKED_PORTS["kafka"]):
            raise Misconfigured(f"the Kafka in {self.home} was started without a link that can be cut")
        return ports[2], ports[3]

    @property
    def elasticsearch(self) -> str:
        """Elasticsearch's URL. Raises Unavailable before the first `up`."""
        return f"http://127.0.0.1:{self._ports('elasticsearch')[0]}"

    def process(self, name: str) -> Process | None:
        """The process of a server, if it runs: what drills and fault tests kill and stop."""
        return Process.load(self.home / name / "process.json")

    def up(self, *names: str) -> None:
        """Start what isn't up (both, unless named), and return when it serves.

        Raises Misconfigured (no fitting JDK), Unavailable (can't fetch) or ServerFailed, with the end of the log.
        """
        with self._locked():
            for name in names or SERVERS:
                self._up(name)

    def down(self, *names: str) -> None:
        """End them (both, unless named), keeping their data. Ends nothing that wasn't started here."""
        with self._locked():
            for name in names or SERVERS:
                process = self.process(name)
                if process and not process.end(self._clock):
                    self._console.print(f"{name} did not end when asked and was killed")
                (self.home / name / "process.json").unlink(missing_ok=True)

    def reset(self) -> None:
        """End both and delete all that they hold."""
        self.down()
        with self._locked():
            shutil.rmtree(self.home, ignore_errors=True)

    def status(self) -> list[Status]:
        """How both are, without changing anything."""
        found = []
        for name in SERVERS:
            process = self.process(name)
            try:
                port = self._ports(name)[0]
            except Unavailable:
                port = 0
            serving = process is not None and self._serves(name)
            address = f"{_SCHEMES[name]}127.0.0.1:{port}" if port else ""
            size = _size(self.home / name)
            found.append(Status(name, process is not None, serving, address, process.pid if process else None, size))
        return found

    def _up(self, name: str) -> None:
        """Start it if it isn't up, and wait. A port that was free when we looked, and is another's once the server
        wants it, is no reason to give up: it is started again elsewhere."""
        for left in reversed(range(_STARTS)):
            try:
                if self.process(name) is None:
                    self._start(name)
                self._wait_until_it_serves(name)
                return
            except ServerFailed:
                ports = self._ports(name)
                if not left or self.process(name) is not None or _still_free(ports) == ports:
                    raise
                self._console.print(f"{name}: another process took one of its ports {ports}; starting it on others")

    def _start(self, name: str) -> None:
        home, software = self.home / name, software_folder()
        home.mkdir(parents=True, exist_ok=True)
        jdk = find_jdk(software, self._runner)
        fetch, start = _SOFTWARE[name]
        files = fetch(software, self._console)
        try:
            ports = _still_free(self._ports(name))
        except Unavailable:
            ports = free_ports(self._wanted[name])
        (home / "ports.json").write_text(json.dumps(ports))
        with self._console.status(f"starting {name.capitalize()} …"):
            start(home, files, jdk, self._runner, ports, self._jvm_options).save(home / "process.json")

    def _serves(self, name: str) -> bool:
        return _SERVES[name](self.home / name, self._ports(name)[0])

    def _wait_until_it_serves(self, name: str) -> None:
        deadline, waited = self._clock.monotonic() + _READY_WITHIN_S, threading.Event()
        log = self.home / name / "logs" / "server.log"
        while not self._serves(name):
            if self.process(name) is None:
                raise ServerFailed(f"{name} ended while it started; the end of {log}:\n{end_of(log)}")
            if self._clock.monotonic() > deadline:
                raise ServerFailed(f"{name} does not serve after {_READY_WITHIN_S:.0f} s; {log}:\n{end_of(log)}")
            self._clock.wait(waited, 0.1)

    def _ports(self, name: str) -> list[int]:
        try:
            return [int(port) for port in json.loads((self.home / name / "ports.json").read_text())]
        except (OSError, ValueError):
            raise Unavailable(f"the local {name} was never started: lastbeat stack up") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


_SCHEMES = {"kafka": "", "elasticsearch": "http://"}
_SOFTWARE = {
    "kafka": (fetch_kafka, kafka.start),
    "elasticsearch": (fetch_elasticsearch, elastic.start),
}
_SERVES = {"kafka": kafka.serves, "elasticsearch": elastic.serves}


def _reachable(home: Path, runner: Runner) -> Path:
    """`home`, or where the servers' user can get at it: as root, below /root or a private folder, nobody else can."""
    if runner.uid is None or all(_passable(folder) for folder in home.parents):
        return home
    return Path("/var/lib/lastbeat") / f"stack-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"


def _passable(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & stat.S_IXOTH)
    except FileNotFoundError:
        return True  # we'll make it


def _still_free(ports: Sequence[int]) -> list[int]:
    """The same ports, those replaced that are taken; but what Kafka only tells its clients is another's to open."""
    return [*free_ports(ports[:_OWN_PORTS]), *ports[_OWN_PORTS:]]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
