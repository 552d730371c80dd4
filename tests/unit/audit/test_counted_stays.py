"""What counting the stores found holds until they are counted again, whoever audits meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alerts.audit.auditor import Auditor
from alerts.audit.statement import Difference
from shippers.errors import Unavailable
from tests.unit.audit.books import DAY, Sender, World


def test_differences_between_stores_outlive_a_restart_until_they_are_counted_again() -> None:
    world = World()
    pay = Sender(world)
    pay.log(1)
    pay.send()
    pay.beat()
    found = [Difference(DAY, "eu", "business", pay.stream, "lake lacks 1")]
    world.restart("b", count=lambda _: ((DAY,), ("lake",), tuple(found)))
    world.run(3)
    world.auditor.count_step()
    world.run(2)
    before = world.statement.head
    assert len(before.differences) == 1
    world.auditor.close()
    world.restart("c", count=lambda _: ((DAY,), ("lake",), tuple(found)))
    world.run(5)
    after = world.statement.head
    assert (after.differences, after.counted_at, after.counted_days) == (tuple(found), before.counted_at, (DAY,))
    assert not world.statement.is_balanced
    found.clear()
    world.auditor.count_step()
    world.run(2)
    assert world.statement.is_balanced


def test_who_takes_over_again_knows_what_was_counted_meanwhile() -> None:
    """Its own count is the older one."""
    world = World()
    found: list[Difference] = []
    world.restart("first", count=lambda _: ((DAY,), ("lake",), tuple(found)))
    first = world.auditor
    world.run(3)
    first.count_step()
    world.run(1)
    second = world.another("second", count=lambda _: ((DAY,), ("lake",), tuple(found)))
    _pass_time(world, second, 40)  # the first one hangs
    found.append(Difference(DAY, "eu", "business", "aaaaaaaa.business", "lake lacks 1-5", True, "lake", ((1, 5),)))
    second.count_step()
    _pass_time(world, second, 1)
    counted_at = world.statement.head.counted_at
    first.step()
    _pass_time(world, first, 20)  # the second one hangs
    assert first.health()["status"] == "ok"
    assert (world.statement.head.counted_at, len(world.statement.head.differences)) == (counted_at, 1)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_day_that_lacks_something_is_counted_until_it_is_there_however_old(is_restarted: bool) -> None:
    world, old = World(), "2023-11-01"
    lost = [Difference(old, "eu", "business", "aaaaaaaa.business", "lake lacks 1-5", True, "lake", ((1, 5),))]
    asked: list[list[str]] = []

    def count(again: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[Difference, ...]]:
        asked.append(list(again))
        return (DAY, *again), ("lake",), tuple(lost if old in again or len(asked) == 1 else ())

    world.restart("b", count=count)
    world.run(3)
    world.auditor.count_step()
    world.run(2)
    if is_restarted:
        world.auditor.close()
        world.restart("c", count=count)
        world.run(2)
    for _ in range(2):  # by now no hot day has it
        world.auditor.count_step()
        world.run(2)
        assert not world.statement.is_balanced
    lost.clear()
    world.auditor.count_step()
    world.auditor.count_step()
    world.run(2)
    assert asked == [[], [old], [old], [old], []]
    assert world.statement.is_balanced


def test_a_loss_of_one_day_or_region_is_not_crowded_out_by_another() -> None:
    world = World()
    found = [
        Difference(DAY, "eu", "business", f"{n:08}.business", "lake has 1 twice", lacking=False) for n in range(300)
    ]
    found += [Difference(DAY, "eu", "business", f"{n:08}.business", "lake lacks 1") for n in range(300)]
    found += [Difference("2023-11-01", "us", "business", "late0000.business", "lake lacks 1")]
    world.restart("b", count=lambda _: ((DAY,), ("lake",), tuple(found)))
    world.run(3)
    world.auditor.count_step()
    world.run(2)
    named = world.statement.head.differences
    assert len(named) == 200
    assert all(each.lacking for each in named)
    assert {each.day for each in named if each.region == "us"} == {"2023-11-01"}


def test_why_the_stores_cant_be_counted_is_said_until_they_are() -> None:
    world, is_away = World(), True

    def count(_: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[Difference, ...]]:
        if is_away:
            raise Unavailable("the lake can't be read")
        return (DAY,), ("lake",), ()

    world.restart("b", count=count)
    world.run(3)
    world.auditor.count_step()
    world.run(2)
    assert (world.statement.head.trouble, world.statement.head.counted_at) == ("the lake can't be read", None)
    is_away = False
    world.auditor.count_step()
    world.run(2)
    assert (world.statement.head.trouble, world.statement.head.counted_sinks) == ("", ("lake",))


def _pass_time(world: World, auditor: Auditor, seconds: int) -> None:
    for _ in range(seconds):
        world.clock.advance(1)
        world.canary()
        auditor.step()
