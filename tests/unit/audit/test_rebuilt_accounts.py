"""A sink's account that was made anew from its store is believed: what the store has lost since is found, what it
let go on purpose is not asked for."""

from __future__ import annotations

import pytest

from alerts.audit.accounts import LedgerAccounts
from alerts.audit.vouching import doubts
from alerts.state.memory import MemoryState
from collector.ledger.view import LedgerView
from collector.ports import Table
from tests.unit.audit.books import Sender, World, with_a_sink_added_later


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_a_store_has_lost_is_found_when_its_account_is_rebuilt(is_restarted: bool) -> None:
    world = World("lake", "elastic")
    world.books.begun = {"lake": 1.0}
    pay = Sender(world)
    pay.log(50)
    pay.send()
    pay.beat()
    world.run(15)
    assert world.statement.is_balanced
    if is_restarted:
        world.auditor.close()
        world.restart("b")
    world.books.numbers["lake"][pay.stream].discard(11, 20)
    world.books.begun["lake"] = 2.0
    world.run(3)
    pay.beat()
    world.run(15)
    assert world.lost == {f"lake/{pay.stream}": ((11, 20),)}
    assert world.statement.of("lake").emitted == 50
    assert world.statement.unaccounted == 10


@pytest.mark.parametrize("is_on_purpose", [True, False])
def test_only_days_that_a_store_let_go_on_purpose_are_not_called_lost_when_its_account_is_rebuilt(
    is_on_purpose: bool,
) -> None:
    world = World()
    if is_on_purpose:
        world.books.deleted.add(("business", "eu", "2023-11-01"))
    pay = Sender(world)
    pay.beat()
    pay.log(50)
    pay.send()
    world.run(3)
    for boot in world.auditor.roll.boots.values():
        boot.born_at -= 40 * 86_400.0
    pay.beat()
    world.run(15)
    world.books.numbers["lake"][pay.stream].discard(1, 30)
    world.books.numbers["lake"][pay.stream].discard(41, 45)
    world.books.begun["lake"] = 2.0
    pay.beat()
    world.run(15)
    assert world.lost == {f"lake/{pay.stream}": ((41, 45),) if is_on_purpose else ((1, 30), (41, 45))}


def test_an_account_that_is_gone_for_a_while_is_asked_for_all_once_it_is_rebuilt() -> None:
    """The ledger was lost, and the auditor looks before its sink has begun to make it anew: nothing is called lost for
    want of an account, what was called so before stays so, and no process, however old, is let off."""
    world = World()
    pay = Sender(world)
    for number in range(5):
        pay.log(10)
        pay.send(lost=number == 3)
    pay.beat()
    world.run(3)
    for boot in world.auditor.roll.boots.values():
        boot.born_at -= 7_200.0
    pay.beat()
    world.run(15)
    assert world.lost == {f"lake/{pay.stream}": ((31, 40),)}
    sink, kept = world.sinks.pop("lake"), world.books.positions.pop("lake")
    world.books.absent = ["lake"]
    numbers = world.books.numbers.pop("lake")
    world.auditor.close()
    world.restart("b")
    for _ in range(3):
        pay.beat()
        world.run(15)
        assert world.lost == {f"lake/{pay.stream}": ((31, 40),)}
    numbers[pay.stream].discard(11, 20)
    world.books.numbers["lake"], world.books.begun["lake"], world.books.absent = numbers, 2.0, []
    world.sinks["lake"], world.books.positions["lake"] = sink, kept
    pay.beat()
    world.run(15)
    assert world.lost == {f"lake/{pay.stream}": ((11, 20), (31, 40))}


def test_what_a_sink_was_never_asked_for_is_not_asked_for_when_its_account_is_rebuilt() -> None:
    world, pay = with_a_sink_added_later()
    world.run(15)
    world.auditor.close()
    world.restart("b")
    world.books.begun["lake"] = 2.0
    world.run(15)
    pay.beat()
    world.run(15)
    assert world.lost == {}


def test_the_ledger_says_when_it_was_begun() -> None:
    state = MemoryState()
    accounts = LedgerAccounts(LedgerView(state))
    accounts.refresh()
    assert accounts.begun_at("lake") == 0.0
    state.put_many(Table.LEDGER, {"done/lake": {"at": 7.0}})
    accounts.refresh()
    state.delete(Table.LEDGER, "done/lake")  # it is being rebuilt
    accounts.refresh()
    assert accounts.begun_at("lake") == 7.0


@pytest.mark.parametrize("goes_on", [False, True])
def test_an_account_that_is_older_than_what_was_proven_by_it_is_believed_no_more(goes_on: bool) -> None:
    """Journal, lake and ledger were put back from a backup, and State was not. `goes_on`: the sink was quicker than the
    auditor, and has got beyond what was proven."""
    world = World()
    pay = Sender(world)
    for _ in range(2):
        pay.log(50)
        pay.send()
        pay.beat()
        world.run(15)
    assert world.statement.is_balanced
    world.auditor.close()
    world.books.numbers["lake"][pay.stream].discard(51, 100)
    if goes_on:
        pay.log(10)
        pay.send()
        world.sinks["lake"].step()
    world.restart("b")
    world.run(3)
    pay.beat()
    world.run(15)
    assert world.lost == {f"lake/{pay.stream}": ((51, 100),)}
    assert world.statement.unaccounted == 50


@pytest.mark.parametrize("lost", [0, 1])
def test_what_is_not_judged_as_nothing_older_is_known_is_a_doubt_beside_the_balance(lost: int) -> None:
    """State and journal were lost with what came after the backup of the lake; the process goes on. If the first of it
    (`lost` is 0) may have been let go with its day, it isn't doubted."""
    world = World()
    world.books.deleted.add(("business", "eu", "2023-11-14"))
    pay = Sender(world)
    for number in range(4):
        pay.log(10)
        pay.send(lost=number == lost)
    pay.beats = 700
    pay.beat()
    world.run(30)
    assert world.statement.is_balanced
    if lost == 0:
        assert world.statement.head.unjudged == {}
        return
    assert "lake lacks 10 events that were durable before" in doubts(world.statement.head, world.clock.time())[0]


def test_what_a_sink_was_never_asked_for_is_no_doubt() -> None:
    world, pay = with_a_sink_added_later()
    world.run(15)
    pay.beat()
    world.run(15)
    assert world.statement.head.unjudged == {}


def test_which_days_were_let_go_is_asked_only_where_something_is_lacking() -> None:
    """In the full form it is a question to Elasticsearch, and statements are written all day."""
    world = World()
    world.books.let_go = pytest.fail  # type: ignore[method-assign,assignment]
    pay = Sender(world)
    pay.log(10)
    pay.send()
    pay.beats = 700
    pay.beat()
    world.run(30)
    assert (world.statement.of("lake").stored, world.statement.head.unjudged) == (10, {})
