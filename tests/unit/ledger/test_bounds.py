"""No sender makes the ledger grow without end: who comes in too many pieces is a liar, and costs no more."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from collector.ledger import account as account_module
from collector.ledger import keeper as keeper_module
from collector.ledger.account import MOST_DAYS, PIECES, Account, Total
from collector.ledger.documents import account_from, account_to, chunks, merge_doc
from collector.ledger.keeper import BRIEF_QUIET_S, QUIET_S
from collector.ledger.ledger import Ledger
from collector.ledger.rebuild import rebuild
from collector.ports import Table
from tests.unit.ledger.given import DAY, STREAM, header, outcome
from tests.unit.ledger.test_keeper import KEY, TP, World, keep
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


def test_streams_of_one_batch_are_folded_soon_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "MANY_STREAMS", 50)
    world = World()
    keeper = world.owner()
    keep(keeper, [outcome(0, header(1, 10)), outcome(1, header(11, 10))])
    brief = [f"madeup{number:06d}.business" for number in range(60)]
    keep(keeper, [outcome(2 + number, header(1, 5, stream=stream)) for number, stream in enumerate(brief)])
    world.clock.advance(BRIEF_QUIET_S + 2)
    keep(keeper, [outcome(100, header(1, 5, stream="madeup999999.business"))])
    assert keeper.compact(TP)
    assert (keeper.metrics()["ledger_streams"], keeper.metrics()["ledger_folded_streams"]) == (2, 60)
    assert world.view().totals("lake") == {KEY: Total(20 + 61 * 5)}
    again = world.owner()
    keep(again, [outcome(101, header(1, 5, stream=stream)) for stream in brief])
    assert (world.view().totals("lake"), world.view().lies("lake")) == ({KEY: Total(20 + 61 * 5)}, [])
    keep(again, [outcome(102, header(6, 5, stream=brief[0]))])
    assert world.stored(brief[0]) == [(1, 10)]


def test_few_streams_of_one_batch_wait_their_hour() -> None:
    world = World()
    keeper = world.owner()
    keep(keeper, [outcome(0, header(1, 10))])
    world.clock.advance(BRIEF_QUIET_S + 2)
    keep(keeper, [outcome(1, header(1, 5, stream="madeup999999.business"))])
    assert keeper.compact(TP)
    assert keeper.metrics()["ledger_folded_streams"] == 0


def test_what_a_wild_clock_sent_is_counted_among_impossible_days_and_ages_by_the_month_it_came() -> None:
    world = World()
    keeper, ahead = world.owner(), f"{date.fromisoformat(DAY) + timedelta(days=2)}"
    keep(keeper, [outcome(0, header(1, 10, day="9999-12-31")), outcome(1, header(11, 5, day=ahead))])
    keep(keeper, [outcome(2, header(16, 4, day="2031-01-01"), dead=[(16, 16)])])
    assert keeper.compact(TP)
    totals = {key[0]: total for key, total in world.view().totals("lake").items()}
    assert totals == {ahead: Total(5), f"skewed-{DAY[:7]}": Total(13, 1)}
    keep(keeper, [outcome(0, header(1, 10, day="9999-12-31"))])
    assert sum(world.view().totals("lake").values(), Total()) == Total(18, 1), "sent again, it counts once"
    assert keeper.compact(TP)
    world.clock.advance(440 * 86_400)
    keep(keeper, [outcome(3, header(1, 1, stream="shopbootid01.business", day="2027-12-31"))])
    assert keeper.compact(TP)
    world.clock.advance(QUIET_S + 5)
    keep(keeper, [outcome(4, header(2, 1, stream="shopbootid01.business", day="2027-12-31"))])
    assert keeper.compact(TP)
    assert world.view().streams("lake") == ["shopbootid01.business"]
