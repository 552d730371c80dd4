from __future__ import annotations

import pytest

from collector.journal.timeline import Timeline
from shippers.clock import FakeClock


def test_it_is_the_walls_time_while_that_runs_forward() -> None:
    clock = FakeClock()
    timeline = Timeline(clock)
    timeline.now_ns()
    clock.advance(12.5)
    assert timeline.now_ns() / 1e9 == pytest.approx(clock.time(), abs=1e-6)
    clock.jump(3600)
    assert timeline.now_ns() / 1e9 == pytest.approx(clock.time(), abs=1e-6)


def test_when_the_wall_is_set_back_it_goes_on_slower_and_meets_it_again() -> None:
    clock = FakeClock()
    timeline = Timeline(clock)
    before = timeline.now_ns() / 1e9
    clock.jump(-10)
    clock.advance(20)
    assert timeline.now_ns() / 1e9 == pytest.approx(before + 18, abs=1e-3)
    clock.advance(100)
    assert timeline.now_ns() / 1e9 == pytest.approx(clock.time(), abs=1e-3)


def test_it_starts_no_earlier_than_what_is_on_disk() -> None:
    clock = FakeClock()
    timeline = Timeline(clock)
    ahead_ns = int((clock.time() + 500) * 1e9)
    timeline.not_before(ahead_ns)
    assert timeline.now_ns() >= ahead_ns
