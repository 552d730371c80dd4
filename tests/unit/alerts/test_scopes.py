"""Whose death is it: the pure placement, by table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.scopes import Cause, Placement, Scope, ScopeFacts, Silence, place
from alerts.sight import Pulse

SILENT = Silence(age_s=30, interval_s=10, tolerance_s=2)  # its beat has been missing for 18 s


def scope(
    live: int, silent: int, heard_s: float, together: int | None = None, overdue: int | None = None
) -> ScopeFacts:
    together = silent if together is None else together
    overdue = silent if overdue is None else overdue
    return ScopeFacts("scope", live, silent, together, heard_s, overdue, min(together, overdue))


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        # one death among the living
        ([scope(10, 1, 2)], Placement(Cause.OWN)),
        # nobody is heard any more
        ([scope(10, 10, 25)], Placement(Cause.SCOPE, 0, whole=True)),
        ([scope(10, 5, 25)], Placement(Cause.SCOPE, 0, whole=True)),
        # nobody is heard, but most are not due yet
        ([scope(10, 4, 25)], Placement(Cause.HOLD, 0, whole=True)),
        ([scope(10, 1, 18)], Placement(Cause.HOLD, 0, whole=True)),
        # too few to tell
        ([scope(2, 2, 25)], Placement(Cause.OWN)),
        ([scope(1, 1, 30)], Placement(Cause.OWN)),
        # half of a scope that lives on fell silent at once
        ([scope(10, 5, 2)], Placement(Cause.SCOPE, 0)),
        ([scope(6, 3, 2)], Placement(Cause.SCOPE, 0)),
        ([scope(7, 3, 2)], Placement(Cause.OWN)),
        ([scope(4, 2, 2)], Placement(Cause.OWN)),
        # the widest that is silent as a whole; else the one that is filled most, the widest of equals
        ([scope(20, 20, 25), scope(8, 8, 25)], Placement(Cause.SCOPE, 0, whole=True)),
        ([scope(20, 8, 1), scope(8, 8, 25)], Placement(Cause.SCOPE, 1, whole=True)),
        ([scope(20, 8, 25), scope(8, 8, 25)], Placement(Cause.HOLD, 0, whole=True)),
        ([scope(10, 5, 1), scope(5, 5, 1)], Placement(Cause.SCOPE, 1)),
        ([scope(10, 6, 1), scope(10, 6, 1)], Placement(Cause.SCOPE, 0)),
        # a scope that is silent as a whole, its members since different moments; half of a living one, but not at once
        ([scope(10, 10, 25, together=1)], Placement(Cause.SCOPE, 0, whole=True)),
        ([scope(10, 6, 2, together=2)], Placement(Cause.OWN)),
        # many are late, but too few for longer than is allowed: it may be over soon
        ([scope(10, 10, 25, overdue=2)], Placement(Cause.HOLD, 0, whole=True)),
        ([scope(10, 10, 25, overdue=3)], Placement(Cause.SCOPE, 0, whole=True)),
        ([scope(10, 6, 2, overdue=2)], Placement(Cause.HOLD, 0)),
        ([scope(10, 6, 2, overdue=3)], Placement(Cause.SCOPE, 0)),
        ([], Placement(Cause.OWN)),
    ],
)
def test_placement(scopes: list[ScopeFacts], expected: Placement) -> None:
    assert place(SILENT, scopes) == expected


def test_who_was_given_up_by_its_scopes_return_dies_its_own_death_if_the_scope_lives() -> None:
    released = Silence(30, 10, 2, released=True)
    assert place(released, [scope(6, 5, 1)]) == Placement(Cause.OWN)
    assert place(released, [scope(6, 5, 25)]) == Placement(Cause.SCOPE, 0, whole=True)


facts = st.builds(
    scope,
    live=st.integers(0, 50),
    silent=st.integers(0, 50),
    heard_s=st.floats(0, 1e4),
    together=st.integers(0, 50),
    overdue=st.integers(0, 50),
)
silences = st.builds(Silence, st.floats(0, 1e4), st.floats(0.2, 60), st.floats(0, 2), st.booleans())


@given(silences, st.lists(facts, max_size=5))
def test_nobody_is_accused_while_a_scope_of_his_that_could_tell_is_silent(
    silence: Silence, scopes: list[ScopeFacts]
) -> None:
    placement = place(silence, scopes)
    if placement.cause is Cause.OWN:
        assert all(each.live < 3 or each.heard_s < silence.missing_s for each in scopes)
    if placement.cause is Cause.SCOPE:
        chosen = scopes[placement.index]
        assert chosen.is_silent if placement.whole else chosen.fell_silent
        assert (chosen.overdue if placement.whole else chosen.overdue_together) >= 3


def scope_of(services: int, late_s: float = 12.0) -> tuple[Scope, Pulse]:
    made, pulse = Scope("region/cn-east"), Pulse()
    for i in range(services):
        made.count(f"cn-east/s{i}", 1, 0, late_s)
    made.hear(pulse, 0.0)
    return made, pulse


@pytest.mark.parametrize(
    ("services", "lull_s", "came_back"), [(3, 13.0, True), (3, 11.0, False), (2, 60.0, False), (40, 13.0, True)]
)
def test_a_lull_in_which_half_of_a_scope_should_have_beaten_was_an_outage(
    services: int, lull_s: float, came_back: bool
) -> None:
    made, pulse = scope_of(services)
    pulse.now = lull_s
    made.hear(pulse, lull_s)
    assert (made.returned_at(pulse) == lull_s) is came_back


@pytest.mark.parametrize(("resumed", "came_back"), [(2, False), (4, False), (5, True)])
def test_half_of_a_scope_back_from_a_missed_beat_was_an_outage(resumed: int, came_back: bool) -> None:
    made, pulse = scope_of(10)
    for i in range(resumed):
        pulse.now += 1
        made.resume(f"cn-east/s{i}", pulse, pulse.now)
    assert (made.returned_at(pulse) == pulse.now) is came_back


def test_a_return_is_told_by_the_pulse_of_any_partition() -> None:
    made, pulse = scope_of(3)
    other = Pulse()
    other.now = 500.0
    made.come_back(pulse)
    pulse.now += 7
    assert made.returned_at(other) == 493.0
