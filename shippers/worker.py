"""A daemon thread that calls one step again and again: started late, woken early, and back after any trouble.

Knows nothing of what the step does. A step that raises is counted and called again; a thread that died is replaced at
the next `ensure`. Never started at import, never shared across a fork.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

log = logging.getLogger("lastbeat.worker")

_AFTER_FAULT_S = 1.0


class Worker:
    """Runs `step`, which returns for how many seconds there is nothing to do."""

    def __init__(self, name: str, step: Callable[[], float]) -> None:
        self._name, self._step = name, step
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.faults = 0
        """How often a step raised; it should stay 0."""

    @property
    def alive(self) -> bool:
        """Whether the thread runs now."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_me(self) -> bool:
        """Whether the caller is this worker's own thread."""
        return self._thread is not None and self._thread.ident == threading.get_ident()

    @property
    def started(self) -> bool:
        """Whether there ever was a thread."""
        return self._thread is not None

    def ensure(self) -> bool:
        """Start the thread unless it runs or was stopped; False if there is none and none can be started now.

        Called from any thread, signal handlers included: doesn't wait for another one that is starting it.
        """
        if self.alive:
            return True
        if self._stopping or not self._starting.acquire(blocking=False):
            return False
        try:
            if not self.alive:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread = thread
                thread.start()
            return True
        except RuntimeError:  # no more threads, or the interpreter is shutting down: the next call tries again
            return False
        finally:
            self._starting.release()

    def wake(self) -> None:
        """Let the next step begin now. Safe in signal handlers and finalisers."""
        self._wakes.put(None)

    def stop(self, timeout_s: float) -> bool:
        """Take no further step; wait for the one under way. True if the thread has ended."""
        self._stopping = True
        self.wake()
        thread = self._thread
        if thread is None or not thread.is_alive() or self.is_me:
            return True
        thread.join(max(0.0, timeout_s))
        return not thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            try:
                wait_s = self._step()
            except Exception:
                self.faults += 1
                if self.faults & (self.faults - 1) == 0:  # the 1st, 2nd, 4th, 8th …: told, but not for ever
                    log.exception("lastbeat: %s: unexpected trouble, going on in %g s", self._name, _AFTER_FAULT_S)
                wait_s = _AFTER_FAULT_S
            self._rest(wait_s)

    def _rest(self, wait_s: float) -> None:
        if wait_s <= 0:
            return
        try:
            self._wakes.get(timeout=wait_s)
            while True:
                self._wakes.get_nowait()
        except Empty:
            return
