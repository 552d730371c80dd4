"""No sender makes the ledger grow without end: who comes in too many pieces is a liar, and costs no more."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from collector.ledger import account as account_module
from collector.ledger.account import MOST_DAYS, PIECES, Account
from collector.ledger.documents import account_from, account_to, chunks, merge_doc
from collector.ledger.keeper import QUIET_S
from collector.ledger.ledger import Ledger
from collector.ledger.rebuild import rebuild
from collector.ports import Table
from tests.unit.ledger.given import STREAM, header, outcome
from tests.unit.ledger.test_keeper import TP, World, keep
from tests.unit.ledger.test_rebuild import Store, held


def test_a_new_day_with_each_batch_ends_in_one_unproven_span(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    keeper = world.owner()
    days = [f"{date(2027, 1, 1) + timedelta(days=number)}" for number in range(MOST_DAYS + 20)]
    keep(keeper, [outcome(number, header(number + 1, 1, day=day)) for number, day in enumerate(days)])
    account = keeper.account(TP, STREAM)
    assert account is not None
    assert not account.days
    assert list(account.settled) == [(1, MOST_DAYS + 20)]
    assert [lie.kind for lie in world.view().lies("lake")] == [PIECES]
    assert len([line for line in caplog.messages if "too many pieces" in line]) == 1
    assert keeper.metrics()['ledger_lies_total{kind="too_many_pieces"}'] == 1


def test_every_second_number_ends_in_one_unproven_span_that_nobody_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_module, "MOST_PIECES", 100)
    world = World()
    keeper = world.owner()
    keep(keeper, [outcome(number, header(2 * number + 2, 1)) for number in range(101)])
    assert keeper.compact(TP)
    world.clock.advance(QUIET_S + 10)
    keep(keeper, [outcome(101, header(301, 1))])
    world.clock.advance(QUIET_S + 10)
    assert keeper.compact(TP)
    view = world.view()
    assert [lie.kind for lie in view.lies("lake")] == [PIECES]
    assert view.missing("lake", STREAM, 1, 302) == [(1, 1), (302, 302)]
    assert view.totals("lake") == {}
    rebuild(world.state, "lake", Store(held(2, 301)), world.clock)
    assert [lie.kind for lie in world.view().lies("lake")] == [PIECES]
    [chunk] = [row.doc for row in world.state.scan(Table.LEDGER, "s/")]
    assert "days" in chunk["accounts"][STREAM]
    assert not chunk["accounts"][STREAM]["days"]


def test_one_that_was_told_in_pieces_stays_so_when_merged_and_kept() -> None:
    liar, plain = Account(STREAM), Account(STREAM)
    for number in range(MOST_DAYS + 1):
        liar.settle(header(number + 1, 1, day=f"{date(2027, 1, 1) + timedelta(days=number)}"))
    plain.settle(header(5_000, 10))
    for one, other in ((liar, plain), (plain, liar)):
        both = account_from(STREAM, account_to(one))
        both.merge(account_from(STREAM, account_to(other)))
        assert list(both.settled) == [(1, 5_009)]
        assert not both.days
        assert both.scattered
    further = Account(STREAM)
    further.settle(header(9_001, 10))
    further.lie(liar.lies[0])
    further.settle(header(9_011, 10))
    further.merge(liar)
    assert list(further.settled) == [(1, 9_020)]


def test_a_snapshots_documents_are_bounded_by_their_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.ledger.documents.CHUNK_PIECES", 100)
    ledger = Ledger()
    for stream in range(10):
        for number in range(60):
            ledger.settle(header(2 * number + 1, 1, stream=f"payboot{stream:04d}.business"))
    documents = list(chunks(ledger))
    assert len(documents) == 5
    again = Ledger()
    for doc in documents:
        merge_doc(again, doc)
    assert again == ledger
