"""The running watch: rounds go on, whatever the wall clock does; notices go out; it ends with everything kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import apscheduler.schedulers.base as scheduler_base
import pytest

from alerts.fleet import read_fleet
from alerts.notify.scripted import ScriptedNotifier
from alerts.schedule import run_watch
from alerts.settings import AlertSettings
from alerts.state.memory import MemoryState
from alerts.watch import Watch
from collector.journal.memory import MemoryJournal
from shippers.clock import SystemClock
from tests.unit.alerts.world import beat, canary


def wait_for(good: Any, within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not good():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


@contextmanager
def running(tmp_path: Path, pager: ScriptedNotifier) -> Iterator[tuple[Watch, MemoryJournal, MemoryState]]:
    clock, state = SystemClock(), MemoryState()
    journal = MemoryJournal(clock)
    settings = AlertSettings(outbox=tmp_path / "outbox.jsonl", flush_s=0.2)
    watch = Watch(journal.reader(None, ("heartbeat",)), state, settings, clock, {"console": pager})
    stop = threading.Event()
    thread = threading.Thread(target=run_watch, args=(watch, stop, clock, ""))
    thread.start()
    try:
        yield watch, journal, state
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_it_reads_judges_and_tells_by_itself(tmp_path: Path) -> None:
    pager = ScriptedNotifier()
    with running(tmp_path, pager) as (watch, journal, state):
        journal.append([canary(), beat("pay", 1, interval_s=0.2, grace_s=0.2)])
        wait_for(lambda: watch.steps > 2)
        for _ in range(40):
            journal.append([canary()])
            if pager.sent:
                break
            time.sleep(0.1)
        wait_for(lambda: [message.title for message in pager.sent] == ["✖ pay is down in cn-east"])
        assert watch.health()["status"] == "ok"
    assert [row.service for row in read_fleet(state).services] == ["pay"]


def test_rounds_go_on_when_the_wall_clock_is_set_back_by_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, ScriptedNotifier()) as (watch, _, _):
        wait_for(lambda: watch.steps > 2)

        class SetBack(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) - timedelta(hours=1)

        monkeypatch.setattr(scheduler_base, "datetime", SetBack)
        monkeypatch.setattr("alerts.schedule.datetime", SetBack)
        time.sleep(0.6)
        steps = watch.steps
        wait_for(lambda: watch.steps > steps + 4, 15)


def test_a_round_that_fails_does_not_end_the_watch(tmp_path: Path) -> None:
    with running(tmp_path, ScriptedNotifier()) as (watch, _, _):
        wait_for(lambda: watch.steps > 0)
        apply, watch.book.tend = watch.book.tend, lambda: 1 / 0  # type: ignore[assignment,method-assign]
        wait_for(lambda: watch.failed_steps > 1)
        watch.book.tend = apply  # type: ignore[method-assign]
        steps = watch.steps
        wait_for(lambda: watch.steps > steps)
