"""Starts the platform's roles as processes of their own, and keeps them up: one that dies harms no other.

A role that ends is started again, with a growing pause, and that is said. Children end with their parent, even when
it is killed: each holds the read end of a pipe that closes then.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import httpx

from shippers.clock import Clock
from shippers.errors import LastbeatError, Misconfigured

from .running import running, tell
from .settings import Settings, writable

log = logging.getLogger("lastbeat.supervisor")

MISCONFIGURED = 2
"""The exit code of a role that nothing but other settings can help."""
_PROBED = ("indexer", "archiver", "watch", "auditor", "boards")
"""The roles that answer for themselves at a port of [health]."""
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
_STOP_WITHIN_S = 10.0
_LONGEST_LOG_BYTES = 16 * 1024 * 1024


class StartFailed(LastbeatError):
    """A role didn't come up; the message holds the end of its log."""

    permanent = True


@dataclass(slots=True)
class Role:
    """One child process: what it is, since when it runs, and when it may be started again."""

    name: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    pause_s: float = 0.5
    restarts: int = 0
    hopeless: bool = False
    """It ended because of its settings: starting it again can't help, and wasn't tried."""


@dataclass(slots=True)
class Supervisor:
    """Runs `roles` with these settings. `say` gets one line for each thing that a person should know.

    Used as a context manager: entering starts them, leaving asks all of them to end and waits until they have.
    Entering raises Misconfigured where another one's roles run on this data folder.
    """

    settings: Settings
    clock: Clock
    config: Path | None = None
    roles: tuple[str, ...] = ()
    """Empty: all that these settings ask for."""
    say: Callable[[str], None] = print
    environment: Mapping[str, str] = field(default_factory=dict)
    _running: dict[str, Role] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _keeper: threading.Thread | None = None
    _told: IO[str] | None = None

    def __enter__(self) -> Self:
        if up := running(self.settings):
            raise Misconfigured(
                f"a platform runs on {self.settings.data.absolute()} already, by process {up.pid}, its boards are at "
                f"{up.boards}: stop it, or use another folder (`data`, LASTBEAT_DATA)"
            )
        self.settings = with_free_ports(self.settings)
        self.roles = self.roles or self.settings.roles
        writable(self.settings.run_path)
        self._told = tell(self.settings)
        for name in self.roles:
            self._running[name] = Role(name, self.settings.run_path / f"{name}.log")
            self._start(self._running[name])
        self._keeper = threading.Thread(target=self._keep, name="lastbeat-supervisor", daemon=True)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._keeper:
            self._keeper.join()
        for role in self._running.values():
            if role.process:
                role.process.terminate()
        for role in self._running.values():
            self._reap(role)
        (self.settings.run_path / "up.json").unlink(missing_ok=True)
        if self._told:
            self._told.close()

    def pid(self, role: str) -> int:
        """The process id that `role` has now."""
        process = self._running[role].process
        assert process is not None
        return process.pid

    def wait_ready(self, timeout_s: float) -> None:
        """Block until the gateway takes batches and every role answers. Raises StartFailed, with the log's end."""
        waited = threading.Event()
        deadline = self.clock.monotonic() + timeout_s
        pending = [url for role, url in self._ready_urls().items() if role in self.roles]
        while pending:
            pending = [url for url in pending if not _answers(url)]
            for role in self._running.values():
                if role.hopeless or role.restarts >= 3:
                    raise StartFailed(f"{role.name} does not start; the end of {role.log}:\n{_end_of(role.log)}")
            if pending and self.clock.monotonic() > deadline:
                raise StartFailed(
                    f"no answer from {', '.join(pending)} in {timeout_s:.0f} s; see {self.settings.run_path}"
                )
            if pending:
                self.clock.wait(waited, 0.1)

    def _ready_urls(self) -> dict[str, str]:
        gateway, health = self.settings.gateway, self.settings.health
        return {
            "gateway": f"http://{gateway.host}:{gateway.port}/ready",
            **{role: f"http://{health.host}:{getattr(health, role)}/health" for role in _PROBED},
            "boards": f"{self.settings.boards_url}/_stcore/health",
        }

    def _start(self, role: Role) -> None:
        command = [sys.executable, "-P", "-m", "compose", role.name, "--until-stdin-closes"]
        if self.config:
            command += ["--config", str(self.config)]
        put_aside_if_long(role.log)
        with role.log.open("ab") as log:
            role.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=self._environment(), start_new_session=True
            )
        role.started_at = self.clock.monotonic()

    def _environment(self) -> dict[str, str]:
        chosen = {
            "LASTBEAT_DATA": str(self.settings.data.absolute()),
            "LASTBEAT_GATEWAY__PORT": str(self.settings.gateway.port),
            "LASTBEAT_BOARDS__PORT": str(self.settings.boards.port),
        }
        for role in _PROBED:
            chosen[f"LASTBEAT_HEALTH__{role.upper()}"] = str(getattr(self.settings.health, role))
        if self.settings.kafka:
            chosen["LASTBEAT_KAFKA__BOOTSTRAP"] = self.settings.kafka.bootstrap
        if self.settings.elastic:
            chosen["LASTBEAT_ELASTIC__URLS"] = json.dumps(self.settings.elastic.urls)
        return {**os.environ, **self.environment, **chosen}

    def _keep(self) -> None:
        while not self.clock.wait(self._stop, 0.2):
            for role in self._running.values():
                try:
                    self._mind(role)
                except Exception:
                    # No memory for a process, or nobody left who reads what we say: whatever it is, roles are kept up.
                    log.exception("%s could not be looked after, which is tried again", role.name)
                    role.start_at = self.clock.monotonic() + role.pause_s

    def _mind(self, role: Role) -> None:
        now = self.clock.monotonic()
        if role.process is None:
            if now >= role.start_at and not role.hopeless:
                self._start(role)
            return
        code = role.process.poll()
        if code is None:
            return
        if now - role.started_at > _STEADY_S:
            role.pause_s, role.restarts = 0.5, 0
        role.process, role.start_at, role.restarts = None, now + role.pause_s, role.restarts + 1
        role.hopeless = code == MISCONFIGURED
        if role.hopeless:
            self.say(f"{role.name} can't work with these settings and is not started again; see {role.log}")
            return
        self.say(f"{role.name} ended ({_ending(code)}), started again in {role.pause_s:.1f} s; see {role.log}")
        role.pause_s = min(_LONGEST_PAUSE_S, role.pause_s * 2)

    def _reap(self, role: Role) -> None:
        process = role.process
        if process is None:
            return
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.say(f"{role.name} did not stop within {_STOP_WITHIN_S:.0f} s and was killed")
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()


def with_free_ports(settings: Settings) -> Settings:
    """The settings with each port that is taken replaced by a free one. Raises Misconfigured if there is no address."""
    taken: set[int] = set()

    def free(host: str, wanted: int) -> int:
        taken.add(found := _free_port(host, wanted, taken))
        return found

    gateway, boards, health = settings.gateway, settings.boards, settings.health
    gateway = gateway.model_copy(update={"port": free(gateway.host, gateway.port)})
    boards = boards.model_copy(update={"port": free(boards.host, boards.port)})
    ports = {role: free(health.host, getattr(health, role)) for role in _PROBED}
    return settings.model_copy(update={"gateway": gateway, "boards": boards, "health": health.model_copy(update=ports)})


def _free_port(host: str, wanted: int, taken: set[int]) -> int:
    for port in (wanted, 0, 0, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            if found not in taken:
                return found
    raise Misconfigured(f"no port can be opened at {host}: is that an address of this machine?")


def put_aside_if_long(log: Path) -> None:
    """Before a role starts: a log that has grown long becomes `<name>.log.1`, in place of the one before."""
    if log.exists() and log.stat().st_size > _LONGEST_LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1.0).is_success
    except httpx.HTTPError:
        return False


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"


def _end_of(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
