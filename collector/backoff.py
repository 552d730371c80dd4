"""When to try again what failed as a whole: soon, then less and less often, or when the error itself says."""

from __future__ import annotations

from shippers.clock import Clock
from shippers.errors import LastbeatError

FIRST_S, LONGEST_S = 0.5, 30.0


class Backoff:
    """`due_at` is monotonic: nothing is to be tried before. Pure bookkeeping, for one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wait_s = 0.0
        self.due_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the last try failed."""
        return self._wait_s > 0.0

    def failed(self, error: LastbeatError) -> None:
        """Wait twice as long as before, or for as long as the error asks."""
        self._wait_s = min(LONGEST_S, self._wait_s * 2 or FIRST_S)
        self.due_at = self._clock.monotonic() + (error.retry_after_s or self._wait_s)

    def went_well(self) -> None:
        """Nothing is to be waited for."""
        self._wait_s = self.due_at = 0.0
