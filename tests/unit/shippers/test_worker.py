"""A worker's thread starts late, wakes early, survives its step's troubles and ends when told to."""

from __future__ import annotations

import logging
import threading
import time

from shippers.worker import Worker


def test_it_starts_when_first_needed_and_wakes_early():
    stepped = threading.Semaphore(0)

    def step() -> float:
        stepped.release()
        return 60

    worker = Worker("w", step)
    assert not worker.alive
    assert worker.ensure()
    assert stepped.acquire(timeout=5)
    began = time.monotonic()
    worker.wake()
    assert stepped.acquire(timeout=5)
    assert time.monotonic() - began < 5
    assert worker.stop(5)
    assert not worker.ensure(), "once stopped it stays so"


def test_a_step_that_raises_is_counted_and_called_again(caplog):
    stepped = threading.Semaphore(0)

    def step() -> float:
        stepped.release()
        raise ZeroDivisionError

    worker = Worker("w", step)
    with caplog.at_level(logging.ERROR, "lastbeat.worker"):
        worker.ensure()
        assert stepped.acquire(timeout=5)
        worker.wake()
        assert stepped.acquire(timeout=5)
        worker.stop(5)
    assert worker.faults >= 1
    assert "ZeroDivisionError" in caplog.text


def test_only_one_thread_is_ever_made():
    running = threading.Semaphore(0)
    worker = Worker("only-one", lambda: running.release() or 60.0)
    callers = [threading.Thread(target=worker.ensure) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [thread.name for thread in threading.enumerate()].count("only-one") == 1
    worker.stop(5)
