"""Periods: aligned steps, live ends, the period before."""

from __future__ import annotations

import pytest

from collector.ports import Volume
from dashboards.scope import RANGES, Choice, scope_of, split

NOON = 1_763_726_400.0


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("offset", [0.0, 1.3, 59.9, 3_601.7])
def test_a_live_period_is_whole_steps_from_its_start_and_ends_a_moment_ago(name: str, offset: float) -> None:
    now = NOON + offset
    scope = scope_of(Choice(range=name), now)
    assert scope.start % scope.step_s == 0
    assert RANGES[name] <= scope.seconds < RANGES[name] + scope.step_s
    assert now - 2 - scope.step_s / 15 - 2 <= scope.end <= now - 2
    assert 90 <= scope.steps <= 301
    assert scope.before_start == scope.start - scope.steps * scope.step_s


def test_a_moment_later_the_same_questions_are_asked() -> None:
    assert scope_of(Choice(), NOON + 22) == scope_of(Choice(), NOON + 30)
    assert scope_of(Choice(), NOON + 22) != scope_of(Choice(), NOON + 45)


def test_a_brushed_period_stands_still_and_covers_what_was_brushed() -> None:
    scope = scope_of(Choice(zoom=(NOON + 3, NOON + 1_000)), NOON + 99_999)
    assert scope.start <= NOON + 3
    assert scope.end >= NOON + 1_000
    assert scope.step_s == 5
    assert scope == scope_of(Choice(zoom=(NOON + 3, NOON + 1_000)), NOON + 999_999)


def test_a_where_carries_every_filter() -> None:
    choice = Choice(regions=("r",), services=("s",), levels=("ERROR",), versions=("1",))
    where = scope_of(choice, NOON).where(errors=True)
    assert (where.regions, where.services, where.levels, where.versions, where.errors) == (
        ("r",), ("s",), ("ERROR",), ("1",), True,
    )  # fmt: skip
    assert choice.filters == 4


def test_an_answer_over_both_periods_comes_apart_where_this_one_starts() -> None:
    scope = scope_of(Choice(zoom=(NOON, NOON + 3)), NOON)
    times = tuple(NOON - 3 + index for index in range(6))
    now, before = split(Volume(1.0, times, {"a": (1, 2, 3, 4, 5, 6)}), scope)
    assert (now.times, now.series) == (times[3:], {"a": (4, 5, 6)})
    assert (before.times, before.series) == (times[:3], {"a": (1, 2, 3)})
