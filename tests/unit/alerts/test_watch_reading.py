"""A watch on a partition where something always comes in: it is read to its end all the same, so people are judged."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.settings import AlertSettings
from alerts.state.memory import MemoryState
from alerts.watch import Watch
from collector.journal.memory import MemoryJournal
from collector.ports import Record, TopicPartition
from shippers.clock import FakeClock
from tests.stack.batches import batch


class Busy:
    """A reader for whom another beat has just come in whenever he asks how far he is behind."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.journal, self.reader, self.number = journal, journal.reader(None, ["heartbeat"]), 0

    def lag(self) -> dict[TopicPartition, int]:
        self.number += 1
        self.journal.append([batch(self.number, dataset="heartbeat", canary=True)])
        return self.reader.lag()

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        return self.reader.poll(max_bytes, 0.0)

    def __getattr__(self, name: str) -> object:
        return getattr(self.reader, name)

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        raise AssertionError("a watch pauses nothing")


def test_what_comes_in_meanwhile_does_not_put_it_behind() -> None:
    clock = FakeClock()
    busy = Busy(MemoryJournal(clock))
    watch = Watch(busy, MemoryState(), AlertSettings(), clock, notifiers={})  # type: ignore[arg-type]
    for _ in range(5):
        watch.step()
        clock.advance(0.25)
    assert busy.number == 5
    assert watch.roster.partitions
    assert watch.health()["partitions_behind"] == 0
    watch.close()
