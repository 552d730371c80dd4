"""What the demo asks the product, over a store and a state whose answers are known."""

from __future__ import annotations

from dataclasses import replace

from alerts.document import to_doc
from alerts.fleet import InstanceRow
from alerts.incidents import Notice
from alerts.staleness import Verdict
from alerts.state.memory import MemoryState
from collector.memory import MemoryStore
from collector.ports import Event, Table
from compose.demo.evidence import beats_of, death_of, dropped_of, incidents_of, stored_of
from compose.demo.topology import VICTIM
from shippers.clock import FakeClock
from tests.unit.demo.samples import incident

NOW = 1_763_690_400.0


def event(sequence: int, at: float, instance: str = VICTIM.name, dataset: str = "business", message: str = "") -> Event:
    who = {"service": VICTIM.service, "region": VICTIM.region} if instance == VICTIM.name else {"service": "order"}
    stream = f"{instance}.{dataset}"
    return Event(at, stream, sequence, message=message, dataset=dataset, instance=instance, **who)


def store(*events: Event) -> MemoryStore:
    filled = MemoryStore(FakeClock(NOW))
    for one in events:
        filled.add(one)
    return filled


def row(name: str, dropped: int = 0) -> InstanceRow:
    beaten = InstanceRow(VICTIM.region, VICTIM.service, name, Verdict.UP, "", NOW, NOW - 5, "boot", 1, NOW, 1, 3)
    return replace(beaten, dropped=dropped)


def test_events_are_counted_by_instance_without_beats_and_since_the_start_only() -> None:
    filled = store(
        event(1, NOW - 9_000),
        event(2, NOW - 100),
        event(3, NOW - 50),
        event(1, NOW - 50, dataset="heartbeat"),
        event(1, NOW - 10, "order-east-a"),
    )
    assert stored_of(filled, NOW - 200, NOW) == {VICTIM.name: 2, "order-east-a": 1}
    assert sum(stored_of(filled, NOW - 86_400, NOW).values()) == 4


def test_a_gap_in_the_beats_is_seen() -> None:
    beats = [event(number, NOW - 20 + number, "a", "heartbeat") for number in (1, 2, 4)]
    whole = [event(number, NOW - 20 + number, "b", "heartbeat") for number in (1, 2, 3)]
    assert beats_of(store(*beats, *whole), NOW - 60, NOW) == {"a.heartbeat": (3, 4), "b.heartbeat": (3, 3)}


def test_drops_are_what_the_last_beats_say() -> None:
    assert dropped_of([row("a", 3), row("b")]) == {"a": 3, "b": 0}


def test_only_the_victims_own_incident_is_about_the_dead() -> None:
    state = MemoryState()
    whole = incident()
    one = replace(incident(), id="i2", instance=VICTIM.name)
    others = (
        replace(incident("order"), id="i3"),
        replace(incident(region="cn-east"), id="i4"),
        replace(incident(), id="i5", instance="channel-wechat-north-z"),
        replace(incident(service=""), id="i6"),
    )
    for each in (whole, one, *others):
        state.put(Table.INCIDENTS, each.id, to_doc(each), None)
    dead, living = incidents_of(state)
    assert {each.id for each in dead} == {"i1", "i2"}
    assert {each.id for each in living} == {"i3", "i4", "i5", "i6"}


def test_a_death_is_told_once_a_notice_has_arrived_with_the_last_lines_of_the_dead_alone() -> None:
    filled = store(
        *[event(number, NOW - 40 + number, message=f"line {number}") for number in range(1, 30)],
        event(1, NOW - 8, "order-east-a", message="of another"),
    )
    opened = replace(incident(), opened_at=NOW)
    waiting = Notice("console", "firing", NOW, NOW)
    assert death_of(filled, replace(opened, notices=(waiting,)), [row(VICTIM.name)]) is None
    arrived = replace(waiting, delivered_at=NOW + 0.4)
    death = death_of(filled, replace(opened, notices=(waiting, arrived)), [row("other"), row(VICTIM.name)])
    assert death is not None
    assert (death.last_beat_at, death.alert_at) == (NOW - 5, NOW + 0.4)
    assert [line.message for line in death.lines] == [f"line {number}" for number in range(18, 30)]
