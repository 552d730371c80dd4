"""The journal's time: the wall's, except that it never goes back and never stands still.

The watch measures silence by it. When the wall clock is set back, this one goes on from where it was, at nine tenths
of the pace, until the wall has caught up; a restart begins at the last append time on disk.
"""

from __future__ import annotations

from shippers.clock import Clock

_PACE_WHILE_AHEAD = 0.9


class Timeline:
    """Append times in nanoseconds, never falling. Used by one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_ns = 0
        self._last_monotonic = clock.monotonic()

    def not_before(self, at_ns: int) -> None:
        """Never fall below a time that is on disk already."""
        self._last_ns = max(self._last_ns, at_ns)

    def now_ns(self) -> int:
        """The time for a group of records."""
        monotonic = self._clock.monotonic()
        passed_ns = int((monotonic - self._last_monotonic) * 1e9 * _PACE_WHILE_AHEAD)
        self._last_monotonic = monotonic
        self._last_ns = max(int(self._clock.time() * 1e9), self._last_ns + passed_ns)
        return self._last_ns
