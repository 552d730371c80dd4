"""Copies in a shipper's own spool: it keeps what was acknowledged while there is room. It can only be asked, through
State and the gateways' answers, and sends by itself what it has.
"""

from __future__ import annotations

from collector.ports import State
from shippers.clock import Clock
from shippers.errors import Unavailable

from . import requests
from .requests import LASTS_S, MOST_OPEN, Request
from .wanted import Asked, Wanted


class SpoolSource:
    """See Asking."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state, self._clock = state, clock

    def ask(self, wanted: Wanted) -> Asked:
        """See Asking.ask. A request ends when all of it came or is known to be gone, or after an hour."""
        now = self._clock.time()
        if requests.forget_old(self._state, now) >= MOST_OPEN:
            raise Unavailable(f"services are asked for {MOST_OPEN} streams already: first these")

        def wanting(known: Request | None) -> Request:
            if known is None or known.until <= now:
                known = Request(wanted.stream, wanted.region, wanted.service, now + LASTS_S)
            return known.wanting(wanted.numbers)

        request = requests.change(self._state, wanted.stream, wanting)
        assert request is not None
        return Asked(*requests.of(request, wanted.numbers))
