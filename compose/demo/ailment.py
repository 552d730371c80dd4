"""How the demo's victim goes before it dies: its provider slows down, retries heap up, memory runs out.

Real log lines of a real process, on a thread of their own, so that they come whatever the time of day sells. The death
itself is a SIGKILL from outside, as the kernel's out-of-memory killer would send it.
"""

from __future__ import annotations

import logging
import threading
from random import Random

STEP_S = 0.8
LASTS_S = 11 * STEP_S
_LIMIT_MB = 512


class Ailment:
    """Nothing until `begin`; then ten steps from slow to full. `slower` is by how much everything takes longer."""

    def __init__(self, log: logging.Logger, random: Random) -> None:
        self.slower = 1.0
        self._log = log
        self._random = random
        self._ill = threading.Event()

    def begin(self) -> None:
        """Fall ill, once."""
        if not self._ill.is_set():
            self._ill.set()
            threading.Thread(target=self._run, name="ailment", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        for step in range(1, 11):
            pause.wait(STEP_S)
            self.slower = 1.0 + 0.5 * step
            self._say(step)

    def _say(self, step: int) -> None:
        waiting = int(6 * 1.62**step * self._random.uniform(0.9, 1.1))
        memory_mb = min(_LIMIT_MB - 2, int(180 + 330 * (step / 10) ** 1.3))
        extra = {"action": "retry_queue", "waiting": waiting, "memory_mb": memory_mb, "outcome": "unknown"}
        if step <= 4:
            extra = {"action": "provider", "duration_ms": 400 * 1.6**step, "waiting": waiting, "outcome": "unknown"}
            self._log.warning("provider answers slowly, %d calls waiting", waiting, extra=extra)
        elif step <= 7:
            self._log.warning(
                "retry queue grows: %d waiting, memory %d MB of %d", waiting, memory_mb, _LIMIT_MB, extra=extra
            )
        elif step <= 9:
            self._log.error(
                "retry queue full: %d waiting, memory %d MB of %d", waiting, memory_mb, _LIMIT_MB, extra=extra
            )
        else:
            self._log.critical("out of memory soon: %d MB of %d", memory_mb, _LIMIT_MB, extra=extra)
