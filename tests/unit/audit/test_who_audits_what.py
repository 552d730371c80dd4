"""Only the one that works writes, only sinks that are kept are audited, and who is done with costs nothing."""

from __future__ import annotations

import pytest

from alerts.audit.accounts import LedgerAccounts
from alerts.audit.vouching import doubts
from alerts.state.memory import MemoryState
from collector.ledger.ledger import Folded, Ledger
from collector.ledger.view import LedgerView
from collector.ports import Table
from tests.unit.audit.books import Sender, World


def test_an_auditor_that_was_held_up_writes_nothing_over_the_one_that_took_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    pay = Sender(world)
    pay.log(50)
    pay.send(lost=True)
    pay.beat()
    world.run(5)
    first, second = world.auditor, world.another("b")
    second.step()  # it sees who works
    ends = first._data.ends

    def held_up() -> object:
        """In mid-pass, for so long that the other one finds the loss."""
        monkeypatch.undo()
        found = ends()
        world.auditor = second
        world.run(40)
        assert world.lost == {f"lake/{pay.stream}": ((1, 50),)}
        before.extend(sorted((row.key, row.version) for row in world.state.scan(Table.AUDIT)))
        return found

    before: list[tuple[str, str]] = []
    monkeypatch.setattr(first._data, "ends", held_up)
    world.clock.advance(1)
    first.step()
    assert before
    assert sorted((row.key, row.version) for row in world.state.scan(Table.AUDIT)) == before
    first.step()
    assert first.health()["status"] == "standby"


def test_who_takes_over_writes_every_finding_again() -> None:
    world = World()
    pay = Sender(world)
    pay.log(50)
    pay.send(lost=True)
    pay.beat()
    world.run(15)
    world.auditor.close()
    [row] = world.state.scan(Table.AUDIT, "finding/")
    world.restart("b")
    world.run(1)
    [again] = world.state.scan(Table.AUDIT, "finding/")
    assert (again.doc, again.version != row.version) == (row.doc, True)


def test_a_sink_that_is_switched_off_is_asked_for_nothing_more() -> None:
    world = World("elastic", "lake")
    pay = Sender(world)
    pay.log(50)
    pay.send()
    pay.log(5)
    pay.send(lost=True)
    pay.beat()
    world.run(15)
    assert len(world.lost) == 2
    world.auditor.close()
    del world.books.positions["lake"], world.sinks["lake"]
    world.restart("b")
    for _ in range(6):
        pay.log(10)
        pay.send()
        pay.beat()
        world.run(5)
    assert set(world.lost) == {f"elastic/{pay.stream}"}
    assert world.statement.sinks == ("elastic",)
    assert world.statement.of("elastic").flight == 0


@pytest.mark.parametrize("has_a_new_account", [False, True])
def test_a_sink_that_is_switched_on_again_owes_what_it_owed_unless_its_account_is_a_new_one(
    has_a_new_account: bool,
) -> None:
    world = World("elastic", "lake")
    pay = Sender(world)
    world.run(3)
    pay.log(10)
    pay.send()
    pay.log(5)
    pay.send()
    pay.beat()
    world.run(12)
    world.books.numbers["lake"][pay.stream].discard(11, 15)
    world.books.begun["lake"] = 1.0  # made anew from what is there
    pay.beat()
    world.run(15)
    owed = {f"lake/{pay.stream}": ((11, 15),)}
    assert world.lost == owed
    for _ in range(400):  # until it is an old boot
        world.clock.advance(10)
        world.canary()
        pay.beat()
        for sink in world.sinks.values():
            sink.step()
        world.auditor.step()
    switched_off = world.books.positions.pop("lake")
    world.auditor.close()
    world.restart("b")
    world.auditor.step()
    assert world.lost == {}
    world.auditor.close()
    world.books.positions["lake"] = switched_off
    world.books.begun["lake"] = 2.0 if has_a_new_account else 1.0
    world.restart("c")
    for _ in range(3):
        pay.beat()
        world.run(12)
    assert world.lost == ({} if has_a_new_account else owed)
    assert world.statement.of("elastic").unaccounted == 0


def test_only_the_sinks_that_are_wanted_are_spoken_of_though_others_have_a_ledger() -> None:
    view = LedgerView(MemoryState())
    view._ledgers |= {"elastic": Ledger(), "lake": Ledger()}
    assert LedgerAccounts(view).sinks == ["elastic", "lake"]
    assert LedgerAccounts(view, ["elastic"]).sinks == ["elastic"]
    assert LedgerAccounts(view, ["archive", "lake"]).absent == ["archive"]


def test_a_sink_that_never_came_up_is_behind_and_named_and_nothing_of_it_is_called_lost() -> None:
    world = World("lake")
    world.books.absent = ["elastic"]
    pay = Sender(world)
    pay.log(10, drop=2)
    pay.send()
    pay.beat()
    world.run(30)
    statement = world.statement
    assert (statement.sinks, statement.head.absent) == (("elastic", "lake"), ("elastic",))
    assert statement.head.behind == {"elastic": 1, "lake": 0}
    assert (statement.of("elastic").emitted, statement.of("lake").emitted) == (0, 12)
    assert statement.is_balanced
    assert "elastic has no account yet" in doubts(statement.head, world.clock.time())[0]


def test_a_folded_stream_is_answered_for_as_it_is() -> None:
    view, ledger = LedgerView(MemoryState()), Ledger()
    view._ledgers["lake"] = ledger
    ledger.folded["boot1.business"] = Folded("eu", "pay", (("2026-11-20", 500), ("2026-11-21", 1_000)))
    accounts = LedgerAccounts(view)
    assert accounts.last("lake", "boot1.business") == 1_000
    assert accounts.void_tail("lake", "boot1.business") is None
    assert [accounts.day_of("lake", "boot1.business", n) for n in (0, 1, 500, 501, 1_000, 1_001)] == [
        "", "2026-11-20", "2026-11-20", "2026-11-21", "2026-11-21", "",
    ]  # fmt: skip
    assert "boot1.business" in ledger.folded


def test_a_tail_is_not_judged_again_and_again_and_comes_to_the_statement_all_the_same() -> None:
    world = World()
    pay, other = Sender(world), Sender(world, "other-1", "other")
    pay.log(10)
    pay.beat()
    for _ in range(12):
        other.beat()
        world.run(10)
    assert world.statement.of("lake").tail == 10
    assert pay.boot not in world.auditor.assessor._open
    pay.send()
    world.run(3)
    line = world.statement.of("lake")
    assert (line.emitted, line.stored, line.tail) == (10, 10, 0)
