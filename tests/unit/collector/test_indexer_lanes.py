"""Several writes under way at once: whichever is done first, nothing is committed before all below it is settled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.indexer import Indexer
from collector.journal.memory import MemoryJournal
from collector.ports import Outcome, Record, TopicPartition
from shippers.batch import Header, seal
from shippers.clock import FakeClock
from shippers.errors import LastbeatError, Unavailable

TP = TopicPartition("lastbeat.cn-east.business", 0)
SIZE = 6_000  # about what one of these batches costs in memory


class Sink:
    """Takes two writes at once. Each does what it is told to when it is let go: see Lanes."""

    lanes = 2

    def __init__(self) -> None:
        self.stored: set[int] = set()

    def write(self, records: Sequence[Record], how: Callable[[Record], bool] | None) -> list[Outcome]:
        if how is None:
            raise Unavailable("down")
        copies = map(dataclasses.replace, records)  # a sink may say of which record it speaks by another object
        outcomes = [Outcome(record, stored=1) if how(record) else Outcome(record, retry=True) for record in copies]
        self.stored |= {one.record.offset for one in outcomes if not one.retry}
        return outcomes

    def positions(self) -> Mapping[TopicPartition, int] | None:
        return None

    def close(self) -> None:
        pass


class Lanes(Executor):
    """Holds the writes until they are let go, in any order."""

    def __init__(self) -> None:
        self.held: list[tuple[Future[Any], Callable[[Any], Any], list[int]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.held.append((future, partial(fn, *args, **kwargs), [record.offset for record in args[0]]))
        return future

    def offsets(self) -> list[list[int]]:
        return [offsets for _, _, offsets in self.held]

    def let_go(self, which: int, how: Callable[[Record], bool] | None = lambda _: True) -> None:
        future, work, _ = self.held.pop(which)
        try:
            future.set_result(work(how))
        except LastbeatError as error:
            future.set_exception(error)


class Bench:
    def __init__(self, batches: int = 0, flush_bytes: int = 8 * SIZE) -> None:
        self.clock, self.sink, self.lanes = FakeClock(), Sink(), Lanes()
        self.journal = MemoryJournal(self.clock)
        self.reader = self.journal.reader("elastic", ["business"])
        self.indexer = Indexer(
            self.reader, self.sink, self.clock, flush_bytes=flush_bytes, flush_s=1.0, writer=self.lanes
        )
        self.count = 0
        for _ in range(batches):
            self.append()

    def append(self) -> None:
        self.count += 1
        header = Header("aaaaaaaa.business", self.count, 0, "cn-east", "business", "2026-11-21", "payment", "pay-01", 0)
        self.journal.append([seal(header, [b'{"@timestamp":"2026-11-21T12:00:00Z","message":"%b"}' % (b"." * 5_000)])])

    def steps(self, count: int = 3) -> None:
        for _ in range(count):
            self.indexer.step()

    def committed(self) -> int:
        return self.reader.committed().get(TP, 0)


def test_a_second_write_begins_while_the_first_is_under_way_and_no_third() -> None:
    bench = Bench(16)
    bench.steps(6)
    first, second = bench.lanes.offsets()
    assert first + second == list(range(len(first) + len(second)))
    bench.lanes.let_go(0)
    bench.steps(1)
    assert len(bench.lanes.held) == 2
    assert bench.committed() == len(first)


def test_the_offset_does_not_pass_a_write_that_is_still_under_way() -> None:
    bench = Bench(10)
    bench.steps()
    first, second = bench.lanes.offsets()
    bench.lanes.let_go(1)
    bench.steps()
    assert bench.committed() == 0
    bench.lanes.let_go(0)
    bench.steps()
    assert bench.committed() == len(first) + len(second)


def test_the_offset_does_not_pass_a_write_that_failed() -> None:
    bench = Bench(10)
    bench.steps()
    first = bench.lanes.offsets()[0]
    bench.lanes.let_go(0, None)
    bench.steps(1)
    bench.lanes.let_go(0)
    bench.steps(1)
    assert bench.committed() == 0
    bench.clock.advance(60)
    bench.steps()
    assert bench.lanes.offsets()[0][: len(first)] == first
    while bench.lanes.held:
        bench.lanes.let_go(0)
        bench.clock.advance(2)
        bench.steps()
    assert bench.committed() == 10
    assert bench.sink.stored == set(range(10))


def test_what_is_held_apart_is_tried_though_writes_follow_each_other() -> None:
    bench = Bench(8)
    bench.steps()
    bench.lanes.let_go(0, lambda record: record.offset != 0)
    bench.steps()
    assert bench.committed() == 0
    for _ in range(12):
        if bench.lanes.held:
            bench.lanes.let_go(0)
        bench.append()
        bench.clock.advance(1)
        bench.steps(2)
    assert 0 in bench.sink.stored
    assert bench.committed() > 8


def test_a_partition_that_is_read_anew_counts_for_nothing_in_the_other_write() -> None:
    bench = Bench(40)
    bench.steps()
    again: set[int] = set()
    for _ in range(60):  # more and more is given back, until whole partitions leave the memory
        if bench.lanes.held:
            bench.lanes.let_go(-1, lambda record: record.offset >= 4)
        bench.clock.advance(0.5)
        bench.steps(1)
        assert bench.committed() <= 4
        again |= {offset for offsets in bench.lanes.offsets() for offset in offsets}
    for _ in range(200):
        if bench.lanes.held:
            bench.lanes.let_go(0)
        bench.clock.advance(1)
        bench.steps(1)
    assert bench.sink.stored == set(range(40))
    assert bench.committed() == 40


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["well", "down", "some", "step", "lost"])), max_size=40))
def test_whatever_comes_of_the_writes_nothing_is_committed_unsettled_and_all_is_stored(
    story: list[tuple[int, str]],
) -> None:
    bench = Bench(30, flush_bytes=6 * SIZE)
    assigned, poll = bench.reader.assigned, bench.reader.poll
    ways: dict[str, Callable[[Record], bool] | None] = {
        "well": lambda _: True, "down": None, "some": lambda record: record.offset % 3 > 0,
    }  # fmt: skip
    for which, how in story:
        bench.clock.advance(0.4)
        if how == "lost":
            bench.reader.assigned, bench.reader.poll = set, lambda *_: []
            bench.steps(1)
            bench.reader.assigned, bench.reader.poll = assigned, poll
            bench.reader.seek(TP, bench.committed())
        elif how in ways and bench.lanes.held:
            bench.lanes.let_go(which % len(bench.lanes.held), ways[how])
        before = bench.committed()
        bench.steps(1)
        assert before <= bench.committed()
        assert set(range(bench.committed())) <= bench.sink.stored
    for _ in range(120):
        while bench.lanes.held:
            bench.lanes.let_go(0)
        bench.clock.advance(2)
        bench.steps(1)
    assert bench.sink.stored == set(range(30))
    assert bench.committed() == 30


def test_a_long_outage_adds_nothing_to_what_is_held_however_often_it_is_tried_again() -> None:
    bench = Bench(200)
    held = []
    for _ in range(300):
        bench.steps(1)
        while bench.lanes.held:
            bench.lanes.let_go(0, None)
        bench.clock.advance(0.5)
        held.append(bench.indexer.metrics()["held_bytes"])
    assert max(held) <= 4 * 8 * SIZE
    assert held[-1] == held[20]
    for _ in range(900):
        bench.steps(1)
        while bench.lanes.held:
            bench.lanes.let_go(0)
        bench.clock.advance(0.5)
    assert bench.sink.stored == set(range(200))
    assert bench.committed() == 200
