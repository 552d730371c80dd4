"""Scopes that fall silent, beats that are turned away: whose death is it?"""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.staleness import Verdict
from tests.unit.alerts.world import SERVICES, World, canary

# --- outages of scopes ---


def test_a_cut_network_is_one_incident_and_who_died_meanwhile_is_found(world: World) -> None:
    cut = dict(world.beating)
    world.beating.clear()
    world.run(90)
    (incident,) = world.open()
    assert (incident.kind, incident.summary) == ("unreachable", "region cn-east fell silent: 6 services unreachable")
    assert {world.service(name).verdict for name in SERVICES} == {Verdict.UNREACHABLE}
    world.beating = {name: what for name, what in cut.items() if name != "payment"}
    world.run(30)
    assert world.told() == ["unreachable cn-east: firing", "unreachable cn-east: resolved", "down payment: firing"]
    assert "not yet heard" in world.incidents("unreachable")[0].amendments[0]
    world.run(300)
    assert len(world.told()) == 3


def test_two_regions_that_fall_silent_together_are_one_incident(world: World) -> None:
    for name in ("north-a", "north-b", "north-c"):
        world.start(name, region="cn-north")
    world.gateways["gw-2"] = {"region": "cn-north"}
    world.run(60)
    world.beating.clear()
    world.run(90)
    assert [each.summary for each in world.open()] == ["every region fell silent: 9 services unreachable"]


def test_a_zone_that_falls_silent_is_named(world: World) -> None:
    for name in ("a1", "a2", "a3"):
        world.start(name, zone="cn-east-a")
    world.run(60)
    world.kill("a1", "a2", "a3")
    world.run(60)
    (incident,) = world.open()
    assert (incident.kind, incident.zone) == ("unreachable", "cn-east-a")
    assert incident.summary == "zone cn-east-a (cn-east) fell silent: 3 services unreachable"


def test_half_of_a_region_at_once_is_one_incident(world: World) -> None:
    world.kill("shop", "order", "payment")
    world.run(60)
    assert world.told() == ["unreachable cn-east: firing"]
    assert "others there are heard" in world.open()[0].why


def test_deaths_one_by_one_are_told_one_by_one(world: World) -> None:
    for name in ("shop", "order", "payment"):
        world.kill(name)
        world.run(45)
    assert world.told() == ["down shop: firing", "down order: firing", "down payment: firing"]


def test_the_death_of_the_most_frequent_waits_for_a_peer_to_tell_whose_it_is(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start("quick", interval_s=1.0, grace_s=2.0)
    world.start("slow-1", "slow-2", "slow-3")
    world.run(60.5)
    world.kill("quick")
    world.run(14)
    assert world.told() == ["down quick: firing"]


def test_a_cut_that_only_the_most_frequent_could_notice_yet_accuses_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start("quick", interval_s=1.0, grace_s=2.0)
    world.start("slow-1", "slow-2", "slow-3")
    world.run(61)
    world.beating.clear()
    world.run(60)
    assert world.told() == ["unreachable cn-east: firing"]


def test_a_cut_too_short_for_an_outage_accuses_nobody_right_after_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start("a", "b", "c", "d", grace_s=25.0)
    world.run(5.5)
    world.start("impatient", grace_s=15.0)
    world.run(60)
    world.cut = {*world.beating}
    world.run(24)
    world.cut = set()  # four are heard at once, the impatient one only after its deadline
    world.run(60)
    assert world.told() == []


@pytest.mark.parametrize("others", [(), ("e", "f", "g")], ids=["a whole region", "a part of it"])
def test_a_death_just_before_a_cut_that_is_soon_over_is_a_death_and_no_outage(
    tmp_path: Path, others: tuple[str, ...]
) -> None:
    world = World(tmp_path)
    world.start("dead", "a", "b", "c", "d", *others, interval_s=10.0, grace_s=20.0)
    world.run(60.5)
    world.kill("dead")
    world.run(11.5)
    world.cut = {"a", "b", "c", "d"}
    world.run(19.5)  # less than their grace; the dead one's time is over
    assert world.told() == []
    world.cut = set()
    world.run(60)
    assert world.told() == ["down dead: firing"]


def test_one_that_fell_silent_last_has_time_after_an_outage_that_it_was_no_part_of(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start("a", "b", "c", "d", grace_s=10.0)
    world.run(9.5)
    world.start("last", grace_s=10.0)
    world.run(60)
    world.cut = {"a", "b", "c", "d", "last"}
    world.run(20.25)
    assert "4 services unreachable" in world.open()[0].summary
    world.cut = set()
    world.run(60)
    assert not world.incidents("down")


def test_nobody_is_judged_while_a_gateway_of_his_ingress_is_not_seen(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.gateways["gw-2"] = {}
    world.start("quick", interval_s=1.0, grace_s=2.0)
    world.start("slow-1", "slow-2", "slow-3", via="gw-2")
    world.run(63.5)
    world.kill("quick")
    world.run(5.5)
    assert world.watch.metrics()["held_processes"] == 1
    del world.gateways["gw-2"]
    world.cut = {"slow-1", "slow-2", "slow-3"}
    world.run(4)
    world.cut = set()
    world.say("slow-1", via="gw-1")
    world.run(2)
    assert not world.incidents("down")
    world.gateways["gw-2"] = {}
    world.run(20)
    assert [each.service for each in world.open("down")] == ["quick"]


# --- refusals ---


def test_beats_that_are_turned_away_are_refused_and_not_down(world: World) -> None:
    world.kill("payment")
    world.refused = {"cn-east/payment/payment-1": "token"}
    world.run(10)
    assert world.told() == ["refused payment: firing"]
    assert world.open()[0].severity == "warning"
    world.run(60)
    assert world.told() == ["refused payment: firing", "refused payment: raised"]
    assert world.open()[0].summary == "beats of payment are refused in cn-east: token"
    assert world.service("payment").verdict is Verdict.REFUSED
    world.refused = {}
    world.start("payment", boot="payment2")
    world.run(10)
    assert world.told()[2:] == ["refused payment: resolved"]


def test_one_that_is_refused_and_then_dies_is_down(world: World) -> None:
    world.kill("payment")
    world.refused = {"cn-east/payment/payment-1": "token"}
    world.run(60)
    world.refused = {}
    world.run(70)
    assert "down payment: firing" in world.told()


def test_many_refused_with_one_code_are_one_incident_strangers_too(world: World) -> None:
    world.refused = {f"cn-east/{name}/{name}-1": "quota" for name in ("shop", "order", "nobody-knows-me")}
    world.run(20)
    assert world.told() == ["refused cn-east: firing"]


def test_endless_names_of_strangers_cost_a_bounded_memory(world: World) -> None:
    for i in range(10):
        world.journal.append(canary(refused={f"cn-east/x{i}-{j}/y": "token" for j in range(1_000)}))
    world.step()
    assert len(world.watch.roster.refusals) == 1_000
