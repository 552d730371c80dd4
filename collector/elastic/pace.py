"""How much is sent at once: shrinks when Elasticsearch says that it's too much, or grows slow; grows back when it is
well. Pure: additive increase, multiplicative decrease, as TCP does it."""

from __future__ import annotations

from dataclasses import dataclass, replace

MIN_BYTES = 256 * 1024
_GROWTH = 1.15
_SLOW = 3.0
_MEMORY = 0.98


@dataclass(frozen=True, slots=True)
class Pace:
    """The present size of a request and number of requests under way, within their limits.

    `best` is the seconds a megabyte that a good request takes, slowly forgotten, so that a cluster that became slower
    for good isn't held against its youth.
    """

    max_bytes: int
    max_in_flight: int
    size_bytes: int
    window: float
    best: float | None = None

    @classmethod
    def start(cls, max_bytes: int, max_in_flight: int) -> Pace:
        """Begins at full size: nothing is known against it."""
        return cls(max_bytes, max_in_flight, max_bytes, float(max_in_flight))

    @property
    def in_flight(self) -> int:
        """How many requests may be under way."""
        return max(1, int(self.window))

    def went_well(self, size_bytes: int, took_s: float) -> Pace:
        """After a request that was taken. Small ones say nothing of the speed."""
        if size_bytes < MIN_BYTES // 2:
            return self._grown()
        each = took_s / size_bytes * 1e6
        best = each if self.best is None else min(each, self.best / _MEMORY)
        if self.best is not None and each > self.best * _SLOW:
            return replace(self._shrunk(0.8), best=best)
        return replace(self._grown(), best=best)

    def turned_away(self) -> Pace:
        """After a 429, a 5xx or no answer in time."""
        return self._shrunk(0.5)

    def _grown(self) -> Pace:
        return replace(
            self,
            size_bytes=min(self.max_bytes, int(self.size_bytes * _GROWTH)),
            window=min(float(self.max_in_flight), self.window + 0.5),
        )

    def _shrunk(self, by: float) -> Pace:
        floor = min(MIN_BYTES, self.max_bytes)
        return replace(self, size_bytes=max(floor, int(self.size_bytes * by)), window=max(1.0, self.window * by))
