"""A schedule is a pure function of its seed, and never harms one part twice at a time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.drill.faults import FAULTS
from compose.drill.schedule import EMBEDDED, KINDS, STACK, plan
from shippers.errors import Misconfigured

seeds = st.integers(0, 2**31)
forms = st.sampled_from((EMBEDDED, STACK))


@given(seeds, forms)
def test_the_same_seed_gives_the_same_schedule(seed, form):
    assert plan(seed, 15, form, 12) == plan(seed, 15, form, 12)


def test_seeds_differ():
    assert len({plan(seed, 15, EMBEDDED, 12).faults for seed in range(100)}) == 100


def test_a_schedule_of_long_ago_is_the_same_today():
    """What a seed means must not change by chance: somebody has written it into a report."""
    made = [(one.kind, one.part, one.at_s, one.lasts_s) for one in plan(1, 15, EMBEDDED, 12).faults]
    assert made[:3] == [
        ("freeze", "sender-7", 1.5, 3.0),
        ("poison", "poison", 2.1, 0.0),
        ("clock", "sender-8", 3.7, 0.0),
    ]


@given(seeds, forms, st.floats(6, 120))
def test_faults_of_one_part_never_overlap_and_the_dead_are_left_in_peace(seed, form, span_s):
    faults = plan(seed, span_s, form, 12).faults
    for first, second in pairwise(faults):
        assert first.at_s <= second.at_s
    by_part: dict[str, list] = {}
    for one in faults:
        by_part.setdefault(one.part, []).append(one)
    for ones in by_part.values():
        for first, second in pairwise(ones):
            assert first.ends_s < second.at_s
        assert len(ones) == 1 or not any(KINDS[one.kind].for_good for one in ones)


@given(seeds, forms)
def test_every_schedule_has_one_death_and_ends_in_its_span(seed, form):
    made = plan(seed, 15, form, 12)
    assert [one.kind for one in made.faults].count("death") == 1
    assert all(one.ends_s <= made.span_s + 0.1 for one in made.faults)


def test_each_kind_comes_on_each_of_its_parts_in_some_schedule():
    for form in (EMBEDDED, STACK):
        seen = {(one.kind, one.part.partition("-")[0] if one.part.startswith("sender") else one.part)
                for seed in range(400) for one in plan(seed, 15, form, 12).faults}  # fmt: skip
        wanted = {(name, part) for name, kind in KINDS.items() for part in kind.parts[form]} - {("poison", "gateway")}
        assert wanted <= seen


@given(seeds)
def test_only_the_chosen_kinds_come(seed):
    assert {one.kind for one in plan(seed, 15, EMBEDDED, 12, ["kill", "cut"]).faults} <= {"kill", "cut"}


def test_a_kind_that_there_is_not_is_said():
    with pytest.raises(Misconfigured, match="there is no fault 'flood'"):
        plan(1, 15, EMBEDDED, 12, ["flood"])
    with pytest.raises(Misconfigured, match="needs --stack"):
        plan(1, 15, EMBEDDED, 12, ["storm"])


def test_every_kind_can_be_made():
    assert FAULTS.keys() == KINDS.keys()
