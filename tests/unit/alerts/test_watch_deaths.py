"""One death, restarts, several instances: who is paged, and when."""

from __future__ import annotations

from pathlib import Path

from alerts.explain import explain
from alerts.staleness import Verdict
from collector.ports import TopicPartition
from tests.unit.alerts.world import SERVICES, World, beat

TP = TopicPartition("lastbeat.cn-east.heartbeat", 0)

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


def test_a_second_death_is_paged_though_the_clock_went_back_to_before_the_first(world: World) -> None:
    world.kill("payment")
    world.run(60)
    world.start("payment", boot="payment2")
    world.run(60)
    world.clock.jump(-7200)
    world.run(60)
    world.kill("payment")
    world.run(60)
    assert [turn for turn in world.told() if turn.startswith("down")] == [
        "down payment: firing",
        "down payment: resolved",
        "down payment: firing",
    ]


def test_a_process_that_beats_again_was_never_replaced(world: World) -> None:
    world.kill("payment")
    world.run(12)
    world.start("payment", boot="payment2")
    world.run(60)
    assert world.instance("payment-1").restarts == 1
    world.journal.append(beat("payment", 900))
    world.run(5)
    assert world.instance("payment-1").restarts == 0


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


def test_one_of_two_instances_is_a_warning_and_only_if_it_lasts(world: World) -> None:
    world.run_instances(60, "web-1", "web-2")
    world.run_instances(40, "web-1")
    (incident,) = world.open()
    assert (incident.kind, incident.severity, incident.status) == ("instance", "warning", "pending")
    assert world.told() == []
    world.run_instances(40, "web-1")
    assert world.told() == ["instance web: firing"]
    world.run_instances(20, "web-1", "web-2")
    assert world.told() == ["instance web: firing", "instance web: resolved"]


def test_an_instance_whose_place_another_name_took_is_not_missing(world: World) -> None:
    world.run_instances(60, "web-1", "web-2")
    world.run_instances(120, "web-1", "web-3")
    assert world.told() == []
    assert world.open() == []
    assert world.service("web").live == 2
    assert world.instance("web-2").why == "died; web-3 took its place"


def test_fewer_than_its_minimum_is_down(tmp_path: Path) -> None:
    world = World(tmp_path, services=({"service": "we*", "minimum": 2},))
    world.run_instances(60, "web-1", "web-2")
    world.run_instances(40, "web-1")
    assert world.told() == ["down web: firing"]
    assert world.pager.sent[0].body.startswith("1 of at least 2 instances live")
    world.run_instances(20, "web-1", "web-2")
    assert world.told() == ["down web: firing", "down web: resolved"]


def test_goodbyes_below_the_minimum_are_down_only_if_they_last(tmp_path: Path) -> None:
    world = World(tmp_path, services=({"service": "web", "minimum": 2},))
    world.run_instances(60, "web-1", "web-2")
    world.journal.append(beat("web", 10_000, instance="web-2", boot="web20000000", state="stopping"))
    world.run_instances(20, "web-1")
    assert world.told() == []
    world.run_instances(20, "web-1")
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
