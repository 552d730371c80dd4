"""`lastbeat-run -- command …`: heartbeats and logs for any program, in any language, unchanged.

Starts the command, passes its output and our signals on untouched, ships each printed line as dataset console, beats
while it lives, and ends with its exit status. A command that ends well, or because it was told to, says goodbye; one
that fails or is killed does not: its death is an ERROR event and a heartbeat that stops.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import BinaryIO

from .clock import Clock, SystemClock
from .console import Lines, understand
from .errors import Misconfigured
from .fields import Fields
from .identity import clean_name
from .settings import Settings, load
from .shipper import Shipper
from .transports.http import HttpTransport

_PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT")
_ASKS_TO_END = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
_FROM_THE_TERMINAL = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH})
_CHUNK = 65_536
_DRAIN_S = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the command's exit status: 128 + n if signal n killed it, 127 if there is none."""
    options = _parser().parse_args(argv)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        _parser().error("no command: lastbeat-run [options] -- command arguments …")
    names = ("service", "region", "zone", "instance", "version", "environment", "url", "interval", "grace", "spool")
    given = {name: getattr(options, name) for name in names}
    if given["service"] is None and not (os.environ.get("LASTBEAT_SERVICE") or os.environ.get("OTEL_SERVICE_NAME")):
        given["service"] = clean_name(os.path.basename(command[0]))  # noqa: PTH119  a name, not a path
    try:
        settings = load(given)
    except Misconfigured as error:
        print(f"lastbeat-run: {error}", file=sys.stderr)
        return 2
    for warning in settings.warnings:
        print(f"lastbeat-run: {warning}", file=sys.stderr)
    return Run(command, settings, SystemClock()).until_it_ends()


class Run:
    """One run of a command under our eyes."""

    def __init__(self, command: Sequence[str], settings: Settings, clock: Clock) -> None:
        self._command, self._settings, self._clock = command, settings, clock
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._asked_by: int | None = None

    def until_it_ends(self) -> int:
        """Start the command, pass everything on until it has ended; returns our exit status."""
        for name in _PASSED_ON:
            number = getattr(signal, name)
            if signal.getsignal(number) is not signal.SIG_IGN:  # what nohup arranged stays so, for the command too
                signal.signal(number, self._pass_on)
        try:
            child = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            print(f"lastbeat-run: {self._command[0]}: {error.strerror}", file=sys.stderr)
            return 127 if isinstance(error, FileNotFoundError) else 126
        self._child = child
        while self._early:
            self._pass_on(self._early.pop(0), None)
        settings = self._settings
        shipper = Shipper(settings, self._clock, lambda: HttpTransport(settings.url, settings.token), pid=child.pid)
        shipper.start()
        copies = [
            threading.Thread(target=self._copy, args=(shipper, *pipe), name=f"lastbeat-{pipe[2]}", daemon=True)
            for pipe in ((child.stdout, 1, "stdout"), (child.stderr, 2, "stderr"))
        ]
        for copy in copies:
            copy.start()
        status = child.wait()
        for copy in copies:
            copy.join(_DRAIN_S)  # a grandchild may hold the pipe open for ever
        self._end(shipper, status)
        return status if status >= 0 else 128 - status

    def _end(self, shipper: Shipper, status: int) -> None:
        words = f"exit {status}" if status >= 0 else f"killed by {_signal_name(-status)}"
        if status == 0:
            shipper.close(words)
        elif self._asked_by is not None:
            shipper.close(_signal_name(self._asked_by))
        else:
            fields = Fields()
            fields.dataset, fields.action, fields.outcome = "console", "exit", "failure"
            fields.number("exit_status", status if status >= 0 else 128 - status)
            self._put(shipper, logging.ERROR, "lastbeat-run", f"the command ended: {words}", fields)
            shipper.close(words, state="up")

    def _pass_on(self, signum: int, _frame: FrameType | None) -> None:
        if self._child is None:
            self._early.append(signum)
            return
        if signum in _ASKS_TO_END:
            self._asked_by = signum
        if signum in _FROM_THE_TERMINAL and _in_foreground():
            return  # the terminal gave it to the whole group, the command included
        if self._child.returncode is None:
            try:
                os.kill(self._child.pid, signum)
            except ProcessLookupError:
                return  # it has just ended

    def _copy(self, shipper: Shipper, source: BinaryIO, target: int, logger: str) -> None:
        """Pass one of the command's outputs on, byte for byte, and ship its lines."""
        lines = Lines()
        try:
            while chunk := os.read(source.fileno(), _CHUNK):
                _write(target, chunk)
                self._ship(shipper, lines.feed(chunk), logger)
        except OSError:
            source.close()  # nobody reads our output any more: let the command feel it, as it would without us
        self._ship(shipper, lines.end(), logger)

    def _ship(self, shipper: Shipper, lines: Sequence[bytes], logger: str) -> None:
        for line in lines:
            try:
                level, message, fields = understand(line, logging.INFO)
                self._put(shipper, level, logger, message, fields)
            except Exception:  # noqa: BLE001  the command's output must go on, whatever it prints
                shipper.lost("console", "error")

    def _put(self, shipper: Shipper, level: int, logger: str, message: str, fields: Fields) -> None:
        shipper.put(shipper.renderer.line(self._clock.time(), level, logger, message, fields), level)


def _write(target: int, chunk: bytes) -> None:
    while chunk:
        try:
            chunk = chunk[os.write(target, chunk) :]
        except BlockingIOError:  # a terminal that some other program has made non-blocking
            select.select([], [target], [])


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False  # no terminal


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lastbeat-run",
        description="Run a command with heartbeats, its output shipped as logs. A token comes from LASTBEAT_TOKEN.",
    )
    parser.add_argument("--service", help="its name (default: LASTBEAT_SERVICE, else the command's)")
    for name in ("region", "zone", "instance", "version", "environment", "url"):
        parser.add_argument(f"--{name}", help=f"default: LASTBEAT_{name.upper()}")
    parser.add_argument("--interval", type=float, help="seconds between heartbeats (10)")
    parser.add_argument("--grace", type=float, help="seconds that a heartbeat may be late (two intervals)")
    parser.add_argument("--spool", help="a folder for what can't be sent at once (default: LASTBEAT_SPOOL, else none)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- command arguments …")
    return parser


if __name__ == "__main__":
    sys.exit(main())
