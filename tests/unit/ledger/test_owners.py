"""Owners of a partition that overlap: one that was stopped and wakes up, one that lost it and got it back meanwhile.

Whatever they do in which order, what was durable stays: seen to fail for each of these.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collector.ledger import keeper as keeper_module
from collector.ledger.keeper import QUIET_S, LedgerKeeper
from collector.ledger.rebuild import rebuild
from shippers.errors import Unavailable
from tests.unit.ledger.given import STREAM, header, outcome
from tests.unit.ledger.test_keeper import TP, World, keep
from tests.unit.ledger.test_rebuild import Store, held


def fill(keeper: LedgerKeeper, batches: int) -> None:
    for number in range(batches):
        keep(keeper, [outcome(number, header(number * 10 + 1, 10))])


def test_one_that_wakes_up_after_its_successors_snapshot_leaves_that_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    old = world.owner()
    fill(old, 3)
    plain = old._clear_up

    def stopped(*args: object) -> None:
        new = world.owner()
        keep(new, [outcome(3, header(31, 10))])
        assert new.compact(TP)
        plain(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(old, "_clear_up", stopped)
    assert old.compact(TP)
    assert world.stored() == [(1, 40)]
    assert world.view().position("lake", TP) == 4
    new = world.owner()
    assert new.compact(TP)
    assert world.rows("s/") == 1


def test_a_rebuilding_that_wakes_up_after_a_snapshot_leaves_that_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    keeper = world.owner()
    fill(keeper, 1)
    plain, meanwhile = world.state.scan, [True]

    def scan(table: object, prefix: str = "") -> object:
        if prefix == f"s/lake/{TP.topic}/{TP.partition}/" and meanwhile:
            meanwhile.clear()
            assert not keeper.compact(TP), "read anew"
            keep(keeper, [outcome(1, header(11, 10))])
            assert keeper.compact(TP)
        return plain(table, prefix)  # type: ignore[arg-type]

    monkeypatch.setattr(world.state, "scan", scan)
    rebuild(world.state, "lake", Store(held(1, 10)), world.clock)
    assert not meanwhile
    assert world.stored() == [(1, 20)]


def test_a_rebuilding_that_comes_second_takes_away_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    keeper = world.owner()
    fill(keeper, 2)
    plain = world.state.put_many

    def put_many(*args: object) -> None:
        plain(*args)  # type: ignore[arg-type]
        monkeypatch.setattr(world.state, "put_many", plain)
        rebuild(world.state, "lake", Store(held(1, 20)), world.clock)

    monkeypatch.setattr(world.state, "put_many", put_many)
    with pytest.raises(Unavailable, match="meanwhile"):
        rebuild(world.state, "lake", Store(held(1, 10)), world.clock)
    assert world.stored() == [(1, 20)]
    assert world.rows("s/") == 1


def once(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None], *, before: bool) -> None:
    """Let something happen around the next reading of the ledger by a keeper."""
    plain = keeper_module.read

    def read(*args: object) -> object:
        monkeypatch.setattr(keeper_module, "read", plain)
        if before:
            meanwhile()
        found = plain(*args)  # type: ignore[arg-type]
        if not before:
            meanwhile()
        return found

    monkeypatch.setattr(keeper_module, "read", read)


@pytest.mark.parametrize("before", [True, False])
def test_a_partition_that_goes_and_comes_during_a_snapshot_loses_nothing(
    before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    keeper = world.owner()
    fill(keeper, 5)

    def meanwhile() -> None:
        keeper.forget([TP])
        keeper.load([TP], {})
        keep(keeper, [outcome(5, header(51, 10))])

    once(monkeypatch, meanwhile, before=before)
    keeper.compact(TP)
    assert world.stored() == [(1, 60)]
    assert world.view().position("lake", TP) == 6
    assert keeper.compact(TP)
    assert world.stored() == [(1, 60)]


def test_what_is_kept_while_a_partition_is_read_anew_is_in_the_next_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    keeper = world.owner()
    fill(keeper, 1)
    once(monkeypatch, lambda: keep(keeper, [outcome(1, header(11, 10))]), before=False)
    keeper._reload(TP)
    assert keeper.compact(TP)
    assert world.stored() == [(1, 20)]
    assert world.view().position("lake", TP) == 2


def test_what_fills_a_hole_after_a_rebuilding_counts_though_the_old_ledger_knows_it_as_ended() -> None:
    world = World()
    keeper = world.owner()
    fill(keeper, 1)
    world.clock.advance(QUIET_S + 10)
    keeper.compact(TP)
    rebuild(world.state, "lake", Store(held(1, 5)), world.clock)
    assert world.view().missing("lake", STREAM, 1, 10) == [(6, 10)]
    keep(keeper, [outcome(1, header(6, 5, replay=True))])
    assert world.view().missing("lake", STREAM, 1, 10) == []
    keeper.compact(TP)
    keeper.compact(TP)
    assert world.stored() == [(1, 10)]


def test_what_comes_again_of_a_day_past_keeping_counts_no_more() -> None:
    world = World()
    keeper = LedgerKeeper(world.state, "lake", world.clock, keep_days=10)
    keeper.load([TP], {})
    keep(keeper, [outcome(0, header(1, 10, day="2026-11-01")), outcome(1, header(11, 10))])
    world.clock.advance(QUIET_S + 10)
    keeper.compact(TP)
    keep(keeper, [outcome(2, header(1, 10, day="2026-11-01"))])
    assert [total.stored for total in world.view().totals("lake").values()] == [10]
