"""The pure decision on one process, in sighted time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.staleness import MAX_EXTENSIONS, SIGNS, Policy, Sighted, Verdict, deadline, evaluate

POLICY = Policy(interval_s=10.0, grace_s=20.0)


@pytest.mark.parametrize(
    ("silent_s", "verdict"),
    [
        (0, Verdict.UP),
        (10, Verdict.UP),
        (12, Verdict.UP),
        (12.1, Verdict.LATE),
        (30, Verdict.LATE),
        (30.1, Verdict.DOWN),
        (1e9, Verdict.DOWN),
    ],
)
def test_it_is_up_then_late_then_down_as_sighted_time_goes_by(silent_s: float, verdict: Verdict) -> None:
    assert evaluate(Sighted(100 + silent_s), 100, POLICY).verdict is verdict


@pytest.mark.parametrize(
    ("returned_at", "down_at"),
    [(-math.inf, 130), (105, 130), (125, 125 + 10 * 4 / 3 + 1), (129.9, 129.9 + 10 * 4 / 3 + 1)],
)
def test_after_a_gap_of_sight_it_has_time_to_be_heard_again(returned_at: float, down_at: float) -> None:
    assert deadline(Sighted(0, returned_at), 100, POLICY) == pytest.approx(down_at)


def test_sight_that_flickers_for_ever_does_not_hide_a_death_for_ever() -> None:
    assert deadline(Sighted(0, returned_at=1e6), 100, POLICY) == 130 + MAX_EXTENSIONS * POLICY.fresh_s


def test_a_gateway_that_was_given_up_gives_all_that_is_allowed_again() -> None:
    assert deadline(Sighted(0, moved_at=129), 100, POLICY) == 159


def test_a_scope_that_came_back_gives_time_too() -> None:
    assert deadline(Sighted(0), 100, POLICY, not_before=144) == 144


times = st.floats(0, 1e6)
policies = st.builds(Policy, st.floats(0.2, 3600), st.floats(0, 3600))


@given(now=times, heard=times, returned=times, moved=times, policy=policies)
def test_nobody_is_down_before_what_is_allowed_and_the_next_look_is_never_too_late(
    now: float, heard: float, returned: float, moved: float, policy: Policy
) -> None:
    sighted = Sighted(now, returned, moved)
    found = evaluate(sighted, heard, policy)
    if found.verdict is Verdict.DOWN:
        assert now - heard >= policy.allowed_s * (1 - 1e-9) - 1e-6
        assert now >= returned + policy.fresh_s or now > heard + policy.allowed_s + MAX_EXTENSIONS * policy.fresh_s
    else:  # nothing changes until the next look, and just behind it something does
        assert found.next_at >= now
        assert evaluate(Sighted(found.next_at, returned, moved), heard, policy).verdict is found.verdict
        later = evaluate(Sighted(found.next_at * (1 + 1e-9) + 1e-6, returned, moved), heard, policy)
        assert later.verdict is not found.verdict


def test_every_verdict_has_a_sign_of_its_own() -> None:
    assert set(SIGNS) == set(Verdict)
    assert len(set(SIGNS.values())) == len(Verdict)
