"""How incidents move, and which notices they owe: pure, by table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts import transitions as turn
from alerts.document import to_doc
from alerts.incidents import Incident, Severity, Status, incident_from
from alerts.settings import AlertSettings
from alerts.transitions import Draft

SETTINGS = AlertSettings(
    notifiers=(
        {"name": "chat"},
        {"name": "pager", "least": "page"},
        {"name": "boss", "escalation": True},
    ),
    repeat_s=3600,
    escalate_after_s=900,
)  # type: ignore[arg-type]


def draft(severity: Severity = Severity.PAGE, **more: Any) -> Draft:
    values: dict[str, Any] = {"summary": "pay is down in cn-east", "why": "no instance lives", "began_at": 90.0}
    return Draft("down", "down/cn-east/pay", severity, **{**values, **more})


def tend(incident: Incident, now: float, *, silenced: bool = False) -> Incident:
    return turn.tended(incident, SETTINGS, now, silenced=silenced)


def owed(incident: Incident) -> list[str]:
    return [f"{notice.turn} {notice.notifier}" for notice in incident.notices]


def fired(severity: Severity = Severity.PAGE) -> Incident:
    return tend(turn.opened(draft(severity), 100.0), 100.0)


def test_a_page_fires_at_once_and_tells_everybody_but_the_escalation() -> None:
    assert fired().status is Status.FIRING
    assert owed(fired()) == ["firing chat", "firing pager"]


def test_a_warning_wakes_nobody() -> None:
    assert owed(fired(Severity.WARNING)) == ["firing chat"]


def test_a_warning_that_becomes_a_page_is_told_again_and_wakes() -> None:
    raised = tend(turn.raised(fired(Severity.WARNING), draft(Severity.PAGE), 110.0), 110.0)
    assert owed(raised) == ["firing chat", "raised chat", "firing pager"]


def test_tending_again_owes_nothing_more() -> None:
    assert tend(fired(), 101.0) == fired()


def test_pending_is_told_only_if_it_lasts() -> None:
    pending = tend(turn.opened(draft(pending_s=30.0), 100.0), 129.0)
    assert (pending.status, owed(pending)) == (Status.PENDING, [])
    assert owed(turn.resolved(pending, "back", 129.5)) == []
    assert owed(tend(pending, 130.0)) == ["firing chat", "firing pager"]


def test_nobody_is_told_in_a_silence_and_everybody_after_it_if_it_is_still_so() -> None:
    silenced = tend(turn.opened(draft(), 100.0), 100.0, silenced=True)
    assert (silenced.status, owed(silenced)) == (Status.FIRING, [])
    assert owed(tend(silenced, 500.0)) == ["firing chat", "firing pager"]
    assert owed(turn.resolved(silenced, "back", 400.0)) == []


def test_it_is_repeated_and_escalated_until_somebody_takes_it() -> None:
    at_900 = tend(fired(), 1000.0)
    assert owed(at_900)[2:] == ["escalated boss"]
    later = tend(tend(at_900, 4600.0), 8200.0)
    assert owed(later)[3:] == ["reminder-1 chat", "reminder-1 pager", "reminder-2 chat", "reminder-2 pager"]
    taken = turn.acknowledged(later, "ming", 8300.0)
    assert (taken.status, taken.acknowledged_by) == (Status.ACKNOWLEDGED, "ming")
    assert tend(taken, 90_000.0) == taken


def test_who_was_told_that_it_began_is_told_that_it_is_over() -> None:
    over = turn.resolved(tend(fired(), 1000.0), "it beats again", 1100.0)
    assert over.status is Status.RESOLVED
    assert owed(over)[3:] == ["resolved boss", "resolved chat", "resolved pager"]
    assert over.amendments == ("it beats again",)
    assert turn.resolved(over, "twice", 1200.0) == over
    assert turn.acknowledged(over, "late", 1200.0) == over


def test_what_comes_and_goes_is_told_less_and_must_be_calm_to_be_over() -> None:
    incident = fired()
    for i in range(1, 6):
        incident = turn.resolved(incident, "back", 100.0 + 20 * i)
        if not incident.is_open:
            incident = tend(turn.reopened(incident, draft(), 110.0 + 20 * i), 110.0 + 20 * i)
        else:
            incident = tend(turn.raised(incident, draft(), 110.0 + 20 * i), 110.0 + 20 * i)
    turns = [each.turn for each in incident.notices if each.notifier == "chat"]
    assert turns == ["firing", "resolved", "again-1", "resolved-1", "again-2", "resolved-2", "flapping"]
    calm = turn.resolved(incident, "back", 1000.0)
    assert calm.is_open
    assert tend(calm, 1000.0 + turn.CALM_S - 1).is_open
    over = tend(calm, 1000.0 + turn.CALM_S)
    assert over.status is Status.RESOLVED
    assert over.notices[-1].turn == "resolved-3"


def test_calm_that_ends_counts_from_the_beginning() -> None:
    flapping = replace(fired(), reopened=turn.FLAPS, calm_since=1000.0)
    assert turn.raised(flapping, draft(), 1100.0).calm_since is None


def test_an_incident_decided_twice_is_the_same_one() -> None:
    assert turn.opened(draft(), 100.0).id == turn.opened(draft(), 999.0).id
    assert turn.opened(draft(), 100.0).id != turn.opened(draft(began_at=91.0), 100.0).id


def test_amendments_are_not_repeated_and_are_bounded() -> None:
    incident = fired()
    for i in range(100):
        incident = turn.amended(incident, f"late {i // 2}")
    assert len(incident.amendments) == turn.MAX_AMENDMENTS


@pytest.mark.parametrize("ours_first", [True, False])
def test_merging_keeps_what_was_delivered_and_taken_on_either_side(ours_first: bool) -> None:
    theirs = turn.acknowledged(turn.delivered(fired(), fired().notices[0], 105.0), "ming", 120.0)
    ours = turn.amended(turn.delivered(fired(), fired().notices[1], 106.0), "late beat")
    both = turn.merged(theirs, ours)
    assert [each.delivered_at for each in both.notices] == [105.0, 106.0]
    assert (both.status, both.acknowledged_by) == (Status.ACKNOWLEDGED, "ming")
    assert both.amendments == ("late beat",)


def test_merging_lets_the_watch_say_that_it_is_over() -> None:
    over = turn.resolved(fired(), "back", 150.0)
    assert turn.merged(turn.acknowledged(fired(), "ming", 120.0), over).status is Status.RESOLVED


def test_a_delivered_notice_is_never_undelivered() -> None:
    notice = fired().notices[0]
    done = turn.delivered(fired(), notice, 105.0)
    assert turn.failed(done, notice, 106.0, 1.0, "late failure") == done


@given(
    st.lists(
        st.tuples(st.sampled_from(["tend", "silent", "resolve", "open", "ack", "deliver", "fail"]), st.floats(0, 5000)),
        max_size=25,
    )
)
def test_whatever_happens_no_notice_is_lost_doubled_or_changed_after_delivery(steps: list[tuple[str, float]]) -> None:
    incident, now = fired(), 100.0
    for what, passed in steps:
        now += passed
        before = {(each.notifier, each.turn): each for each in incident.notices}
        if what in ("tend", "silent"):
            incident = tend(incident, now, silenced=what == "silent")
        elif what == "resolve":
            incident = turn.resolved(incident, "back", now)
        elif what == "open":
            is_open = incident.is_open
            incident = turn.raised(incident, draft(), now) if is_open else turn.reopened(incident, draft(), now)
        elif what == "ack":
            incident = turn.acknowledged(incident, "ming", now)
        else:
            for notice in incident.notices[:1]:
                done = what == "deliver"
                incident = turn.delivered(incident, notice, now) if done else turn.failed(incident, notice, now, 1, "x")
        after = {(each.notifier, each.turn): each for each in incident.notices}
        assert len(after) == len(incident.notices)
        assert before.keys() <= after.keys()
        for key, each in before.items():
            if each.delivered_at is not None:
                assert after[key] == each
        assert incident_from(to_doc(incident)) == incident
