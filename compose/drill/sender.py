"""One sender of the drill: a small service that logs as any user's would, and keeps its own log of what it logged.

Run as a process: `python -m compose.drill.sender <run> <side log> <events a second>`; LASTBEAT_* says the rest. Lines
on standard input tell it what to do: `quiet` (log nothing more, go on beating), `step <seconds>` (its wall clock
jumps). When standard input closes it ends as a program ends.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import lastbeat
from shippers.clock import SystemClock

from .side import SideLog

_TICK_S = 0.02
_LATE_TICKS = 10
"""After a pause it catches up by so many ticks at most: a frozen service doesn't make up for its sleep."""
_HOSTILE_EVERY = 97
_HOSTILE: tuple[dict[str, object], ...] = (
    {"": 1, "a.b.c": {"d": [1, {"e": None}]}, "event.sequence": 7, "_id": "x", "@timestamp": "never"},
    {"amount": float("nan"), "huge": 10**400, "inf": float("-inf"), "minus_zero": -0.0},
    {"text": "\ud800\x00\u2028\r\n\x1b[31m{}\"\\", "name with spaces\n": "ü" * 3_000, "x" * 300: {"y": [[[]]]}},
    {"duration_ms": "soon", "trace_id": ["no", "text"], "outcome": 5, "labels": {"order_id": 1}},
    {f"field{n}": n for n in range(300)},
)  # fmt: skip


class SteppedClock(SystemClock):
    """The system's clock, its wall moved by `offset_s`, as a bad time server does it."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def time(self) -> float:
        return super().time() + self.offset_s


class Orders:
    """What the drill has told this process to do."""

    def __init__(self, clock: SteppedClock) -> None:
        self.quiet, self.end = threading.Event(), threading.Event()
        self._clock = clock
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def _listen(self) -> None:
        text = b""
        while data := os.read(0, 4096):  # not sys.stdin: its lock, held here at exit, would abort the interpreter
            *lines, text = (text + data).split(b"\n")
            for line in lines:
                word, _, rest = line.decode().partition(" ")
                if word == "quiet":
                    self.quiet.set()
                elif word == "step":
                    self._clock.offset_s += float(rest)
        self.end.set()
        self.quiet.set()


def main(run: str, side_path: str, rate: float) -> None:
    """Log until told to be quiet; then beat until told to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the drill's
    clock = SteppedClock()
    plain = logging.getLogRecordFactory()

    def stepped(*args: object, **fields: object) -> logging.LogRecord:
        record = plain(*args, **fields)
        record.created += clock.offset_s
        return record

    logging.setLogRecordFactory(stepped)
    side = SideLog(Path(side_path))
    lastbeat.init(clock=clock)
    stats = lastbeat.stats()
    assert stats is not None
    side.ready(stats.boot, SystemClock().time())
    orders = Orders(clock)
    _emit(run, side, rate, orders, clock)
    while not clock.wait(orders.end, 0.1):
        stats = lastbeat.stats()
        side.leave(stats.queue_events if stats else 0)


def _emit(run: str, side: SideLog, rate: float, orders: Orders, clock: SteppedClock) -> None:
    log = logging.getLogger("drill")
    due, owed = clock.monotonic(), 0.0
    while not orders.quiet.is_set():
        owed += rate * _TICK_S
        while owed >= 1 and not orders.quiet.is_set():
            owed -= 1
            _log_one(log, run, side)
        due = max(due + _TICK_S, clock.monotonic() - _LATE_TICKS * _TICK_S)
        clock.wait(orders.quiet, max(0.0, due - clock.monotonic()))


def _log_one(log: logging.Logger, run: str, side: SideLog) -> None:
    number = side.intend()
    extra: dict[str, object] = {"order_id": f"{run}-{number % 1_000}", "amount": number % 100, "duration_ms": 12.5}
    if number % _HOSTILE_EVERY == 0:
        extra = _HOSTILE[number // _HOSTILE_EVERY % len(_HOSTILE)]
    if number % 50 == 0:
        log.error("drill %s %d", run, number, extra=extra)
    else:
        log.info("drill %s %d", run, number, extra=extra)
    side.done()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
