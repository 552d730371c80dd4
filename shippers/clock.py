"""Time, passed in. The only module that asks the operating system what time it is.

`SystemClock` is real; `FakeClock` moves only when it is told to, so that no test sleeps.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks in one: the wall's, which may jump, and a monotonic one, which may not."""

    def time(self) -> float:
        """Seconds since the epoch (UTC). May jump either way; only for what people read, never for deadlines."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back. For ages, timeouts and deadlines."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Block until `event` is set or `timeout_s` have passed; True if it was set."""
        ...


class SystemClock:
    """The operating system's clocks."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)


class FakeClock:
    """A clock that moves only by `advance` (both clocks) or `jump` (the wall alone, as a bad NTP step does).

    `wait` doesn't block: it advances by the timeout, unless the event is set already.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._time = start
        self._monotonic = 1_000.0
        self._lock = threading.Lock()

    def time(self) -> float:
        return self._time

    def monotonic(self) -> float:
        return self._monotonic

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        if not event.is_set():
            self.advance(timeout_s)
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        with self._lock:
            self._time += seconds
            self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Step the wall clock, and only it."""
        with self._lock:
            self._time += seconds
