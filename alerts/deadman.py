"""The dead man's switch: an outside service that pages when this watch stops asking for its URL. The watch can't vouch
for itself, so it asks only while it sees."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx

log = logging.getLogger("lastbeat.alerts.deadman")
EVERY_S = 60.0
TIMEOUT_S = 10.0


class DeadMansSwitch:
    """Asks for one URL. `sees` says whether the watch is doing its work."""

    def __init__(self, url: str, sees: Callable[[], bool]) -> None:
        self._url = url
        self._sees = sees
        self.pings = 0
        self.failures = 0

    def step(self) -> None:
        """Ask once, if the watch sees. Called each minute; never raises for what the other side does."""
        if not self._sees():
            log.warning("the watch does not see, so the dead man's switch is not held")
            return
        try:
            httpx.get(self._url, timeout=TIMEOUT_S).raise_for_status()
            self.pings += 1
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.failures += 1
            log.warning("the dead man's switch could not be reached: %s", type(error).__name__)
