"""What counting the stores found holds until they are counted again, whoever audits meanwhile."""

from __future__ import annotations

from alerts.audit.statement import Difference
from tests.unit.audit.books import DAY, Sender, World


def test_differences_between_stores_outlive_a_restart_until_they_are_counted_again() -> None:
    world = World()
    pay = Sender(world)
    pay.log(1)
    pay.send()
    pay.beat()
    found = [Difference(DAY, "eu", "business", pay.stream, "lake lacks 1")]
    world.restart("b", count=lambda: ((DAY,), tuple(found)))
    world.run(3)
    world.auditor.count_step()
    world.run(2)
    before = world.statement.head
    assert len(before.differences) == 1
    world.auditor.close()
    world.restart("c", count=lambda: ((DAY,), tuple(found)))
    world.run(5)
    after = world.statement.head
    assert (after.differences, after.counted_at, after.counted_days) == (tuple(found), before.counted_at, (DAY,))
    assert not world.statement.is_balanced
    found.clear()
    world.auditor.count_step()
    world.run(2)
    assert world.statement.is_balanced
