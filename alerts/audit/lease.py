"""Of several auditors on one State, one works: it renews a row; who sees that row unchanged for long takes it over.

No clocks are compared: each measures by its own monotonic one how long the row has stood still.
"""

from __future__ import annotations

from collector.ports import Conflict, State, Table
from shippers.clock import Clock
from shippers.errors import Unavailable

KEY = "auditor"
RENEW_S = 4.0
LOST_AFTER_S = 12.0
"""A holder that could not renew it for this long stops working, before anybody else begins."""
FREE_AFTER_S = 15.0


class Lease:
    """Used by one thread. `me` is a name that nobody else has."""

    def __init__(self, state: State, clock: Clock, me: str) -> None:
        self._state, self._clock, self._me = state, clock, me
        self._version: str | None = None
        self._seen: str | None = None
        self._renewed_at = self._seen_at = clock.monotonic()
        self._beat = 0
        self.holder = ""
        """Who holds it, as far as is known."""

    @property
    def mine(self) -> bool:
        """Whether it is held here now."""
        return self._version is not None and self._clock.monotonic() - self._renewed_at < LOST_AFTER_S

    def step(self) -> bool:
        """Take it, or keep it; whether it is ours. Raises Unavailable when it isn't and State can't be asked."""
        now = self._clock.monotonic()
        if self.mine and now - self._renewed_at < RENEW_S:
            return True
        try:
            if self._version is not None:
                self._put(self._version, now)
            else:
                self._look(now)
        except Conflict:
            self._version, self._seen = None, None
        except Unavailable:
            if not self.mine:
                raise
        return self.mine

    def release(self) -> None:
        """Let another one have it at once."""
        if self._version is not None:
            self._version = None
            self._state.delete(Table.LEASES, KEY)

    def _look(self, now: float) -> None:
        row = self._state.get(Table.LEASES, KEY)
        if row is None:
            self._put(None, now)
            return
        self.holder = str(row.doc.get("holder", ""))
        if row.version != self._seen:
            self._seen, self._seen_at = row.version, now
        elif now - self._seen_at >= FREE_AFTER_S:
            self._put(row.version, now)

    def _put(self, version: str | None, now: float) -> None:
        self._beat += 1
        self._version = self._state.put(Table.LEASES, KEY, {"holder": self._me, "beat": self._beat}, version)
        self._renewed_at, self.holder = now, self._me
