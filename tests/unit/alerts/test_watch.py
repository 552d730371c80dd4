"""The watch over a raw journal: who is paged, when, and who is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.explain import explain
from alerts.fleet import read_fleet
from alerts.staleness import Verdict
from collector.ports import Gap, Table, TopicPartition
from tests.unit.alerts.world import World, beat, canary

TP = TopicPartition("lastbeat.cn-east.heartbeat", 0)
SERVICES = ("shop", "order", "payment", "ship", "stock", "mail")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.start(*SERVICES)
    world.run(90)
    assert world.told() == []
    return world


# --- one death ---


def test_a_death_is_paged_once_at_most_a_second_and_a_half_past_its_deadline(world: World) -> None:
    world.kill("payment")
    last = world.instance("payment-1").last_notify_time
    while not world.pager.sent:
        world.run(0.25)
    assert 30 < world.clock.time() - last <= 31.5
    world.run(600)
    assert world.told() == ["down payment: firing"]
    assert world.service("payment").verdict is Verdict.DOWN
    assert world.service("payment").incident == world.open("down")[0].id
    assert {world.service(name).verdict for name in SERVICES if name != "payment"} == {Verdict.UP}


def test_the_page_says_what_a_person_needs(world: World) -> None:
    world.kill("payment")
    world.run(60)
    (message,) = world.pager.sent
    assert message.title == "✖ payment is down in cn-east"
    assert "silent for 3" in message.body
    assert "allowed 30 s" in message.body
    (incident,) = world.open()
    text = explain(incident)
    for part in ("cn-east/payment/payment-1", f"{TP.topic}/0", "offset", "a beat each 10 s, 20 s of grace: 30 s"):
        assert part in text
    assert "of 6 live services silent" in text
    assert "firing → console at" in text


def test_one_that_beats_again_is_resolved_and_the_same_process_is_known(world: World) -> None:
    beating = world.beating["payment"]
    world.kill("payment")
    world.run(60)
    world.beating["payment"] = beating
    world.run(20)
    assert world.told() == ["down payment: firing", "down payment: resolved"]
    assert "had not ended" in world.incidents("down")[0].amendments[-1]


def test_it_is_late_on_the_board_before_it_is_down(world: World) -> None:
    world.kill("payment")
    world.run(20)
    assert world.service("payment").verdict is Verdict.LATE
    assert world.told() == []


def test_a_goodbye_is_no_death(world: World) -> None:
    world.say("payment", state="stopping", reason="exit")
    world.kill("payment")
    world.run(300)
    assert world.told() == []
    assert world.service("payment").verdict is Verdict.STOPPED


def test_a_goodbye_is_never_unsaid_by_an_older_beat(world: World) -> None:
    world.say("payment", state="stopping")
    world.kill("payment")
    world.journal.append(beat("payment", 3), beat("payment", 3, age_s=5))
    world.run(300)
    assert world.told() == []
    assert world.service("payment").verdict is Verdict.STOPPED


def test_a_late_retry_or_a_replay_does_not_revive_the_dead(world: World) -> None:
    world.kill("payment")
    world.run(20)
    for number in (1, 4, 9):
        world.journal.append(beat("payment", number))
    world.journal.append(beat("payment", 500, age_s=15))
    world.run(12)
    assert world.told() == ["down payment: firing"]


def test_late_evidence_amends_the_incident_and_resolves_nothing(world: World) -> None:
    world.kill("payment")
    world.run(60)
    world.journal.append(beat("payment", 400, age_s=40, via="gw-9"))
    world.run(5)
    (incident,) = world.open("down")
    assert "arrived late through gw-9, 40 s old" in incident.amendments[0]


def test_a_goodbye_that_comes_late_resolves_the_page(world: World) -> None:
    world.kill("payment")
    world.run(60)
    world.journal.append(beat("payment", 400, age_s=55, state="stopping"))
    world.run(5)
    assert world.told() == ["down payment: firing", "down payment: resolved"]


def test_one_known_only_from_old_beats_is_shown_and_not_accused(world: World) -> None:
    world.journal.append(beat("ghost", 7, age_s=7200))
    world.run(120)
    assert world.told() == []
    row = world.service("ghost")
    assert row.verdict is Verdict.STOPPED
    assert "only beats from the past" in row.why


# --- restarts and several instances ---


def test_a_quick_restart_is_counted_and_not_paged(world: World) -> None:
    world.kill("payment")
    world.run(12)
    world.start("payment", boot="payment2")
    world.run(120)
    assert world.told() == []
    assert world.instance("payment-1").restarts == 1
    assert world.service("payment").restarts == 1


def test_a_restart_after_the_page_resolves_it(world: World) -> None:
    world.kill("payment")
    world.run(60)
    world.start("payment", boot="payment2")
    world.run(10)
    assert world.told() == ["down payment: firing", "down payment: resolved"]
    assert "started again" in world.incidents("down")[0].amendments[-1]
    assert world.instance("payment-1").restarts == 1


def test_a_crash_loop_is_one_incident_and_is_over_when_it_stays_up(world: World) -> None:
    for i in range(7):
        world.kill("payment")
        world.run(12)
        world.start("payment", boot=f"loop{i}00000000")
        world.run(8)
    world.run(40)
    assert world.told() == ["flapping payment: firing"]
    assert world.service("payment").verdict is Verdict.FLAPPING
    world.run(700)
    assert world.told() == ["flapping payment: firing", "flapping payment: resolved"]


def test_workers_under_one_name_are_several_processes_and_one_instance(world: World) -> None:
    workers = [f"worker{i}000000" for i in range(3)]
    for number in range(1, 13):
        for boot in workers if number < 5 else workers[1:]:
            world.journal.append(beat("web", number, boot=boot))
        world.run(10)
    assert world.told() == ["instance web: firing"]
    assert world.service("web").live == 1
    assert world.open("instance")[0].summary == "1 process of web-1 (web) died in cn-east"


def two_instances(world: World, seconds: int, *names: str) -> None:
    for _ in range(seconds // 10):
        for name in names:
            two_instances.number += 1  # type: ignore[attr-defined]
            world.journal.append(
                beat("web", two_instances.number, instance=name, boot=f"{name.replace('-', '')}0000000")  # type: ignore[attr-defined]
            )
        world.run(10)


two_instances.number = 0  # type: ignore[attr-defined]


def test_one_of_two_instances_is_a_warning_and_only_if_it_lasts(world: World) -> None:
    two_instances(world, 60, "web-1", "web-2")
    two_instances(world, 40, "web-1")
    (incident,) = world.open()
    assert (incident.kind, incident.severity, incident.status) == ("instance", "warning", "pending")
    assert world.told() == []
    two_instances(world, 40, "web-1")
    assert world.told() == ["instance web: firing"]
    two_instances(world, 20, "web-1", "web-2")
    assert world.told() == ["instance web: firing", "instance web: resolved"]


def test_an_instance_whose_place_another_name_took_is_not_missing(world: World) -> None:
    two_instances(world, 60, "web-1", "web-2")
    two_instances(world, 120, "web-1", "web-3")
    assert world.told() == []
    assert world.open() == []
    assert world.service("web").live == 2
    assert world.instance("web-2").why == "died; web-3 took its place"


def test_fewer_than_its_minimum_is_down(tmp_path: Path) -> None:
    world = World(tmp_path, services=({"service": "we*", "minimum": 2},))
    two_instances(world, 60, "web-1", "web-2")
    two_instances(world, 40, "web-1")
    assert world.told() == ["down web: firing"]
    assert world.pager.sent[0].body.startswith("1 of at least 2 instances live")
    two_instances(world, 20, "web-1", "web-2")
    assert world.told() == ["down web: firing", "down web: resolved"]


def test_goodbyes_below_the_minimum_are_down_only_if_they_last(tmp_path: Path) -> None:
    world = World(tmp_path, services=({"service": "web", "minimum": 2},))
    two_instances(world, 60, "web-1", "web-2")
    world.journal.append(beat("web", 10_000, instance="web-2", boot="web20000000", state="stopping"))
    two_instances(world, 20, "web-1")
    assert world.told() == []
    two_instances(world, 20, "web-1")
    assert world.told() == ["down web: firing"]
    world.journal.append(beat("web", 10_000, instance="web-1", boot="web10000000", state="stopping"))
    world.run(60)
    assert world.service("web").verdict is Verdict.STOPPED
    assert world.told() == ["down web: firing", "down web: resolved"]


def test_settings_win_over_what_a_service_says(tmp_path: Path) -> None:
    world = World(tmp_path, services=({"service": "payment", "interval_s": 60, "grace_s": 60},))
    world.start(*SERVICES)
    world.run(60)
    world.kill("payment")
    world.run(100)
    assert world.told() == []
    world.run(25)
    assert world.told() == ["down payment: firing"]


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


# --- bad input ---


@pytest.mark.parametrize("body", [b"", b"{}\n", b"[1]\n", b"\xff\n", b'{"heartbeat": 7}\n'])
@pytest.mark.parametrize(
    "header", [b"", b"{}", b"\x00", b'{"dataset":"heartbeat"}', b'{"dataset":"heartbeat","canary":true}']
)
def test_records_that_mean_nothing_harm_nobody(world: World, header: bytes, body: bytes) -> None:
    world.journal.put(TP, header, body)
    world.run(60)
    assert world.told() == []
    assert world.watch.metrics()["failed_steps_total"] == 0


def test_hostile_beats_are_counted(world: World) -> None:
    world.journal.put(TP, b"{", b"")
    world.step()
    assert world.watch.metrics()["bad_beats_total"] == 1


def test_an_absurd_interval_harms_only_its_sender(world: World) -> None:
    for interval in (float("nan"), float("inf"), -1, 1e308, "x", None):
        world.journal.append(beat("odd", 1, boot=f"odd{abs(hash(str(interval))) % 10**8:08}", interval_s=interval))
    world.kill("payment")
    world.run(40)
    assert "down payment: firing" in world.told()


def test_a_gap_in_the_journal_is_told_and_harms_nobody(world: World) -> None:
    end = len(world.journal.logs[TP])
    world.run(120, watching=False)
    world.reader.gaps.append(Gap(TP, end, len(world.journal.logs[TP])))
    world.run(30)
    assert world.told() == ["gap cn-east: firing", "gap cn-east: resolved"]
    assert world.watch.metrics()["gaps_total"] == 1


# --- rows ---


def test_every_instance_that_ever_reported_has_a_row_with_its_last_notify_time(world: World) -> None:
    fleet = read_fleet(world.state)
    assert {row.service for row in fleet.services} == set(SERVICES)
    for row in fleet.instances:
        assert world.clock.time() - row.last_notify_time <= 12.5
        assert (row.version, row.via, row.ingress) == ("1.4.2", "gw-1", "default")


def test_a_new_service_is_new_for_a_minute(world: World) -> None:
    world.start("fresh")
    world.run(15)
    assert world.service("fresh").verdict is Verdict.NEW
    world.run(60)
    assert world.service("fresh").verdict is Verdict.UP


def test_what_the_last_beat_said_is_on_the_row(world: World) -> None:
    more = {
        "datasets": {"business": {"last": 9, "acked": 7, "dropped": {"full": 2}}},
        "cpu_percent": 3.5,
    }
    world.say("shop", zone="cn-east-b", **more)
    world.run(3)
    row = world.instance("shop-1")
    assert (row.zone, row.cpu_percent, row.dropped) == ("cn-east-b", 3.5, 2)
    assert row.streams == {"business": {"last": 9, "acked": 7, "dropped": 2}}


def test_several_partitions_of_a_region_are_one_world(tmp_path: Path) -> None:
    world = World(tmp_path, partitions=3)
    world.start(*SERVICES)
    world.run(60)
    world.kill("payment")
    world.run(40)
    assert world.told() == ["down payment: firing"]
    world.run(60, seen=False)
    assert len(world.told()) == 2
    world.run(60)
    assert len(world.told()) == 3


# --- restarts of the watch ---


def test_a_restarted_watch_pages_nothing_twice_and_forgets_nothing(world: World) -> None:
    world.kill("payment")
    world.run(60)
    for _ in range(3):
        world.restart()
        world.run(30)
    assert world.told() == ["down payment: firing"]
    world.start("payment", boot="payment2")
    world.restart()
    world.run(20)
    assert world.told() == ["down payment: firing", "down payment: resolved"]


@pytest.mark.parametrize("away_s", [1, 90, 3600])
def test_a_watch_that_was_dead_for_long_accuses_nobody_and_finds_the_dead(world: World, away_s: int) -> None:
    world.kill("payment")
    world.run(away_s, watching=False)
    world.restart()
    world.run(35)
    assert world.told() == ["down payment: firing"]


def test_without_a_snapshot_the_journal_is_read_from_its_oldest_beat(world: World) -> None:
    world.kill("payment")
    world.run(60)
    world.state.delete(Table.SNAPSHOTS, "watch")
    world.restart()
    world.run(30)
    assert world.told() == ["down payment: firing"]


def test_a_restart_reads_on_where_the_snapshot_stands(world: World) -> None:
    before = world.watch.metrics()["beats_total"]
    world.restart()
    world.run(1)
    assert world.watch.metrics()["beats_total"] < before / 4


def test_a_restart_amid_blindness_and_amid_an_outage_tells_neither_again(world: World) -> None:
    world.run(30, seen=False)
    world.restart()
    world.run(30, seen=False)
    assert world.told() == ["blind : firing"]
    world.run(60)
    beating, world.beating = world.beating, {}
    world.run(60)
    world.restart()
    world.run(60)
    assert world.told()[1:] == ["blind : resolved", "unreachable cn-east: firing"]
    world.beating = beating
    world.run(60)
    assert world.told()[3:] == ["unreachable cn-east: resolved"]
