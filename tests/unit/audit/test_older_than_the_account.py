"""Streams that are older than a sink's account are not held to it, whenever their beats happen to be read, and a stream
is compared with what it said, never with what others gave up in its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from collector.ports import Record, TopicPartition
from shippers.batch import Batch, Header
from tests.unit.audit.books import DAY, Sender, World


class Late:
    """A reader that comes to the first records only after so many seconds: the passes before had other ones."""

    def __init__(self, reader: Any, world: World, wait_s: float) -> None:
        self._reader, self._clock, self._from = reader, world.clock, world.clock.monotonic() + wait_s

    @property
    def _is_late(self) -> bool:
        return self._clock.monotonic() < self._from

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        return [] if self._is_late else self._reader.poll(max_bytes, timeout_s)

    def lag(self) -> Mapping[TopicPartition, int]:
        return {} if self._is_late else self._reader.lag()

    def ends(self) -> Mapping[TopicPartition, int]:
        return {} if self._is_late else self._reader.ends()


@pytest.mark.parametrize("wait_s", [0.0, 4.0])
def test_what_was_durable_before_a_sink_kept_accounts_is_not_called_lost(wait_s: float) -> None:
    world = World()
    world.books.positions["lake"] = {TopicPartition("lastbeat.eu.business", 0): 1}
    pay = Sender(world)
    pay.beat()
    world.clock.advance(8_000)
    pay.beats, pay.last, pay.acked = 800, 1_000, 1_000
    pay.beat()
    world.clock.advance(5)
    world.auditor._beats = Late(world.auditor._beats, world, wait_s)  # type: ignore[assignment]
    world.run(3)
    pay.log(20)
    pay.send(lost=True)
    pay.beat()  # with wait_s, read in one go with the older ones
    for _ in range(3):
        world.run(10)
        pay.beat()
    assert world.lost == {f"lake/{pay.stream}": ((1_001, 1_020),)}, "what was lost since is, and nothing else"


def test_a_beat_that_comes_after_its_own_void_batches_contradicts_nothing() -> None:
    world = World()
    pay, other = Sender(world), Sender(world, "other-1", "other")
    pay.log(10)
    pay.send()
    pay.beat()
    for _ in range(12):
        other.beat()
        world.run(10)
    pay.unsent.clear()
    for first, count in ((11, 50), (61, 100)):
        header = Header(pay.stream, first, count, "eu", "business", DAY, pay.service, pay.instance, 0, "spool full")
        world.journal.append([Batch(header, b"")])
    world.run(2)
    for last in (60, 110, 160):
        pay.last = pay.acked = last
        pay.beat()
        world.run(3)
        assert world.statement.head.liars == ()
    assert world.statement.is_balanced
    pay.last = pay.acked = 150
    pay.beat()
    world.run(3)
    assert "backwards" in world.statement.head.liars[0].words, "of itself it said more before"
