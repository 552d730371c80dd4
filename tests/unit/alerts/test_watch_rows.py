"""Bad input, the rows that boards read, and restarts of the watch."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.fleet import read_fleet
from alerts.staleness import Verdict
from collector.ports import Gap, Table, TopicPartition
from tests.unit.alerts.world import SERVICES, World, beat

TP = TopicPartition("lastbeat.cn-east.heartbeat", 0)

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


def test_who_ended_long_ago_leaves_memory_and_keeps_its_row(tmp_path: Path) -> None:
    world = World(tmp_path, forget_after_s=900)
    world.start(*SERVICES)
    world.run(30)
    world.say("shop", state="stopping")
    world.kill("shop", "payment")
    world.run(1800)
    assert {name for _, name, _ in world.watch.roster.instances} == set(SERVICES) - {"shop"}
    world.restart()
    world.run(5)
    assert {name for _, name, _ in world.watch.roster.instances} == set(SERVICES) - {"shop"}
    assert world.service("shop").verdict is Verdict.STOPPED
    assert world.told() == ["down payment: firing"]


def test_a_dead_instance_that_nobody_misses_is_forgotten_in_the_end(tmp_path: Path) -> None:
    world = World(tmp_path, forget_after_s=900)
    world.run_instances(60, "web-1", "web-2")
    world.run_instances(2400, "web-1")
    assert world.told() == ["instance web: firing", "instance web: resolved"]
    assert "not missed" in world.incidents()[0].amendments[-1]
    assert {name for _, _, name in world.watch.roster.instances} == {"web-1"}
