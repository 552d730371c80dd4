"""A rebuilt ledger forgets what the store lacks, but never who lied; and it can break off anywhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from collector.dead_letters import DeadLetter
from collector.ledger.account import Total
from collector.ledger.intervals import Interval
from collector.ledger.inventory import Held
from collector.ledger.keeper import LedgerKeeper
from collector.ledger.rebuild import rebuild, rebuild_if_empty, would_forget
from shippers.errors import Unavailable
from tests.unit.ledger.given import DAY, STREAM, header, outcome
from tests.unit.ledger.test_keeper import KEY, TP, World, keep


class Store:
    """An inventory as a list."""

    def __init__(self, *held: Held) -> None:
        self.held, self.down = list(held), False

    def days(self) -> list[str]:
        if self.down:
            raise Unavailable("the store is away")
        return sorted({held.day for held in self.held})

    def inventory(self, day: str, region: str = "", *, senders: bool = False) -> Iterator[Held]:
        return (held for held in self.held if held.day == day and region in ("", held.region))

    def runs(self, held: Held) -> list[Interval]:
        raise AssertionError(held)

    def letters(self) -> Iterator[DeadLetter]:
        return iter(())


def held(first: int, last: int, stream: str = STREAM, day: str = DAY) -> Held:
    return Held("business", "cn-east", day, stream, first, last, last - first + 1, "payment", "pay-01")


def test_a_liar_stays_one() -> None:
    world = World()
    keeper = world.owner()
    keep(keeper, [outcome(0, header(1, 10)), outcome(1, header(1, 10, crc=5))])
    rebuild(world.state, "lake", Store(held(1, 10)), world.clock)
    assert [lie.kind for lie in world.view().lies("lake")] == ["other content"]
    rebuild(world.state, "lake", Store(), world.clock)
    assert [lie.kind for lie in world.view().lies("lake")] == ["other content"]
    assert world.stored() == []


@pytest.mark.parametrize("day", [DAY, "2026-10-01"])
def test_how_a_stream_began_outlives_rebuilding_folded_or_not(day: str) -> None:
    world = World()
    keep(world.owner(), [outcome(0, header(1, 10, day=day))])
    for _ in range(2):
        rebuild(world.state, "lake", Store(held(1, 10, day=day)), world.clock)
    keep(world.owner(), [outcome(1, header(1, 5, day=day))])
    assert [lie.kind for lie in world.view().lies("lake")] == ["overlap"]


def test_an_indexer_that_runs_meanwhile_adds_what_it_settles() -> None:
    world = World()
    keeper = world.owner()
    keep(keeper, [outcome(0, header(1, 10)), outcome(1, header(11, 10))])
    rebuild(world.state, "lake", Store(held(1, 10)), world.clock)
    keep(keeper, [outcome(2, header(21, 10))])
    assert world.stored() == [(1, 10), (21, 30)]
    assert (keeper.compact(TP), keeper.compact(TP)) == (False, True)
    assert world.stored() == [(1, 10), (21, 30)]
    assert world.view().position("lake", TP) == 3
    assert world.view().totals("lake") == {KEY: Total(20)}


@pytest.mark.parametrize("writes", range(8))
def test_one_that_breaks_off_is_done_again(writes: int) -> None:
    world = World()
    keep(world.owner(), [outcome(0, header(1, 10)), outcome(1, header(11, 10))])
    store = Store(held(1, 10), held(1, 5, "shopbootid01.business", "2026-11-01"))
    world.state.writes_left = writes
    try:
        rebuild(world.state, "lake", store, world.clock)
    except Unavailable:
        assert world.view().missing("lake", STREAM, 1, 10) == []
    world.state.writes_left = None
    rebuild(world.state, "lake", store, world.clock)
    assert world.stored() == [(1, 10)]
    assert world.view().position("lake", TP) == 2
    assert world.rows("d/") == 0
    assert world.rows("s/") == 1


def test_a_store_that_holds_nothing_is_told_from_one_that_lacks_much() -> None:
    letter = DeadLetter(STREAM, 1, 1, "cn-east", "payment", "business", "no time", "t/0/0", b"{}", at=0.0)
    buried = Store()
    buried.letters = lambda: iter([letter])  # type: ignore[method-assign]
    world = World()
    assert would_forget(world.state, "lake", Store()) == 0
    keep(world.owner(), [outcome(0, header(1, 10))])
    assert would_forget(world.state, "elastic", Store()) == 0
    assert would_forget(world.state, "lake", Store()) == 1
    assert would_forget(world.state, "lake", Store(held(1, 1))) == 0
    assert would_forget(world.state, "lake", buried) == 0


def test_only_a_ledger_that_is_not_there_is_rebuilt_by_itself() -> None:
    world = World()
    rebuilt = rebuild_if_empty(world.state, "lake", Store(held(1, 10)), world.clock)
    assert rebuilt is not None
    assert (rebuilt.streams, rebuilt.total) == (1, Total(10))
    assert rebuild_if_empty(world.state, "lake", Store(held(1, 20)), world.clock) is None
    empty = World()
    assert rebuild_if_empty(empty.state, "lake", Store(), empty.clock) is not None
    assert rebuild_if_empty(empty.state, "lake", Store(held(1, 20)), empty.clock) is None


@pytest.mark.parametrize("writes", range(12))
def test_one_that_broke_off_is_done_again_by_itself(writes: int) -> None:
    world = World()
    store = Store(held(1, 10), replace(held(1, 1_000, "shopbootid01.business"), region="cn-north"))
    world.state.writes_left = writes
    try:
        rebuild_if_empty(world.state, "lake", store, world.clock)
    except Unavailable:
        world.state.writes_left = None
        assert rebuild_if_empty(world.state, "lake", store, world.clock) is not None
    else:
        assert writes >= 5
    assert (world.stored(), world.stored("shopbootid01.business")) == ([(1, 10)], [(1, 1_000)])


def test_while_a_ledger_is_rebuilt_its_owner_is_told_so_and_not_held_up() -> None:
    world, store, gate = World(), Store(held(1, 10)), threading.Event()

    def begin() -> None:
        assert gate.wait(30)
        rebuild_if_empty(world.state, "lake", store, world.clock)

    keeper = LedgerKeeper(world.state, "lake", world.clock, begin=begin)
    for _ in range(2):
        with pytest.raises(Unavailable, match="rebuilt from its store"):
            keeper.load([TP], {TP: 9})
    gate.set()
    for _ in range(30):
        try:
            keeper.load([TP], {TP: 9})
        except Unavailable:
            continue
        break
    keep(keeper, [outcome(9, header(11, 10))])
    assert world.stored() == [(1, 20)]


def test_an_owner_waits_for_the_rebuilding_before_its_first_partition() -> None:
    world, store = World(), Store(held(1, 10))
    store.down = True
    keeper = LedgerKeeper(
        world.state, "lake", world.clock, begin=lambda: rebuild_if_empty(world.state, "lake", store, world.clock)
    )
    with pytest.raises(Unavailable):
        keeper.load([TP], {TP: 9})
    store.down = False
    assert keeper.load([TP], {TP: 9}) == {TP: 9}
    keep(keeper, [outcome(9, header(11, 10))])
    assert world.stored() == [(1, 20)]
    assert world.view().totals("lake") == {KEY: Total(20)}
