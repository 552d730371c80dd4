"""What happens when in a running watch: APScheduler calls the round, each notifier's courier, the dead man's switch;
what the audit found is read beside all that.

The scheduler plans by the wall clock, which may jump back and leave its jobs waiting for hours. So the calling thread
looks, by the monotonic clock, whether rounds still happen, and if not has every job run now.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from shippers.clock import Clock

from .deadman import EVERY_S, DeadMansSwitch
from .watch import Watch

log = logging.getLogger("lastbeat.alerts.schedule")

STEP_EVERY_S = 0.25
DELIVER_EVERY_S = 0.5
LOOK_EVERY_S = 1.0
STALLED_S = 3.0


def run_watch(watch: Watch, stop: threading.Event, clock: Clock, dead_mans_switch_url: str) -> None:
    """Run a watch's jobs until `stop` is set; returns once the last of them has ended and everything is kept."""
    with closing(watch):
        _run_jobs(watch, stop, clock, dead_mans_switch_url)


def _run_jobs(watch: Watch, stop: threading.Event, clock: Clock, dead_mans_switch_url: str) -> None:
    for name in ("apscheduler.scheduler", "apscheduler.executors.default"):
        logging.getLogger(name).setLevel(logging.ERROR)  # a round that takes longer than its interval is no event
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(len(watch.courier.names) + 3)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    last = _Last(clock)
    scheduler.add_job(_guard(watch, watch.step, last), "interval", seconds=STEP_EVERY_S)
    for name in watch.courier.names:
        deliver = functools.partial(watch.courier.step, name)
        scheduler.add_job(_guard(watch, deliver), "interval", seconds=DELIVER_EVERY_S)
    if dead_mans_switch_url:
        switch = DeadMansSwitch(dead_mans_switch_url, watch.sees)
        scheduler.add_job(switch.step, "interval", seconds=EVERY_S, next_run_time=datetime.now(UTC))
    scheduler.start()
    # No job: shutting down waits for jobs, and this one for State, which may not answer.
    threading.Thread(target=watch.losses.run, args=(stop,), name="lastbeat-losses", daemon=True).start()
    try:
        while not clock.wait(stop, LOOK_EVERY_S):
            if last.idle_s() > STALLED_S:
                _run_now(scheduler)
    finally:
        scheduler.shutdown(wait=True)
    watch.deliver()


class _Last:
    """When the last round ended, by the monotonic clock; one that takes long is no standstill."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended_at = clock.monotonic()
        self._under_way = False

    def began(self) -> None:
        self._under_way = True

    def ended(self) -> None:
        self._ended_at, self._under_way = self._clock.monotonic(), False

    def idle_s(self) -> float:
        """How long no round has been under way."""
        return 0.0 if self._under_way else self._clock.monotonic() - self._ended_at


def _guard(watch: Watch, work: Callable[[], None], last: _Last | None = None) -> Callable[[], None]:
    def guarded() -> None:
        if last is not None:
            last.began()
        try:
            work()
        except Exception:
            # A fault of ours in one round must not end the watch; it is said, counted, and tried again.
            watch.failed_steps += 1
            log.exception("a round of the watch failed")
        finally:
            if last is not None:
                last.ended()

    return guarded


def _run_now(scheduler: Any) -> None:
    log.warning("rounds stopped, perhaps as the clock jumped: running them now")
    now = datetime.now(UTC)
    for job in scheduler.get_jobs():
        job.reschedule(job.trigger.__class__(seconds=job.trigger.interval.total_seconds(), timezone=UTC))
        job.modify(next_run_time=now)
