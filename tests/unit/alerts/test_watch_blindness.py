"""No sight: one incident, and nobody is accused."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.fleet import read_fleet
from alerts.staleness import Verdict
from tests.unit.alerts.world import SERVICES, World

# --- blindness ---


@pytest.mark.parametrize("dead_s", [12, 90, 3600])
def test_no_sight_is_one_incident_and_nobody_is_accused_then_the_dead_are_found(world: World, dead_s: int) -> None:
    world.kill("payment")
    world.run(dead_s, seen=False)
    assert world.told() == ["blind cn-east: firing"] or world.told() == ["blind : firing"]
    assert {world.service(name).verdict for name in SERVICES} == {Verdict.BLIND}
    assert world.watch.health()["status"] == "blind"
    world.run(31)
    assert world.told()[1:] == ["blind : resolved", "down payment: firing"]
    world.run(300)
    assert len(world.told()) == 3


def test_blindness_in_two_regions_is_one_incident_for_everything(world: World) -> None:
    world.gateways["gw-2"] = {"region": "cn-north"}
    world.start("north", region="cn-north", via="gw-2")
    world.run(60)
    world.run(60, seen=False)
    assert len(world.told()) == 1
    assert world.open()[0].summary == "blind to everything (cn-east, cn-north)"


def test_blindness_in_one_region_names_it_and_others_are_still_judged(world: World) -> None:
    world.gateways["gw-2"] = {"region": "cn-north"}
    world.start("north", region="cn-north", via="gw-2")
    world.run(60)
    del world.gateways["gw-2"]
    world.kill("north", "payment")
    world.run(60)
    assert sorted(world.told()) == ["blind : firing", "down payment: firing"]
    assert world.open("blind")[0].summary == "blind to region cn-north"
    sights = {row.region: row.blind for row in read_fleet(world.state).sights}
    assert sights == {"cn-east": False, "cn-north": True}


def test_beats_without_any_canary_are_blindness_too_and_it_is_said(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.gateways.clear()
    world.start("shop")
    world.run(60)
    assert world.told() == ["blind : firing"]
    assert "no gateway's canary has ever arrived" in world.open()[0].why


def test_nothing_at_all_is_no_blindness(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.gateways.clear()
    world.run(60)
    assert world.told() == []


def test_a_watch_that_was_stopped_does_not_call_blind_on_waking(world: World) -> None:
    world.run(300, watching=False)
    world.run(5)
    assert world.told() == []


def test_a_journal_that_cannot_be_read_is_blindness(world: World) -> None:
    world.reader.down = True
    world.run(60)
    assert world.told() == ["blind : firing"]
    assert world.watch.health()["status"] == "unread"
    assert "disk is gone" in world.open()[0].why
    world.reader.down = False
    world.run(60)
    assert world.told() == ["blind : firing", "blind : resolved"]


def test_a_watch_that_is_behind_judges_nobody_and_says_so_in_the_end(world: World) -> None:
    world.reader.lagging = True
    world.kill("payment")
    world.run(100)
    assert world.told() == []
    assert world.watch.health()["status"] == "behind"
    world.run(30)
    assert world.told() == ["blind : firing"]
    world.reader.lagging = False
    world.run(5)
    assert sorted(world.told()[1:]) == ["blind : resolved", "down payment: firing"]


def test_a_gateway_that_hangs_freezes_its_ingress_and_is_left_once_its_services_moved(world: World) -> None:
    world.gateways["gw-2"] = {}
    for name in ("ship", "stock"):
        world.beating[name] = {"via": "gw-2"}
    world.run(60)
    del world.gateways["gw-2"]
    world.kill("ship", "stock", "payment")
    world.run(120)
    assert world.told() == ["blind : firing"]
    assert "no canary of gw-2" in world.open()[0].why
    world.beating["stock"] = {"via": "gw-1"}
    world.run(10)
    assert world.told() == ["blind : firing", "blind : resolved"]
    world.run(40)
    assert sorted(world.told()[2:]) == ["down payment: firing", "down ship: firing"]


@pytest.mark.parametrize("jump", [-7200.0, -10.0, 10.0, 7200.0])
def test_a_clock_that_jumps_accuses_nobody_and_hides_nobody(world: World, jump: float) -> None:
    world.clock.jump(jump)
    world.run(100)
    assert world.told() == []
    world.kill("payment")
    world.run(35)
    assert world.told() == ["down payment: firing"]
