"""`lastbeat audit` prints what the auditor found, and its exit code says whether all is accounted for."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from alerts.audit.counting import Counted
from alerts.audit.findings import Finding, finding_doc
from alerts.audit.statement import Difference, Head, Liar, Line, Statement, Writer, read_statement
from alerts.state.memory import MemoryState
from collector.ports import Table
from compose.check import Grade
from compose.doctor import audit
from compose.settings import Settings
from compose.statement_words import print_count, print_statement
from dashboards.statement_view import known, sentence

NOW = 1_700_000_000.0
LINE = Line("2026-11-21", "eu", "pay", "business", "lake", 1_000, 2, 3, 4, dropped={"full": 5})
LOST = Finding("lake", "pay100000000.business", "eu", "pay", "pay-1", "business", "2026-11-21", NOW - 60, 7, NOW - 30,
               ((11, 20),), missing=10)  # fmt: skip


def said(statement: Statement | None, *findings: Finding, age_s: float = 1.0) -> tuple[int, str]:
    state, out = MemoryState(), io.StringIO()
    if statement is not None:
        Writer(state).write(statement)
    state.put_many(Table.AUDIT, {each.key: finding_doc(each) for each in findings})
    code = print_statement(state, NOW + age_s, Console(file=out, width=200, highlight=False))
    return code, out.getvalue()


def test_a_balanced_statement_is_a_table_and_exit_code_0() -> None:
    code, words = said(Statement(Head(NOW, NOW - 100), (LINE,)))
    assert code == 0
    assert words.splitlines()[1].split() == ["2026-11-21", "pay", "eu", "1,014", "1,000", "2", "8", "4", "0", "0"]
    assert "every event is accounted for" in words
    assert "dropped by pay: 5 full" in words


def test_a_loss_is_named_with_its_range_and_what_to_do_and_exit_code_1() -> None:
    code, words = said(Statement(Head(NOW, NOW - 100), (LINE,)), LOST)
    assert code == 1
    assert "business 11–20 of pay-1 (pay100000000.business)" in words
    assert "lastbeat resend pay100000000.business 11-20" in words
    assert "every event is accounted for" not in words


def test_liars_and_stores_that_differ_are_no_balance() -> None:
    liar = Liar("lake", "pay100000000.business", "eu", "pay", "pay-1", "overlap: 1-10 and 5-9")
    assert said(Statement(Head(NOW, NOW, liars=(liar,)), (LINE,)))[0] == 1
    other = Difference("2026-11-20", "eu", "business", "pay100000000.business", "elastic lacks 7–9")
    code, words = said(Statement(Head(NOW, NOW, differences=(other,)), (LINE,)))
    assert code == 1
    assert "elastic lacks 7–9" in words


def test_a_finding_that_cant_be_read_is_no_balance_and_is_named() -> None:
    state, out = MemoryState(), io.StringIO()
    Writer(state).write(Statement(Head(NOW, NOW), (LINE,)))
    state.put_many(Table.AUDIT, {"finding/lake/x": {"sink": "lake"}})
    assert print_statement(state, NOW, Console(file=out, width=200, highlight=False)) == 1
    assert "1 finding can't be read" in out.getvalue()
    assert "finding/lake/x" in out.getvalue()
    found = read_statement(state)
    assert audit(Settings(), found, NOW, alive=True).grade is Grade.BAD


def test_a_day_of_which_nothing_is_known_anywhere_is_not_green() -> None:
    for events, code, sign in (({("lake", "2026-11-21"): 0}, 1, "◌"), ({("lake", "2026-11-21"): 3}, 0, "●")):
        out = io.StringIO()
        counted = Counted(("2026-11-21",), events)
        assert print_count(counted, Console(file=out, width=200, highlight=False)) == code
        assert sign in out.getvalue()


def test_nobody_vouches_for_an_old_statement_or_for_none() -> None:
    assert said(None)[0] == 1
    code, words = said(Statement(Head(NOW, NOW), (LINE,)), age_s=600)
    assert code == 1
    assert "silent for 10 min" in words


def test_the_doctor_says_the_same() -> None:
    settings, balanced = Settings(), Statement(Head(NOW, NOW), (LINE,))
    assert audit(settings, None, NOW, True).grade is Grade.WARN
    assert audit(settings, balanced, NOW + 1, True).grade is Grade.GOOD
    assert audit(settings, balanced, NOW + 600, True).grade is Grade.BAD
    assert audit(settings, balanced, NOW + 600, False).grade is Grade.WARN
    assert "10 events are lost" in audit(settings, Statement(Head(NOW, NOW), (), (LOST,)), NOW + 1, True).words


COUNTED = Head(NOW, NOW - 100, behind={"elastic": 0, "lake": 0}, counted_sinks=("elastic", "lake"), count_every_s=900.0)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (COUNTED, "the stores have not been counted yet"),
        (replace(COUNTED, counted_at=NOW - 1_800), "the stores were counted 30 min ago"),
        (replace(COUNTED, counted_at=NOW - 1_800, trouble="the lake is away"), "the stores were counted 30 min ago"),
    ],
)
def test_when_the_stores_were_counted_is_said(head: Head, words: str) -> None:
    code, printed = said(Statement(head, (LINE,)), age_s=0)
    assert code == 0
    assert f"every event is accounted for, 0 s ago; {words}" in printed
    check = audit(Settings(), Statement(head, (LINE,)), NOW, alive=True)
    assert check.grade is Grade.GOOD
    assert words in check.words
    assert sentence(Statement(head, (LINE,)), NOW)[2] == "every event is accounted for"
    assert words in known(Statement(head, (LINE,)), "lake", NOW)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (replace(COUNTED, since=NOW - 3_000), "the stores have not been counted yet, which is due every 15 min"),
        (replace(COUNTED, counted_at=NOW - 7_200), "the stores were counted 2 h ago, which is due every 15 min"),
        (replace(COUNTED, counted_at=NOW - 7_200, trouble="the lake is away"), "due every 15 min: the lake is away"),
        (replace(COUNTED, counted_at=NOW, counted_sinks=("elastic",)), "lake was not counted: its files"),
        (replace(COUNTED, counted_at=NOW, absent=("lake",)), "lake has no account yet"),
    ],
)  # fmt: skip
def test_nobody_vouches_for_what_nobody_looked_at_but_nothing_is_called_wrong(head: Head, words: str) -> None:
    code, printed = said(Statement(head, (LINE,)), age_s=0)
    assert code == 0
    assert "every event is accounted for" not in printed
    assert words in printed
    check = audit(Settings(), Statement(head, (LINE,)), NOW, alive=True)
    assert check.grade is Grade.WARN
    assert words in check.todo
    assert sentence(Statement(head, (LINE,)), NOW)[1:] == ("gray", "nothing is known to be lost")
    assert words in known(Statement(head, (LINE,)), "lake", NOW)
