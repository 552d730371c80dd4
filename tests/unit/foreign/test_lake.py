"""Foreign records in the lake: who sent each, seen once wherever it is, however its runs are cut."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from collector.foreign.journal import ForeignJournal
from collector.journal.memory import MemoryJournal
from collector.lake.sink import LakeSink
from collector.lake.store import LakeStore
from collector.ports import Page, TopicPartition, Where
from collector.settings import LakeSettings
from shippers.clock import FakeClock
from tests.unit.lake.events import NOON, batch

TP = TopicPartition("lastbeat.cn-east.business", 0)
HOUR = Where(NOON, NOON + 3_600)


def test_events_of_strangers_count_once_and_under_their_own_names_while_they_move_to_the_lake(tmp_path: Path) -> None:
    clock = FakeClock(NOON + 60)
    memory = MemoryJournal(clock)
    journal = ForeignJournal(memory)
    bodies = [json.dumps({"ts": NOON, "app": f"app-{n % 2}", "host": f"h{n}", "n": n}).encode() for n in range(9)]
    with (
        closing(LakeSink(tmp_path, LakeSettings(), clock)) as sink,
        closing(LakeStore(tmp_path, journal, LakeSettings(), clock)) as store,
    ):
        memory.append_foreign(TP, *bodies[:4])
        memory.append([batch(1, 2)])
        first = journal.reader(None, ["business"]).poll(10**6, 0)
        memory.append_foreign(TP, b"no", *bodies[4:])
        expected = {"app-0": (5,), "app-1": (4,), "payment": (2,)}
        for written in ((), first[:1], first, journal.reader(None, ["business"]).poll(10**6, 0)):
            sink.write(written)
            assert store.volume(HOUR, 3_600, "service").series == expected
            events = store.search(HOUR, Page(20)).events
            assert {(event.service, event.instance) for event in events if event.service != "payment"} == {
                (f"app-{n % 2}", f"h{n}") for n in range(9)
            }
    with closing(LakeStore(tmp_path, MemoryJournal(clock), LakeSettings(), clock)) as alone:
        assert alone.volume(HOUR, 3_600, "service").series == expected


def test_a_store_that_read_a_run_further_than_the_sink_still_shows_the_rest(tmp_path: Path) -> None:
    clock = FakeClock(NOON + 60)
    memory = MemoryJournal(clock)
    journal = ForeignJournal(memory)
    bodies = [json.dumps({"ts": NOON, "n": n}).encode() for n in range(6)]
    memory.append_foreign(TP, *bodies[:3])
    early = journal.reader(None, ["business"]).poll(10**6, 0)
    memory.append_foreign(TP, *bodies[3:])
    with (
        closing(LakeSink(tmp_path, LakeSettings(), clock)) as sink,
        closing(LakeStore(tmp_path, journal, LakeSettings(), clock)) as store,
    ):
        assert store.volume(HOUR, 3_600).series == {"": (6,)}
        sink.write(early)
        assert store.volume(HOUR, 3_600).series == {"": (6,)}
