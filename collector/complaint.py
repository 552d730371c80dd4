"""A trouble that lasts, in the log: said when it begins, once a minute while it lasts, and when it is over. A line for
each attempt would bury all others, and a single one is forgotten."""

from __future__ import annotations

import logging

from shippers.clock import Clock

_AGAIN_AFTER_S = 60.0


class Complaint:
    """`text` is what is wrong now, empty if nothing is. `words` begin the line, `over` is the line when it is over."""

    def __init__(self, log: logging.Logger, clock: Clock, words: str, over: str) -> None:
        self._log, self._clock = log, clock
        self._words, self._over = words, over
        self._again_at = 0.0
        self.text = ""

    def note(self, text: str) -> None:
        """What came of the last attempt: why it failed, or nothing."""
        now = self._clock.monotonic()
        if text and (not self.text or now >= self._again_at):
            self._log.warning("%s: %s", self._words, text)
            self._again_at = now + _AGAIN_AFTER_S
        elif self.text and not text:
            self._log.warning("%s", self._over)
        self.text = text
