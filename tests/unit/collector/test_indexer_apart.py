"""Trouble with one index is no other's: what a sink gives back is held apart, bounded, and never committed past."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.indexer import Indexer
from collector.journal.memory import MemoryJournal
from collector.ports import Outcome, Record, TopicPartition
from collector.scripted import Retry, ScriptedSink
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock
from shippers.errors import LastbeatError, Unavailable

REGIONS = ("cn-east", "cn-north", "cn-west")
EAST, NORTH, WEST = (TopicPartition(f"lastbeat.{region}.business", 0) for region in REGIONS)
SIZE = 6_000  # about what one of these batches costs in memory


class OneIndex(ScriptedSink):
    """A sink of which some topics are blocked, or fail as a whole when they are written alone."""

    def __init__(self, *, keeps_positions: bool) -> None:
        super().__init__(keeps_positions=keeps_positions)
        self.blocked: set[TopicPartition] = set()
        self.spares = 0  # every so many of a blocked topic's records are stored all the same, as of another day
        self.error: LastbeatError | None = None
        self.stored_at: list[tuple[TopicPartition, int]] = []

    def write(self, records: Sequence[Record]) -> list[Outcome]:
        held = [
            n for n, record in enumerate(records)
            if record.tp in self.blocked and not (self.spares and record.offset % self.spares == 0)
        ]  # fmt: skip
        if self.error is not None and len(held) == len(records):
            raise self.error
        self.script(Retry(held))
        outcomes = super().write(records)
        self.stored_at += [(one.record.tp, one.record.offset) for one in outcomes if one.stored]
        return outcomes


class StepLater(Executor):
    """Does what it is given when `work` is called: meanwhile more is read."""

    def __init__(self) -> None:
        self._given: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._given.append((future, partial(fn, *args, **kwargs)))
        return future

    def work(self) -> None:
        while self._given:
            future, given = self._given.pop(0)
            try:
                future.set_result(given())
            except LastbeatError as error:
                future.set_exception(error)


class Bench:
    def __init__(self, flush_bytes: int = 10 * SIZE, *, keeps_positions: bool = False) -> None:
        self.clock, self.sink = FakeClock(), OneIndex(keeps_positions=keeps_positions)
        self.writer = StepLater()
        self.journal = MemoryJournal(self.clock)
        self.reader = self.journal.reader("elastic", ["business"])
        self.indexer = Indexer(
            self.reader, self.sink, self.clock, flush_bytes=flush_bytes, flush_s=1.0, writer=self.writer
        )
        self.appended = dict.fromkeys(REGIONS, 0)

    def append(self, region: str, count: int = 1) -> None:
        for _ in range(count):
            self.appended[region] += 1
            self.journal.append([batch(region, self.appended[region])])

    def steps(self, count: int, each_s: float = 0.3) -> None:
        for _ in range(count):
            self.indexer.step()
            self.writer.work()
            self.clock.advance(each_s)
            held = self.indexer.metrics()["held_bytes"]
            assert held <= (4 * 10 + 1) * SIZE, f"{held} bytes are held"  # a poll may go beyond by one record

    def committed(self, tp: TopicPartition) -> int:
        return self.reader.committed().get(tp, 0)

    def stored(self, region: str) -> list[int]:
        ids = [one.rpartition(":") for one in self.sink.events]
        return sorted(int(number) for stream, _, number in ids if stream == f"{boot(region)}.business")


def boot(region: str) -> str:
    return f"boot{region.replace('-', '')}"


def batch(region: str, number: int) -> Batch:
    header = Header(f"{boot(region)}.business", number, 0, region, "business", "2026-11-21", "pay", "pay-01", 0)
    return seal(header, [b'{"@timestamp":"2026-11-21T12:00:00Z","message":"%d%b"}' % (number, b"." * 5_000)])


def test_one_blocked_index_holds_back_its_own_partitions_alone() -> None:
    bench = Bench()
    bench.sink.blocked = {EAST}
    for _ in range(40):
        bench.append("cn-east", 3)
        bench.append("cn-north", 3)
        bench.steps(4)
    bench.steps(10)
    assert bench.stored("cn-north") == list(range(1, 121)), "all of it, though ten times what memory holds is blocked"
    assert bench.committed(NORTH) == 120
    assert (bench.stored("cn-east"), bench.committed(EAST)) == ([], 0)
    assert bench.indexer.counters.pauses == 0
    bench.sink.blocked = set()
    bench.steps(400)
    assert bench.stored("cn-east") == list(range(1, 121))
    assert bench.committed(EAST) == 120
    assert bench.indexer.metrics()["held_batches"] == 0


def test_of_a_partition_held_apart_nothing_more_is_read() -> None:
    bench = Bench()
    bench.sink.blocked = {EAST}
    bench.append("cn-east", 2)
    bench.steps(6)
    bench.append("cn-east", 50)
    bench.append("cn-north", 2)
    bench.steps(40)
    assert {record.offset for write in bench.sink.writes for record in write if record.tp == EAST} == {0, 1}
    assert bench.stored("cn-north") == [1, 2]


def test_what_is_settled_behind_what_is_held_is_committed_with_it() -> None:
    bench = Bench()
    bench.append("cn-east", 4)
    bench.sink.script(Retry([1]))
    bench.indexer.step()
    bench.clock.advance(1.1)
    plain = bench.sink.write
    bench.sink.write = lambda records: ScriptedSink.write(bench.sink, records)  # type: ignore[method-assign]
    bench.indexer.step()
    bench.writer.work()
    bench.indexer.step()
    assert bench.committed(EAST) == 1
    bench.sink.write = plain  # type: ignore[method-assign]
    bench.steps(10)
    assert bench.committed(EAST) == 4
    assert bench.indexer.counters.stored == 4


def test_what_is_held_of_a_journal_that_began_anew_stays_in_memory_however_much_it_is() -> None:
    bench = Bench()
    bench.sink.blocked = {EAST}
    bench.append("cn-east", 12)
    bench.indexer.step()
    bench.append("cn-east", 8)
    bench.indexer.step()
    bench.journal._logs[EAST].records.clear()
    bench.append("cn-east", 3)
    bench.steps(40)
    assert len(bench.indexer.counters.gaps) == 1
    assert bench.indexer.metrics()["apart_batches"] > 10
    assert bench.indexer.counters.given_back == 0
    bench.sink.blocked = set()
    bench.steps(40)
    assert bench.stored("cn-east") == list(range(1, 24))
    assert bench.committed(EAST) == 3


def test_beyond_its_share_of_memory_whole_partitions_are_read_again_later() -> None:
    bench = Bench()
    bench.sink.blocked = {EAST, NORTH}
    bench.append("cn-east", 100)
    bench.append("cn-north", 100)
    bench.steps(60)
    bench.append("cn-west", 30)
    bench.steps(60)
    assert bench.stored("cn-west") == list(range(1, 31))
    assert bench.indexer.counters.given_back > 0
    assert (bench.committed(EAST), bench.committed(NORTH)) == (0, 0)
    bench.sink.blocked = set()
    bench.steps(600)
    assert bench.stored("cn-east") == bench.stored("cn-north") == list(range(1, 101))
    assert (bench.committed(EAST), bench.committed(NORTH), bench.committed(WEST)) == (100, 100, 30)


def test_an_error_of_those_held_apart_stops_nobody_else() -> None:
    bench = Bench()
    bench.sink.blocked = {EAST}
    bench.append("cn-east", 2)
    bench.append("cn-north", 2)
    bench.steps(6)
    bench.sink.error = Unavailable("not allowed to write there")
    for _ in range(10):
        bench.append("cn-north", 1)
        bench.steps(8)
    assert bench.stored("cn-north") == list(range(1, 13))
    bench.sink.blocked = set()
    bench.steps(200)
    assert bench.stored("cn-east") == [1, 2]


def test_a_partition_held_apart_that_goes_to_another_reader_is_forgotten() -> None:
    bench = Bench()
    bench.sink.blocked = {EAST}
    bench.append("cn-east", 2)
    bench.append("cn-north", 1)
    bench.steps(6)
    bench.reader.assigned = lambda: {NORTH}  # type: ignore[method-assign]
    bench.sink.blocked = set()
    bench.steps(40)
    assert bench.stored("cn-east") == []
    assert bench.committed(EAST) == 0
    assert bench.indexer.metrics()["held_batches"] == 0


_ACTION = st.one_of(
    st.tuples(st.just("append"), st.sampled_from(REGIONS), st.integers(1, 25)),
    st.tuples(st.just("block"), st.sampled_from(REGIONS), st.booleans()),
    st.tuples(st.just("fail"), st.sampled_from(REGIONS), st.booleans()),
    st.tuples(st.just("steps"), st.sampled_from(REGIONS), st.integers(1, 30)),
)


def test_what_is_read_behind_something_held_apart_stays_behind_it() -> None:
    """A sink that keeps its own position would else take what it gave back for settled, and lose it."""
    bench = Bench(keeps_positions=True)
    bench.sink.script(Retry([0]))
    bench.append("cn-east")
    bench.indexer.step()
    bench.clock.advance(1.1)
    bench.indexer.step()  # the first is being written
    bench.append("cn-east", 12)  # more than is waited for
    bench.steps(40)
    assert bench.stored("cn-east") == list(range(1, 14))
    assert bench.indexer.counters.duplicate == 0
    assert bench.committed(EAST) == 13


@example(
    [
        *[("append", "cn-east", 1)] * 8,
        ("append", "cn-east", 9),
        ("append", "cn-east", 25),
        ("block", "cn-east", True),
        ("fail", "cn-east", True),
        ("steps", "cn-east", 6),
    ],
    True,
)
@settings(max_examples=60, deadline=None)
@given(st.lists(_ACTION, max_size=25), st.booleans())
def test_whatever_is_blocked_and_when_all_is_stored_once_and_no_commit_passes_what_is_not(
    actions: list[object], keeps_positions: bool
) -> None:
    bench = Bench(keeps_positions=keeps_positions)
    bench.sink.spares = 0 if keeps_positions else 3
    places = dict(zip(REGIONS, (EAST, NORTH, WEST), strict=True))
    for what, region, much in actions:  # type: ignore[attr-defined]
        if what == "append":
            bench.append(region, much)
        elif what == "block":
            (bench.sink.blocked.add if much else bench.sink.blocked.discard)(places[region])
        elif what == "fail":
            bench.sink.error = Unavailable("down") if much else None
        else:
            bench.steps(much)
        for name, tp in places.items():
            assert set(range(1, bench.committed(tp) + 1)) <= set(bench.stored(name))
    bench.sink.blocked, bench.sink.error = set(), None
    bench.steps(900)
    for name, tp in places.items():
        assert bench.stored(name) == list(range(1, bench.appended[name] + 1))
        assert bench.committed(tp) == bench.appended[name]
    assert bench.indexer.metrics()["held_batches"] == 0
