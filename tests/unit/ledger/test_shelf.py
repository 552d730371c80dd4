"""Reading the ledger costs what is wanted of it, and ends however many partitions are busy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from collector.ledger.keeper import LedgerKeeper
from collector.ports import Row, Table, TopicPartition
from shippers.errors import Unavailable
from tests.unit.ledger.given import header, outcome
from tests.unit.ledger.test_keeper import World, keep

MANY = [TopicPartition("lastbeat.cn-east.business", number) for number in range(12)]


def filled(world: World, changes: int) -> LedgerKeeper:
    keeper = world.owner(*MANY)
    for at in range(changes):
        for tp in MANY:
            said = header(at * 10 + 1, 10, stream=f"payboot{tp.partition:04d}.business")
            keeper.settle([outcome(at, said, partition=tp.partition)])
        keeper.flush(dict.fromkeys(MANY, at + 1))
    return keeper


def test_a_snapshot_of_one_partition_reads_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    keeper = filled(world, 3)
    plain = world.state.scan
    seen: list[str] = []

    def scan(table: Table, prefix: str = "") -> Iterator[Row]:
        for row in plain(table, prefix):
            seen.append(row.key)
            yield row

    monkeypatch.setattr(world.state, "scan", scan)
    keeper.compact(MANY[1])
    assert seen
    assert [key for key in seen if "/lastbeat.cn-east.business/1/" not in f"{key}/"] == []


def test_a_view_of_many_busy_partitions_reads_again_only_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    keeper = filled(world, 2)
    plain = world.state.scan
    calls: list[str] = []
    inside: list[bool] = []

    def scan(table: Table, prefix: str = "") -> Iterator[Row]:
        found = list(plain(table, prefix))
        if prefix.startswith("d/") and not inside:  # and a snapshot is made of one or another meanwhile, each time
            calls.append(prefix)
            inside.append(True)
            keeper.compact(MANY[len(calls) % len(MANY)])
            inside.clear()
        return iter(found)

    monkeypatch.setattr(world.state, "scan", scan)
    view = world.view()
    assert all(not view.missing("lake", f"payboot{tp.partition:04d}.business", 1, 20) for tp in MANY)
    assert len(calls) <= 6


@pytest.mark.parametrize("trouble", [Unavailable("the index is away"), KeyError("generation")])
def test_trouble_with_one_partition_is_not_the_others(trouble: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    keeper = filled(world, 64)
    plain, busy = keeper.compact, set(MANY[:5])
    done: set[TopicPartition] = set()

    def compact(tp: TopicPartition) -> bool:
        if tp in busy:
            raise trouble
        done.add(tp)
        return plain(tp)

    monkeypatch.setattr(keeper, "compact", compact)
    for _ in range(6):
        with suppress(Unavailable):
            keeper.upkeep()
    with pytest.raises(Unavailable, match="no snapshot of the ledger: lastbeat"):
        keeper.upkeep()
    assert done == set(MANY) - busy
    busy.clear()
    for _ in range(2):
        keeper.upkeep()
    assert done == set(MANY)


def test_a_view_reads_no_more_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that changes each time it is looked at is said to be so; nothing is answered half."""
    world = World()
    keeper = filled(world, 1)
    plain, number = world.state.scan, [1]
    inside: list[bool] = []

    def scan(table: Table, prefix: str = "") -> Iterator[Row]:
        found = list(plain(table, prefix))
        if prefix.startswith("d/") and not inside:
            number[0] += 1
            inside.append(True)
            keep(keeper, [outcome(number[0], header(number[0] * 10 + 1, 10))])
            keeper.compact(MANY[0])
            inside.clear()
        return iter(found)

    monkeypatch.setattr(world.state, "scan", scan)
    with pytest.raises(Unavailable, match="changes faster"):
        world.view()
