"""What is wrong with a lane, and the one line about it for the host's own log: said when it begins and when it ends,
and not again within a minute, so that a gateway that comes and goes fills nobody's log."""

from __future__ import annotations

import logging
import math

from .clock import Clock

_QUIET_S = 60.0


class Trouble:
    """`text` is why the last try failed, empty if it didn't. Logs as `<what> can't be sent` and `are sent again`."""

    def __init__(self, what: str, log: logging.Logger, clock: Clock) -> None:
        self._what, self._log, self._clock = what, log, clock
        self._said_at = -math.inf
        self._said = False
        self.text = ""

    def begins(self, text: str) -> None:
        """A try has failed."""
        now = self._clock.monotonic()
        if not self.text and now - self._said_at >= _QUIET_S:
            self._said_at, self._said = now, True
            self._log.warning("lastbeat: %s can't be sent: %s", self._what, text)
        self.text = text

    def ends(self) -> None:
        """A try has succeeded."""
        if self.text and self._said:
            self._said = False
            self._log.warning("lastbeat: %s are sent again", self._what)
        self.text = ""
