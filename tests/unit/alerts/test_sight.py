"""Sighted time: it ticks only while every gateway of the ingress is seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.sight import GAP_S, LEAVE_S, PathSight, Pulse


def run(sight: PathSight, pulse: Pulse, gateways: str, start: float, seconds: int) -> float:
    """A canary of each gateway each second; the time after the last."""
    for second in range(seconds):
        for i, name in enumerate(gateways):
            at = start + second + i * 0.1
            pulse.record(at)
            sight.canary(name, pulse)
    return start + seconds


@pytest.fixture
def sight() -> PathSight:
    return PathSight()


@pytest.fixture
def pulse() -> Pulse:
    return Pulse()


def test_it_ticks_with_the_canaries(sight: PathSight, pulse: Pulse) -> None:
    run(sight, pulse, "a", 1000, 61)
    assert sight.now == pytest.approx(60)


def test_a_gap_counts_as_two_seconds_and_is_remembered(sight: PathSight, pulse: Pulse) -> None:
    end = run(sight, pulse, "a", 1000, 11)
    run(sight, pulse, "a", end + 3600, 1)
    assert sight.now == pytest.approx(10 + GAP_S)
    assert sight.returned_at == sight.now


def test_two_seconds_without_a_canary_are_no_gap(sight: PathSight, pulse: Pulse) -> None:
    for at in (1000, 1001, 1003):
        run(sight, pulse, "a", at, 1)
    assert sight.now == 3
    assert sight.returned_at == 0


def test_it_stands_still_while_one_of_several_gateways_is_blind(sight: PathSight, pulse: Pulse) -> None:
    end = run(sight, pulse, "ab", 1000, 10)
    before = sight.now
    sight.carry(None, "b")
    run(sight, pulse, "a", end, 60)
    assert sight.now == pytest.approx(before, abs=1.1)


@pytest.mark.parametrize("jump", [-86_400.0, -3.0, 3.0, 86_400.0])
def test_a_clock_that_jumps_moves_it_by_no_more_than_a_gap(sight: PathSight, pulse: Pulse, jump: float) -> None:
    end = run(sight, pulse, "ab", 1000, 11)
    before = sight.now
    run(sight, pulse, "ab", end + jump, 11)
    assert before + 9 <= sight.now <= before + 11 + 2 * GAP_S


def test_a_blind_gateway_is_given_up_once_what_it_carried_is_seen_elsewhere(sight: PathSight, pulse: Pulse) -> None:
    sight.carry(None, "b")
    sight.carry(None, "b")
    end = run(sight, pulse, "ab", 1000, 10)
    end = run(sight, pulse, "a", end, int(LEAVE_S) + 5)
    assert set(sight.gateways) == {"a", "b"}
    sight.carry("b", "a")
    end = run(sight, pulse, "a", end, 2)
    assert set(sight.gateways) == {"a"}
    assert sight.moved_at == pytest.approx(sight.now, abs=1.1)
    before = sight.now
    run(sight, pulse, "a", end, 10)
    assert sight.now == pytest.approx(before + 10)


def test_it_is_not_given_up_before_its_time(sight: PathSight, pulse: Pulse) -> None:
    sight.carry(None, "b")
    end = run(sight, pulse, "ab", 1000, 10)
    sight.carry("b", "a")
    run(sight, pulse, "a", end, int(LEAVE_S) - 3)
    assert set(sight.gateways) == {"a", "b"}


def test_a_gateway_that_carries_nothing_is_given_up_by_itself_and_comes_back(sight: PathSight, pulse: Pulse) -> None:
    sight.carry(None, "a")
    end = run(sight, pulse, "ab", 1000, 10)
    end = run(sight, pulse, "a", end, int(LEAVE_S) + 2)
    assert set(sight.gateways) == {"a"}
    run(sight, pulse, "ab", end, 1)
    assert set(sight.gateways) == {"a", "b"}


def test_the_last_gateway_is_never_given_up(sight: PathSight, pulse: Pulse) -> None:
    end = run(sight, pulse, "a", 1000, 10)
    for second in range(100):
        pulse.record(end + second)
    run(sight, pulse, "a", end + 100, 1)
    assert set(sight.gateways) == {"a"}


def test_a_beat_between_two_canaries_has_its_own_moment(sight: PathSight, pulse: Pulse) -> None:
    run(sight, pulse, "a", 1000, 11)
    assert sight.moment(pulse.now + 0.7) == pytest.approx(10.7)
    assert sight.moment(pulse.now + 500) == pytest.approx(12.0)
    assert sight.moment(pulse.now - 5) == pytest.approx(10.0)


@pytest.mark.parametrize("jump", [-86_400.0, -3.0, 86_400.0])
def test_a_gateway_that_hangs_before_a_jump_holds_it_up_behind_the_jump_too(
    sight: PathSight, pulse: Pulse, jump: float
) -> None:
    sight.carry(None, "b")
    end = run(sight, pulse, "ab", 1000, 11)
    before = sight.now
    run(sight, pulse, "a", end + jump, 60)
    assert sight.now <= before + 1.1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1e6, 1e6)), min_size=1, max_size=60))
def test_it_never_goes_back_and_never_faster_than_a_gap_a_canary(canaries: list[tuple[str, float]]) -> None:
    sight, pulse = PathSight(), Pulse()
    for gateway, at in canaries:
        before, before_pulse = sight.now, pulse.now
        pulse.record(at)
        sight.canary(gateway, pulse)
        assert before <= sight.now <= before + GAP_S
        assert before_pulse <= pulse.now <= before_pulse + GAP_S
        assert sight.now <= sight.moment(pulse.now + 1) <= sight.now + GAP_S
