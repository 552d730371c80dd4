"""The audit: what is missing, double or said twice is found; what is explained is not called wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.incidents import Incident, Notice, Severity, Status
from compose.drill.pager import Pager
from compose.drill.reckoning import Call, Kept, Rules, Run, Trouble, Truth, alarms, balance

NOW = 1_000.0
RULES = Rules(grace_s=2.0, blind_after_s=4.0)
DELIVERED = (Notice("on-call", "firing", 500.0, 500.0, 1, 501.0),)


def stored(*numbers: int) -> Counter[int]:
    return Counter(numbers)


def upto(count: int, but: tuple[int, ...] = ()) -> Counter[int]:
    return Counter(number for number in range(1, count + 1) if number not in but)


def test_all_stored_once_is_sound():
    found = balance(Run("a", 10, 10), Kept(upto(10)))
    assert (found.emitted, found.once, found.unaccounted, found.duplicates) == (10, 10, 0, 0)
    assert found.is_good


@given(st.integers(1, 50), st.data())
def test_every_missing_event_is_unaccounted(count, data):
    gone = tuple(data.draw(st.sets(st.integers(1, count), min_size=1)))
    found = balance(Run("a", count, count), Kept(upto(count, gone)))
    assert found.unaccounted == len(gone)
    assert not found.is_good


def test_what_is_missing_is_named():
    assert "3-5, 9" in balance(Run("a", 10, 10), Kept(upto(10, (3, 4, 5, 9)))).why


@pytest.mark.parametrize("kept", [{"dead": 2}, {"void": 2}, {"dropped": 2}, {"dead": 1, "dropped": 1}])
def test_what_is_counted_is_accounted_for(kept):
    found = balance(Run("a", 10, 10, stopped=True, poison=True), Kept(upto(8), **kept))
    assert found.is_good
    assert found.emitted == found.once + found.dead + found.counted


def test_counted_as_gone_and_there_is_wrong_as_well():
    assert balance(Run("a", 10, 10, stopped=True), Kept(upto(10), dropped=3)).unaccounted == 3


def test_twice_is_a_duplicate():
    found = balance(Run("a", 10, 10), Kept(upto(10) + stored(5, 5, 6)))
    assert (found.duplicates, found.once, found.unaccounted) == (3, 8, 0)


def test_stored_but_never_emitted_is_wrong():
    found = balance(Run("a", 10, 10), Kept(upto(12)))
    assert found.unaccounted == 2
    assert "never emitted" in found.why


@pytest.mark.parametrize(
    ("kept", "emitted"), [(Kept(upto(10)), 10), (Kept(upto(11)), 11), (Kept(upto(10), void=1), 11)]
)
def test_a_log_call_that_was_under_way_may_count_or_not(kept, emitted):
    found = balance(Run("a", 11, 10, killed=True, spooled=True), kept)
    assert found.is_good
    assert found.emitted == emitted


def test_what_a_kill_cut_off_without_a_spool_is_its_own_column():
    found = balance(Run("a", 10, 10, killed=True), Kept(upto(7)))
    assert (found.cut_off, found.unaccounted) == (3, 0)


def test_but_only_the_end_can_be_cut_off():
    found = balance(Run("a", 10, 10, killed=True), Kept(upto(10, (4, 5, 10))))
    assert (found.cut_off, found.unaccounted) == (0, 3)


def test_and_nothing_that_its_last_beat_said_was_durable():
    run = Run("a", 5_000, 5_000, killed=True)
    assert balance(run, Kept(upto(100), acked=100)).cut_off == 4_900
    found = balance(run, Kept(upto(100), acked=101))
    assert (found.cut_off, found.unaccounted) == (0, 4_900)
    assert "all but 4899 were durable" in found.why
    assert balance(run, Kept(upto(100), dropped=4_000, acked=900)).unaccounted, "nor what it dropped"


def test_one_number_that_is_counted_excuses_no_hole():
    found = balance(Run("a", 10, 10, killed=True, stopped=True), Kept(upto(10, (4, 5, 10)), dropped=1))
    assert (found.cut_off, found.unaccounted) == (0, 2)
    overflown = Run("a", 10, 10, killed=True, buffer_events=20)
    assert balance(overflown, Kept(upto(10, (4, 5, 10)), dropped=1)).is_good, "what came while memory was full"
    assert not balance(overflown, Kept(upto(10, (4, 5, 10)))).is_good


def test_only_poison_may_be_dead():
    kept = Kept(upto(4), dead=6)
    assert balance(Run("a", 10, 10), kept).unaccounted == 6
    assert balance(Run("a", 10, 10, poison=True), kept).is_good


def test_only_who_was_full_or_asked_to_end_may_drop():
    kept = Kept(upto(4), dropped=6)
    assert balance(Run("a", 10, 10), kept).unaccounted == 6
    assert balance(Run("a", 10, 10, stopped=True), kept).is_good
    assert balance(Run("a", 10, 10, buffer_events=20), kept).is_good


def test_with_a_spool_a_kill_excuses_nothing():
    assert balance(Run("a", 10, 10, killed=True, spooled=True), Kept(upto(7))).unaccounted == 3
    assert balance(Run("a", 10, 10, killed=True, spooled=True), Kept(upto(7), void=3)).is_good


def test_what_is_void_is_the_end_as_well_and_was_never_durable():
    run = Run("a", 10, 10, killed=True, spooled=True)
    assert balance(run, Kept(upto(7), void=3, acked=7)).is_good
    assert balance(run, Kept(upto(7), void=3, acked=8)).unaccounted == 3
    assert balance(run, Kept(upto(10, (4, 5, 6)), void=3)).unaccounted == 3


def incident(kind="down", service="pay", opened_at=500.0, *, resolved=True, reopened=0, notices=DELIVERED) -> Incident:
    return Incident(
        f"{kind}-{service}", f"{kind}/{service}", kind, Severity.PAGE, Status.RESOLVED if resolved else Status.FIRING,
        "drill", service, "", "", f"{service} is {kind}", "why", opened_at - 3, opened_at,
        resolved_at=opened_at + 5 if resolved else None, notices=notices, reopened=reopened,
    )  # fmt: skip


def calls(*incidents: Incident) -> list[Call]:
    """What a sound courier has told of these."""
    noted = [(one, notice) for one in incidents for notice in one.notices if notice.delivered_at is not None]
    return [Call(one.id, one.dedup_key, notice.turn) for one, notice in noted]


def judged(incidents, troubles=(), dead=(), **more):
    return alarms(incidents, Truth(troubles, dead, **{"calls": calls(*incidents), **more}), RULES, NOW)


def test_an_incident_without_any_trouble_is_false():
    assert len(judged([incident()]).false) == 1


def test_a_service_that_was_away_for_long_enough_is_rightly_called_down():
    assert not judged([incident()], [Trouble(495, 502, "pay")]).false


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(499, 500.5, "pay"),  # too short to be late
        Trouble(495, 502, "shop"),  # another's
        Trouble(501, 520, "pay"),  # began afterwards
        Trouble(490, 502),  # the platform was blind: nobody may be accused for that
        Trouble(498.5, 502, "pay"),  # not yet ill for long enough when it was told
        Trouble(460, 470, "pay"),  # long over
    ],
)
def test_any_other_trouble_is_no_reason_to_call_it_down(trouble):
    assert len(judged([incident()], [trouble]).false) == 1


def test_blindness_is_told_rightly_while_there_is_some_and_not_long_after():
    blind = incident("blind", "")
    assert not judged([blind], [Trouble(490, 495)]).false
    assert judged([blind], [Trouble(400, 410)]).false
    assert not judged([blind], [Trouble(498, 510)]).false, "the last canary was on its way, and old"
    assert judged([blind], [Trouble(498.5, 510)]).false, "sooner than it may say so"
    assert judged([blind], [Trouble(490, 495, "pay")]).false


@pytest.mark.parametrize("kind", ["blind", "unreachable"])
def test_a_hiccup_is_no_reason_to_see_nothing_and_what_came_close_together_is_one(kind):
    told = incident(kind, "")
    assert judged([told], [Trouble(498, 499, words="delay network")]).false
    assert judged([told], [Trouble(480, 489)]).false, "it has long seen again"
    hiccups = [Trouble(495, 496), Trouble(497.5, 498), Trouble(499.5, 499.8)]
    assert not judged([told], hiccups).false
    assert judged([told], hiccups[::2]).false


def test_a_scope_falls_silent_only_if_enough_of_it_is_ill_for_long_enough():
    told = replace(incident("unreachable", ""), zone="b")
    ill = [Trouble(497, 503, service, "b") for service in ("pay", "shop", "stock")]
    assert not judged([told], ill).false
    assert judged([told], [*ill[:2], *ill[:2]]).false, "three services, not three faults"
    assert judged([told], [*ill[:2], replace(ill[2], zone="a")]).false
    assert judged([told], [*ill[:2], replace(ill[2], began_at=499)]).false
    assert judged([told], [Trouble(400, None, "pay", "b")]).false, "one that died is one"
    assert not judged([replace(told, zone="")], [*ill[:2], replace(ill[2], zone="a")]).false


CUT = Trouble(490, 496, words="cut network", blind_from_s=5.5, healed_at=496)


def test_long_blindness_of_which_nobody_is_told_is_missed():
    assert judged([], [CUT]).missed == ("cut network: nothing was seen for 6.0 s, and nobody was told",)
    assert not judged([], [replace(CUT, healed_at=495)]).missed
    assert not judged([], [replace(CUT, blind_from_s=None)]).missed
    assert not judged([incident("blind", "", 494)], [CUT]).missed
    assert judged([incident("blind", "", 470)], [CUT]).missed, "of another time"
    of_a_zone = [replace(CUT, service=service, zone="b") for service in ("pay", "shop", "stock")]
    assert len(judged([], of_a_zone).missed) == 1
    assert not judged([replace(incident("unreachable", "", 495), zone="b")], of_a_zone).missed


@pytest.mark.parametrize(("began", "until"), [(488, 492), (493, 494), (480, 489), (495, None)])
def test_where_more_than_that_was_broken_it_may_be_why_nobody_was_told(began, until):
    assert not judged([], [CUT, Trouble(began, until, words="freeze watch")]).missed
    assert judged([], [CUT, Trouble(began, until, "pay", words="pay-0 ended")]).missed


def test_more_often_told_than_there_were_faults_is_false():
    assert judged([incident("blind", "", reopened=1)], [Trouble(490, 505)]).false
    assert not judged([incident("blind", "", reopened=1)], [Trouble(490, 505), Trouble(480, 486)]).false


def test_few_restarts_are_no_crash_loop():
    restarts = [Trouble(480 + 4 * number, 481 + 4 * number, "pay") for number in range(5)]
    assert not judged([incident("flapping")], restarts).false
    assert judged([incident("flapping")], restarts[1:]).false


def test_what_is_over_and_still_open_is_false():
    assert judged([incident(resolved=False)], [Trouble(495, 502, "pay")]).false


def test_who_died_must_be_told_once_and_delivered():
    death = [Trouble(495, None, "pay")]
    assert judged([], death, {"pay"}).missed
    assert judged([incident(resolved=False, notices=())], death, {"pay"}).missed
    told = judged([incident(resolved=False)], death, {"pay"})
    assert (told.false, told.missed) == ((), ())
    assert judged([incident(resolved=False)] * 2, death, {"pay"}).false
    assert judged([incident()], death, {"pay"}).missed, "resolved, though nobody came back"


def test_only_what_the_telephone_heard_was_told():
    death, page = [Trouble(495, None, "pay")], incident(resolved=False)
    found = judged([page], death, {"pay"}, calls=[])
    assert not found.false
    assert ["the page never went out" in words for words in found.missed] == [False, True]
    assert "noted as delivered" in found.missed[0]
    not_yet_noted = replace(page, notices=(replace(DELIVERED[0], delivered_at=None),))
    again = judged([not_yet_noted], death, {"pay"}, calls=calls(page))
    assert (again.false, again.missed) == ((), ()), "a watch that was killed between the two sends it again"


@pytest.mark.parametrize("differs", [{"incident": "down-0"}, {"turn": "again-1"}, {"dedup_key": "down/shop"}])
def test_what_the_telephone_heard_and_no_incident_says_is_false(differs):
    page = incident()
    (call,) = calls(page)
    found = judged([page], [Trouble(495, 502, "pay")], calls=[call, replace(call, title="✖ pay", **differs)])
    assert "“✖ pay”" in found.false[0]
    assert not found.missed


def test_one_thing_told_under_two_incidents_is_told_twice():
    twins = [incident(), replace(incident(), id="down-of-a-watch-that-forgot")]
    assert "told 2 times, for 1 faults" in judged(twins, [Trouble(495, 502, "pay")]).false[0]
    assert not judged(twins, [Trouble(495, 502, "pay"), Trouble(480, 485, "pay")]).false


def test_the_telephone_keeps_the_first_of_what_comes_under_one_key():
    with Pager() as pager, httpx.Client(trust_env=False) as client:
        for turn in ("firing", "resolved"):
            said = {"incident_id": "down-1", "dedup_key": "down/pay", "turn": turn, "title": "pay"}
            assert client.post(pager.url, json=said, headers={"Idempotency-Key": "one"}).is_success
        assert pager.calls == [Call("down-1", "down/pay", "firing", "pay")]


def lossy(service="pay", **how) -> Incident:
    return replace(incident("lossy", service, **how), evidence={"pending_s": 15.0})


@pytest.mark.parametrize("service", ["pay", ""])
def test_nothing_is_lost_in_a_sound_drill_whatever_the_trouble(service):
    troubles = [Trouble(495, 502, "pay"), Trouble(490, 510)]
    assert judged([lossy(service)], troubles).false
    assert judged([lossy(service, resolved=False, notices=())], troubles).false, "nobody was told yet, but will be"


def test_a_loss_that_was_over_before_anybody_was_told_is_no_alarm():
    assert not judged([lossy(notices=())]).false
    stores_differ = replace(lossy("", notices=()), evidence={"pending_s": 0.0})
    assert judged([stores_differ]).false


def test_what_is_lost_must_be_told():
    assert "nobody knows" in judged([], lost={"pay"}).missed[0]
    assert judged([lossy()], lost={"pay"}).missed, "resolved, though it is lost"
    assert "never went out" in judged([lossy(resolved=False, notices=())], lost={"pay"}).missed[0]
    for told in (lossy(resolved=False), lossy("", resolved=False)):
        found = judged([told], lost={"pay"})
        assert (found.false, found.missed) == ((), ())
    assert judged([lossy("shop", resolved=False)], lost={"pay"}).false


def test_only_who_was_poisoned_may_be_said_to_lie():
    def lying(*streams):
        return replace(incident("lying", "", resolved=False), evidence={"streams": list(streams)})

    assert not judged([lying("a.business")], poisoned={"a.business"}).false
    assert judged([lying("a.business", "b.business")], poisoned={"a.business"}).false
    assert judged([lying()], poisoned={"a.business"}).false


def test_a_store_may_have_more_than_it_should_of_what_poison_claims():
    more = replace(lossy("", resolved=False), severity=Severity.WARNING, evidence={"streams": ["a.business"]})
    assert not judged([more], poisoned={"a.business"}).false
    assert judged([replace(more, severity=Severity.PAGE)], poisoned={"a.business"}).false, "it lacks something"
    assert judged([more]).false


def test_the_longest_blind_time_is_told():
    assert judged([incident("blind", "")], [Trouble(490, 505)]).longest_blind_s == 8.0
