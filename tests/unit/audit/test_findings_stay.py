"""A finding stays open until what it names is there: no restart, stall or newer doubt closes it, and none is closed
with evidence that isn't true."""

from __future__ import annotations

import pytest

from alerts.audit import barrier
from alerts.audit.findings import MAX_RANGES, Finding, finding_doc, finding_from
from tests.unit.audit.books import Sender, World


def lossy_world(*, partitions: int = 1) -> tuple[World, Sender, Sender]:
    """Fifty numbers of one sender are lost and said to be; another one goes on beside it."""
    world = World(partitions=partitions)
    pay, other = Sender(world), Sender(world, "other-1", "other")
    for _ in range(20):
        other.log(1)
        other.send()
        other.beat()
        world.run(1)
    pay.log(50)
    pay.send(lost=True)
    for _ in range(3):
        pay.beat()
        other.log(1)
        other.send()
        other.beat()
        world.run(10)
    assert world.lost == {f"lake/{pay.stream}": ((1, 50),)}
    return world, pay, other


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_restart_of_the_auditor_closes_no_finding(is_closed: bool) -> None:
    world, pay, _ = lossy_world()
    [before] = world.findings
    if is_closed:
        world.auditor.close()
    world.restart("b")
    for _ in range(60):
        world.run(1)
        assert world.findings == [before]
        assert world.statement.unaccounted == 50
    pay.beat()
    world.run(20)
    assert world.findings == [before]


def test_a_restart_while_the_sink_is_away_closes_no_finding() -> None:
    world, _, other = lossy_world()
    [before] = world.findings
    world.auditor.close()
    world.restart("b")
    for _ in range(60):
        other.log(1)
        other.send()
        other.beat()
        world.run(1, reading=False)
        assert world.findings == [before]
        assert world.statement.unaccounted == 50


@pytest.mark.parametrize("partitions", [1, 2])
def test_a_sink_that_stalls_for_long_closes_no_finding(partitions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barrier, "MAX_KEPT", 6)
    world, pay, other = lossy_world(partitions=partitions)
    [before] = world.findings
    for second in range(150):
        other.log(1)
        other.send()
        if second % 10 == 0:
            other.beat()
            pay.beat()
        world.run(1, reading=False)
        assert world.findings == [before]
        assert world.statement.unaccounted == 50


def test_what_is_filled_right_after_a_restart_is_over_with_its_evidence() -> None:
    world = World()
    pay = Sender(world)
    lost = pay.log(50)
    pay.send(lost=True)
    pay.beat()
    world.run(15)
    world.auditor.close()
    world.restart("b")
    world.journal.append([lost])
    world.run(3)
    [finding] = world.findings
    assert (finding.holes, finding.found, finding.missing) == ((), ((1, 50),), 0)
    assert finding.ended_at is not None


def a_finding() -> Finding:
    return Finding("lake", "boot1.business", "eu", "pay", "pay-1", "business", "2023-11-14", 1.0, 2, 3.0)


def test_what_came_and_is_missing_again_is_no_evidence_any_more() -> None:
    finding = a_finding().now_missing([(1, 50)], 4.0).now_missing([(1, 10)], 5.0)
    assert finding.found == ((11, 50),)
    assert finding.now_missing([(1, 20)], 6.0).found == ((21, 50),)
    again = finding.now_missing([], 7.0).now_missing([(1, 50)], 8.0)
    assert (again.holes, again.found, again.ended_at) == (((1, 50),), (), None)


def test_a_finding_of_more_ranges_than_are_named_counts_all_of_them_and_changes_only_when_they_do() -> None:
    holes = [(n, n) for n in range(1, 3 * MAX_RANGES, 2)]
    finding = a_finding().now_missing(holes, 4.0)
    assert (len(finding.holes), finding.missing, finding.judged) == (MAX_RANGES, len(holes), holes[-1][0])
    assert finding.now_missing(holes, 5.0) is finding
    assert finding_from(finding_doc(finding)).now_missing(holes, 5.0) == finding
    assert finding.now_missing(holes[:-1], 5.0).missing == len(holes) - 1
