"""The parts of a platform that a drill can harm: roles and senders as processes, Kafka and Elasticsearch, links.

Each can be killed, frozen, restarted …; all of them are real, and every process here was started here.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from compose.stack import Stack
from shippers.clock import Clock

_STOP_WITHIN_S = 12.0


class Part(Protocol):
    """What faults do to a part. Called by one thread at a time."""

    def kill(self) -> None:
        """End it as a power cut would."""
        ...

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        ...

    def start(self) -> None:
        """Start it (again), unless it runs. Doesn't wait until it serves, but for servers."""
        ...

    def freeze(self) -> None:
        """Stop it where it is."""
        ...

    def thaw(self) -> None:
        """Let it go on. No harm if it was not frozen."""
        ...

    def choke(self) -> None:
        """Take its disk away: what it writes fails."""
        ...

    def unchoke(self) -> None:
        """Give it back."""
        ...


class OwnProcess:
    """A process of ours. It ends when we do: it holds the read end of a pipe that closes then."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._command, self._environment, self._log = command, environment, log
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """See Part."""
        if self.running:
            return
        self._forget()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=self._environment,
                start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid

    def kill(self) -> None:
        """See Part."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """See Part. One that doesn't end in time is killed: that is said in its log by nobody else, so here."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            with self._log.open("a") as log:
                log.write(f"the drill: {self.name} did not end within {_STOP_WITHIN_S:g} s of SIGTERM and was killed\n")
            self.kill()

    def freeze(self) -> None:
        """See Part."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """See Part."""
        self._signal(signal.SIGCONT)

    def choke(self) -> None:
        """See Part: every write to a file fails as beyond a quota. Its own log says nothing then, either."""
        if self.running:
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (1, hard))

    def unchoke(self) -> None:
        """See Part."""
        if self.running:
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard, hard))

    def say(self, line: str) -> None:
        """A line on its standard input."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()

    def end(self) -> None:
        """Whatever was done to it, have it ended."""
        self.thaw()
        self.stop()
        self._forget()

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process = None


class Server:
    """Kafka or Elasticsearch of a stack. `choke` and `unchoke` are Elasticsearch's own way with a full disk."""

    def __init__(self, stack: Stack, name: str, clock: Clock, block: Callable[[bool], None] | None = None) -> None:
        self._stack, self._name, self._clock, self._block = stack, name, clock, block

    def kill(self) -> None:
        """See Part."""
        if process := self._stack.process(self._name):
            process.kill(self._clock)

    def stop(self) -> None:
        """See Part."""
        self._stack.down(self._name)

    def start(self) -> None:
        """See Part. Returns when it serves."""
        self._stack.up(self._name)

    def freeze(self) -> None:
        """See Part."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """See Part."""
        self._signal(signal.SIGCONT)

    def choke(self) -> None:
        """See Part."""
        if self._block:
            self._block(True)

    def unchoke(self) -> None:
        """See Part."""
        if self._block:
            self._block(False)

    def _signal(self, number: signal.Signals) -> None:
        process = self._stack.process(self._name)
        if process and process.alive:
            os.kill(process.pid, number)
