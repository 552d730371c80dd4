"""What must be done once before a ledger is kept, however long it takes: on a thread of its own, so that who waits for
it can go on polling. It never does it twice, but for what failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TakesLong

from shippers.errors import Unavailable

_PATIENCE_S = 0.25


class Beginning:
    """One job; used by one thread. The thread that does it ends with the process, wherever it stands: the job must be
    one that can be done again."""

    def __init__(self, job: Callable[[], object]) -> None:
        self._job = job
        self._under_way: Future[None] | None = None
        self._done = False

    def check(self) -> None:
        """Begin, or see how far it is: returns once all is done, and waits for no longer than a moment. Raises
        Unavailable while it isn't, and once what the job raised; then the next call begins anew."""
        if self._done:
            return
        if self._under_way is None:
            self._under_way = Future()
            threading.Thread(
                target=self._run, args=(self._under_way,), name="lastbeat-ledger-begin", daemon=True
            ).start()
        try:
            self._under_way.result(_PATIENCE_S)
        except TakesLong:
            if not self._under_way.done():
                raise Unavailable("the ledger is being rebuilt from its store, reading begins after that") from None
            self.check()
            return
        except BaseException:
            self._under_way = None
            raise
        self._under_way, self._done = None, True

    def _run(self, under_way: Future[None]) -> None:
        try:
            self._job()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            under_way.set_exception(error)
        else:
            under_way.set_result(None)
