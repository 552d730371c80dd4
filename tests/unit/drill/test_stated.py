"""A statement that says what is so is not called wrong; one that claims a balance, or accuses, is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.audit.findings import Finding
from alerts.audit.statement import Difference, Head, Liar, Line, Statement
from compose.drill.reckoning import Kept, Run, balance
from compose.drill.stated import Fate, called_lost, fates, hold, is_of

HEAD = Head(1_000.0, 0.0, behind={"lake": 0}, counted_at=1_000.0)
TRUTH = Fate("pay", "lake", emitted=100, stored=90, dead=3, given_up=7)
LINE = Line("2026-11-21", "drill", "pay", "business", "lake", stored=90, dead=3, void=5, dropped={"full": 2})
CUT = replace(TRUTH, emitted=110, cut_off=10)
FINDING = Finding(
    "lake", "b.business", "drill", "pay", "pay-1", "business", "2026-11-21", 1.0, 1, 1.0, ((4, 5),), (), 2
)


def said(*lines: Line, head: Head = HEAD, findings: tuple[Finding, ...] = ()) -> Statement:
    return Statement(head, lines, findings)


def wrong(statement: Statement, *truths: Fate) -> tuple[str, ...]:
    return hold(statement, truths, {"poison.business"}).wrong


def test_what_is_so_is_not_wrong():
    other_day = replace(LINE, day="skewed", stored=10, dead=0, void=0, dropped={})
    assert not wrong(said(LINE), TRUTH)
    assert not wrong(said(replace(LINE, stored=80), other_day), TRUTH), "days are brought together"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (replace(LINE, stored=89), "stored 89, and it is 90"),
        (replace(LINE, stored=91), "emitted 101, and it is 100"),
        (replace(LINE, dead=2), "dead-lettered 2, and it is 3"),
        (replace(LINE, void=4), "given up 6, and it is 7"),
        (replace(LINE, dropped={}), "given up 5, and it is 7"),
        (replace(LINE, unaccounted=1), "lost 1, and it is 0"),
        (replace(LINE, flight=1), "1 on their way or cut off, and 0 can be"),
        (replace(LINE, tail=1), "1 on their way or cut off, and 0 can be"),
        (replace(LINE, sink="elastic"), "stored 0, and it is 90"),
    ],
)
def test_every_number_that_is_not_so_is_named(line, words):
    assert any(words in each for each in wrong(said(line), TRUTH))


def test_a_balance_that_is_not_there_is_wrong():
    lossy = replace(TRUTH, stored=80, lost=10)
    assert any("lost 0, and it is 10" in each for each in wrong(said(replace(LINE, stored=80)), lossy))
    assert not wrong(said(replace(LINE, stored=80, unaccounted=10)), lossy)


@pytest.mark.parametrize("known", [0, 4, 10])
def test_of_what_a_kill_cut_off_it_may_know_less(known):
    assert not wrong(said(replace(LINE, tail=known)), CUT)
    assert not wrong(said(replace(LINE, flight=known)), CUT)


def test_but_not_more_and_it_is_no_loss():
    assert wrong(said(replace(LINE, tail=6, flight=5)), CUT)
    assert any("lost 1, and it is 0" in each for each in wrong(said(replace(LINE, unaccounted=1)), CUT))


def test_who_emitted_nothing_is_not_spoken_of():
    assert any("who emitted nothing" in each for each in wrong(said(LINE, replace(LINE, service="shop")), TRUTH))


def test_other_datasets_lose_nothing_either():
    assert wrong(said(LINE, replace(LINE, dataset="metrics", unaccounted=1)), TRUTH)
    assert not wrong(said(LINE, replace(LINE, dataset="metrics")), TRUTH)


def test_what_was_called_lost_and_came_after_all_is_wrong_and_counts():
    over = replace(FINDING, holes=(), found=((4, 9),), missing=0, ended_at=9.0, sources={"journal": 6})
    assert any(
        "called 6 lost in lake" in each and "6 journal" in each for each in wrong(said(LINE, findings=(over,)), TRUTH)
    )
    assert called_lost(said(LINE, findings=(over,))) == 6
    assert called_lost(said(LINE)) == 0


def test_what_is_lost_may_be_said():
    lossy = said(replace(LINE, stored=88, unaccounted=2), findings=(FINDING,))
    assert not wrong(lossy, replace(TRUTH, stored=88, lost=2))
    assert called_lost(lossy) == 2


def test_only_poison_lies():
    liars = (Liar("lake", "poison.business", "", "", "", "twice"), Liar("lake", "b.business", "", "", "", "twice"))
    assert not wrong(said(LINE, head=replace(HEAD, liars=liars[:1])), TRUTH)
    assert any("b.business" in each for each in wrong(said(LINE, head=replace(HEAD, liars=liars)), TRUTH))


@pytest.mark.parametrize(
    ("stream", "lacking", "is_wrong"),
    [
        ("b.business", True, True),
        ("b.business", False, True),
        ("poison.business", True, True),
        ("poison.business", False, False),
    ],
)
def test_stores_differ_by_what_poison_claims_alone(stream, lacking, is_wrong):
    one = Difference("2026-11-21", "drill", "business", stream, "has 1", lacking)
    assert bool(wrong(said(LINE, head=replace(HEAD, differences=(one,))), TRUTH)) is is_wrong


@pytest.mark.parametrize(
    "head",
    [
        replace(HEAD, at=999.0),
        replace(HEAD, behind={"lake": 1}),
        replace(HEAD, counted_at=999.0),
        replace(HEAD, counted_at=None),
    ],
)
def test_one_of_before_the_quiet_is_not_judged(head):
    assert is_of(said(), 1_000.0)
    assert not is_of(said(head=head), 1_000.0)


def test_the_runs_of_a_service_are_one():
    runs = [
        Run("pay-0", 10, 10, killed=True, service="pay"),
        Run("pay-1", 5, 5, poison=True, service="pay"),
        Run("a", 1, 1, service="a"),
    ]
    kept = [Kept(dict.fromkeys(range(1, 8), 1)), Kept(dict.fromkeys(range(1, 4), 1), 1), Kept({1: 1})]
    balances = [balance(*each) for each in zip(runs, kept, strict=True)]
    assert fates("lake", balances) == [
        Fate("a", "lake", emitted=1, stored=1),
        Fate("pay", "lake", emitted=15, stored=10, dead=1, cut_off=3, lost=1),
    ]
