"""One server process: started as the right user, remembered across our own restarts, ended only if it is ours.

A process is known by its id, the moment it started and this boot of the machine, all kept in a file: a recycled
process id is never taken for the server, so nobody else's process is ever ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from shippers.clock import Clock
from shippers.errors import LastbeatError

_STOP_WITHIN_S = 30.0
_FREE = range(20_000, 30_000)
_CHANCE = random.SystemRandom()  # two runs of tests may have the same seed


class ServerFailed(LastbeatError):
    """A server didn't come up; the message holds the end of its log."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Runner:
    """The user that servers run as: ourselves, or `nobody` when we are root, which Elasticsearch refuses."""

    uid: int | None
    gid: int | None
    user_name: str

    @classmethod
    def choose(cls) -> Runner:
        """Whom to run as."""
        if os.geteuid() != 0:
            return cls(None, None, pwd.getpwuid(os.geteuid()).pw_name)
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid, nobody.pw_name)

    def own(self, folder: Path) -> None:
        """Make a folder, and let the servers write in all of it."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.uid is None or self.gid is None:
            return
        for place, _, files in os.walk(folder):
            for path in (place, *(os.path.join(place, name) for name in files)):  # noqa: PTH118 - thousands of them
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def output(self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None) -> str:
        """Run to the end; what it wrote. Raises CalledProcessError with `output`, TimeoutExpired or OSError."""
        done = subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=timeout_s, cwd="/", env=_environment(environment),
            user=self.uid, group=self.gid, extra_groups=self._groups,
        )  # fmt: skip
        return done.stdout

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
        """Start and leave running, apart from our terminal; the process id."""
        with log.open("ab") as sink:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/", env=_environment(environment),
                start_new_session=True, user=self.uid, group=self.gid, extra_groups=self._groups,
            )  # fmt: skip
        process.returncode = 0  # it is meant to outlive this object; `Process` looks after it from now on
        return process.pid

    @property
    def _groups(self) -> list[int] | None:
        return None if self.gid is None else []


def _environment(own: Mapping[str, str] | None) -> dict[str, str]:
    """Only what a Java server needs: a stray JAVA_TOOL_OPTIONS or CLASSPATH must not change what runs."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", **(own or {})}


@dataclass(frozen=True, slots=True)
class Process:
    """A process that was started here, by all that tells it from any other."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this id now; None if there is none, or only its remains."""
        started = _started(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def load(cls, file: Path) -> Process | None:
        """The process that `file` remembers, if it still runs."""
        try:
            fields = json.loads(file.read_text())
            known = cls(int(fields["pid"]), str(fields["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if known.alive else None

    def save(self, file: Path) -> None:
        """Remember it."""
        work = file.with_suffix(".new")
        work.write_text(json.dumps(asdict(self)))
        work.replace(file)

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _started(self.pid) == self.started

    def end(self, clock: Clock) -> bool:
        """Ask it to end, and kill it if it doesn't; True if it ended by itself."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        if self._gone(clock, _STOP_WITHIN_S):
            return True
        self.kill(clock)
        return False

    def kill(self, clock: Clock) -> None:
        """End it the hard way, as a power cut would."""
        self._signal(signal.SIGKILL)
        self._gone(clock, _STOP_WITHIN_S)

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, number)

    def _gone(self, clock: Clock, within_s: float) -> bool:
        deadline, waited = clock.monotonic() + within_s, threading.Event()
        while self.alive:
            if clock.monotonic() > deadline:
                return False
            clock.wait(waited, 0.05)
        return True


def _started(pid: int) -> str | None:
    """When a process started, in words that only this boot of this machine uses; None if it is gone.

    It isn't before its last thread is: of a Java that was killed, others outlive the first one by up to a second, and
    hold its ports and its folder's lock for so long.
    """
    _bury(pid)
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads, started = int(rest[16]), rest[18]
        return None if state == "X" or (state == "Z" and threads <= 1) else f"{_boot()}/{started}"
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return None
    if ps := shutil.which("ps"):
        found = subprocess.run([ps, "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return found.stdout.strip() or None
    return None


def _bury(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # it isn't ours to bury
        os.waitpid(pid, os.WNOHANG)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def free_ports(wanted: Sequence[int]) -> list[int]:
    """The wanted ports of loopback, each replaced by a free one where it is 0 or taken; all different.

    Those are chosen by chance, so that two who choose at once hardly choose the same, and from below those that the
    system gives to clients: a client that calls a server which is down would else now and then call itself.
    """
    probes: list[socket.socket] = []
    try:
        for port in wanted:
            choices = ([port] if port else []) + _CHANCE.sample(_FREE, 100)
            probes.append(next(probe for choice in (*choices, 0) if (probe := _bound(choice))))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _bound(port: int) -> socket.socket | None:
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        probe.close()
        return None
    return probe


def end_of(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return f"(no log at {log})"
