"""A job: something that has a beginning, an end and an outcome, and perhaps a schedule, told as two business events.

Logs through the ordinary logger `job`, so it goes wherever the host's logs go. Never swallows the job's exception.
"""

from __future__ import annotations

import functools
import inspect
import logging
import secrets
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from .clock import Clock, SystemClock

log = logging.getLogger("job")

F = TypeVar("F", bound=Callable[..., Any])


class Job:
    """`with Job("settle", every_s=3600):` or `@Job("settle")`, on functions and coroutine functions.

    Start and end carry `event.action` (the job's name), one `transaction.id` for both, and labels.job; the end carries
    `event.outcome` and `event.duration`, and the exception if there was one. measures.every_s says how often it should
    run. Leaving by SystemExit(0) is a success.
    """

    def __init__(self, name: str, /, every_s: float | None = None, clock: Clock | None = None, **extra: Any) -> None:
        self._name, self._every_s, self._extra = name, every_s, extra
        self._clock = clock or SystemClock()
        self._runs: list[tuple[str, float]] = []

    def __enter__(self) -> Self:
        run = (secrets.token_hex(8), self._clock.monotonic())
        self._runs.append(run)
        log.info("job %s started", self._name, extra=self._fields(run[0], outcome="unknown"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run, began_at = self._runs.pop()
        good = error is None or (isinstance(error, SystemExit) and error.code in (None, 0))
        duration = self._clock.monotonic() - began_at
        fields = self._fields(run, outcome="success" if good else "failure", duration=duration)
        if good:
            log.info("job %s succeeded", self._name, extra=fields)
        else:
            log.error("job %s failed", self._name, extra=fields, exc_info=error)

    def __call__(self, function: F) -> F:
        """Each call is a run of its own, so calls may overlap."""

        def again() -> Job:
            return Job(self._name, self._every_s, self._clock, **self._extra)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaiting(*args: Any, **kwargs: Any) -> Any:
                with again():
                    return await function(*args, **kwargs)

            return cast("F", awaiting)

        @functools.wraps(function)
        def calling(*args: Any, **kwargs: Any) -> Any:
            with again():
                return function(*args, **kwargs)

        return cast("F", calling)

    def _fields(self, run: str, **more: Any) -> dict[str, Any]:
        return {
            **{f"{name}_" if name in _TAKEN else name: value for name, value in self._extra.items()},
            "action": self._name,
            "transaction_id": run,
            "job": self._name,
            "every_s": self._every_s,
            **more,
        }


# logging refuses extras that bear a record's own names; a job's caller shouldn't have to know them.
_TAKEN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
