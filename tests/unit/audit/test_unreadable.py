"""A row that can't be read stops nothing, is said and counted; beside such a finding nothing is called balanced."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.audit.findings import Finding, finding_doc
from collector.ports import Table
from tests.unit.audit.books import Sender, World

SOUND = finding_doc(Finding("lake", "x1.business", "eu", "pay", "pay-1", "business", "2026-11-21", 1.0, 1, 1.0))
BROKEN: list[dict[str, Any]] = [
    {},
    {"sink": "lake"},
    {**SOUND, "holes": [7]},
    {**SOUND, "holes": [["a", "b"]]},
    {**SOUND, "since": "yesterday"},
    {**SOUND, "sources": ["archive"]},
    {**SOUND, "stream": "other.business"},
]


def a_world_that_is_well() -> tuple[World, Sender]:
    world = World()
    pay = Sender(world)
    pay.log(10)
    pay.send()
    pay.beat()
    world.run(5)
    assert world.statement.is_balanced
    world.auditor.close()
    return world, pay


@pytest.mark.parametrize("broken", BROKEN)
def test_an_illegible_finding_stops_no_audit_and_nothing_is_balanced_beside_it(
    broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    world, pay = a_world_that_is_well()
    world.state.put_many(Table.AUDIT, {"finding/lake/x1.business": broken})
    world.restart("b")
    pay.log(5)
    pay.send()
    pay.beat()
    world.run(5)
    assert world.statement.of("lake").stored == 15, "it goes on"
    assert not world.statement.is_balanced
    assert [each.partition(" ")[0] for each in world.statement.unreadable] == ["finding/lake/x1.business"]
    assert world.auditor.metrics()["unreadable_rows"] == 1
    assert [each.levelname for each in caplog.records if "finding/lake/x1.business" in each.message] == ["ERROR"]
    world.state.delete(Table.AUDIT, "finding/lake/x1.business")
    assert world.statement.is_balanced


def test_what_an_illegible_finding_told_is_found_again_while_its_process_is_known() -> None:
    world = World()
    pay = Sender(world)
    pay.log(50)
    pay.send(lost=True)
    for _ in range(3):
        pay.beat()
        world.run(10)
    [finding] = world.findings
    world.auditor.close()
    world.state.put_many(Table.AUDIT, {finding.key: {}})
    world.restart("b")
    pay.beat()
    world.run(20)
    assert world.lost == {f"lake/{pay.stream}": ((1, 50),)}
    assert world.statement.unreadable == ()
    assert world.auditor.metrics()["unreadable_rows"] == 0


@pytest.mark.parametrize("broken", [{}, {"boots": {"b1": {}}, "folded": {}}, {"boots": 7, "folded": {}}])
def test_what_processes_said_is_learned_anew_where_it_is_illegible(
    broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    world, pay = a_world_that_is_well()
    [row] = [each for each in world.state.scan(Table.AUDIT, "said/") if each.doc["boots"]]
    world.state.put_many(Table.AUDIT, {row.key: broken})
    world.restart("b")
    assert world.auditor.metrics()["unreadable_rows"] == 0, "it is read with the first pass"
    pay.log(5)
    pay.send(lost=True)
    for _ in range(3):
        pay.beat()
        world.run(10)
    assert world.auditor.failed_passes == 0
    assert world.auditor.metrics()["unreadable_rows"] == 1
    assert [each.levelname for each in caplog.records if row.key in each.message] == ["ERROR"]
    assert world.lost == {f"lake/{pay.stream}": ((11, 15),)}, "and its process is judged again"
