"""A boot that is forgotten leaves its counts behind, once: what was emitted never shrinks, and nothing is counted
twice."""

from __future__ import annotations

from tests.unit.audit.books import Sender, World

DAY_S = 86_400.0


def counts(world: World) -> tuple[int, int, int, int, int, int]:
    line = world.statement.of("lake")
    return line.emitted, line.stored, line.tail, line.unaccounted, line.flight, line.drops


def pass_days(world: World, other: Sender, days: float) -> None:
    """Time goes by in which others are heard, so that silence is silence."""
    world.clock.advance(days * DAY_S)
    for _ in range(70):
        other.beat()
        world.run(10)


def fall_silent(world: World, other: Sender) -> None:
    for _ in range(12):
        other.beat()
        world.run(10)


def with_a_tail() -> tuple[World, Sender, Sender]:
    """A process that fell silent with 70 of its 120 events unsent, and another that goes on."""
    world = World()
    pay, other = Sender(world), Sender(world, "other-1", "other")
    pay.log(50)
    pay.send()
    pay.log(70)
    pay.beat()
    fall_silent(world, other)
    return world, pay, other


def test_a_tail_stays_counted_when_its_boot_is_forgotten_and_over_a_restart() -> None:
    world, pay, other = with_a_tail()
    assert counts(world) == (120, 50, 70, 0, 0, 0)
    pass_days(world, other, 1.1)
    assert pay.boot not in world.auditor.roll.boots
    assert counts(world) == (120, 50, 70, 0, 0, 0)
    world.auditor.close()
    world.restart("b")
    world.run(3)
    assert counts(world) == (120, 50, 70, 0, 0, 0)


def test_a_tail_that_comes_after_all_is_not_counted_twice() -> None:
    world, pay, other = with_a_tail()
    pass_days(world, other, 1.1)
    pay.send()
    pass_days(world, other, 0.1)
    assert counts(world) == (120, 120, 0, 0, 0, 0)


def test_what_is_lost_or_on_its_way_stays_counted_when_nobody_waits_for_it_any_more() -> None:
    world = World()
    asked = []

    def recover(finding: object) -> tuple[dict[str, int], str]:
        asked.append(finding)
        return {}, "nobody has it"

    world.restart(recover=recover)
    pay, spool, other = Sender(world), Sender(world, "sp-1", "sp", spool=True), Sender(world, "other-1", "other")
    pay.log(50)
    pay.send(lost=True)
    pay.beat()
    spool.log(30)
    spool.beat()
    fall_silent(world, other)
    assert counts(world) == (80, 0, 0, 50, 30, 0)
    pass_days(world, other, 36)
    assert set(world.auditor.roll.boots) == {other.boot}
    assert counts(world) == (80, 0, 0, 50, 30, 0)
    [finding] = world.findings
    assert (finding.given_up, finding.missing, finding.ended_at is not None) == (True, 50, True)
    assert not world.statement.is_balanced
    asked.clear()
    for _ in range(3):
        world.run(1)
        world.auditor.recover_step()
    assert asked == []


def test_a_forgotten_boot_that_is_heard_of_again_counts_what_it_dropped_once() -> None:
    world = World()
    pay, other = Sender(world), Sender(world, "other-1", "other")
    pay.log(50, drop=7)
    pay.send()
    pay.beat()
    fall_silent(world, other)
    pass_days(world, other, 1.1)
    assert pay.boot not in world.auditor.roll.boots
    world.auditor.close()
    world.restart("b")
    world.run(3)
    pay.log(5, drop=2)
    pay.send()
    pay.beat()
    world.run(10)
    assert counts(world) == (64, 55, 0, 0, 0, 9)
    pass_days(world, other, 1.1)
    assert pay.boot not in world.auditor.roll.boots
    assert counts(world) == (64, 55, 0, 0, 0, 9)


def test_an_old_beat_of_a_forgotten_boot_says_nothing() -> None:
    world = World()
    pay, other = Sender(world), Sender(world, "other-1", "other")
    pay.log(50, drop=7)
    pay.send()
    for _ in range(3):
        pay.beat()
    fall_silent(world, other)
    pass_days(world, other, 1.1)
    pay.beats = 1
    pay.beat()
    world.run(10)
    assert pay.boot not in world.auditor.roll.boots
    assert counts(world) == (57, 50, 0, 0, 0, 7)


def test_what_is_lost_of_a_boot_that_is_long_forgotten_is_counted_once_and_over_a_restart() -> None:
    """Its account is kept for longer, and has the gap still."""
    world = World()
    pay, other = Sender(world), Sender(world, "other-1", "other")
    world.run(3)
    for lost in (False, True, False):
        pay.log(5)
        pay.send(lost=lost)
    pay.beat(state="stopping")
    fall_silent(world, other)
    for days in (36, 36, 1):
        pass_days(world, other, days)
        assert counts(world) == (15, 10, 0, 5, 0, 0)
        world.auditor.close()
        world.restart(f"after {days} days")
    assert pay.boot not in world.auditor.roll.graves
    world.clock.advance(4_000)
    pass_days(world, other, 0.1)
    assert counts(world) == (15, 10, 0, 5, 0, 0)
    assert world.statement.head.differences == ()
