"""A job tells its start and its end, with outcome and duration, and never swallows what went wrong."""

from __future__ import annotations

import asyncio
import logging

import pytest

from shippers.clock import FakeClock
from shippers.job import Job


@pytest.fixture
def told():
    kept: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lambda record: (record.getMessage(), kept.append(record))  # type: ignore[method-assign]
    logger = logging.getLogger("job")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def test_a_job_that_goes_well(told):
    clock = FakeClock()
    with Job("settle", every_s=3600, clock=clock, branch="north", name="n"):
        clock.advance(2.5)
    start, end = told
    assert (start.getMessage(), end.getMessage()) == ("job settle started", "job settle succeeded")
    assert (start.action, start.outcome, end.outcome, end.duration) == ("settle", "unknown", "success", 2.5)
    assert start.transaction_id == end.transaction_id
    assert (end.every_s, end.job, end.branch, end.name_) == (3600, "settle", "north", "n")


def test_a_job_that_fails_says_why_and_still_raises(told):
    with pytest.raises(ZeroDivisionError), Job("settle"):
        1 / 0  # noqa: B018
    assert (told[1].getMessage(), told[1].outcome, told[1].levelno) == ("job settle failed", "failure", logging.ERROR)
    assert told[1].exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize(("code", "outcome"), [(0, "success"), (None, "success"), (1, "failure")])
def test_leaving_by_exit_goes_by_its_status(told, code, outcome):
    with pytest.raises(SystemExit), Job("settle"):
        raise SystemExit(code)
    assert told[1].outcome == outcome


def test_as_a_decorator_each_call_is_a_run_of_its_own(told):
    @Job("settle")
    def settle(depth: int) -> int:
        """Settle."""
        return settle(depth - 1) + 1 if depth else 0

    assert settle(2) == 2
    assert settle.__doc__ == "Settle."
    runs = [record.transaction_id for record in told]
    assert len(runs) == 6
    assert runs[:3] == runs[3:][::-1], "inner runs end before outer ones"


def test_coroutines_are_timed_to_their_end(told):
    clock = FakeClock()

    @Job("settle", clock=clock)
    async def settle() -> str:
        await asyncio.sleep(0)
        clock.advance(3)
        return "done"

    assert asyncio.run(settle()) == "done"
    assert told[1].duration == 3
