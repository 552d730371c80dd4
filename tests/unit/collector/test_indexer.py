"""The indexer settles before it commits, holds while a sink is down, and never passes what isn't settled."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future

import pytest

from collector.indexer import Indexer
from collector.journal.memory import MemoryJournal
from collector.ports import Outcome, Record, TopicPartition
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock
from shippers.errors import Unavailable

TP = TopicPartition("lastbeat.cn-east.business", 0)
BEATS = TopicPartition("lastbeat.cn-east.heartbeat", 0)


class Sink:
    """Keeps what it is given; `script` holds what the next writes do: an error, or the indices to try again."""

    lanes = 1

    def __init__(self, positions: Mapping[TopicPartition, int] | None = None) -> None:
        self.script: list[Exception | set[int]] = []
        self.written: list[list[Record]] = []
        self._positions = positions

    def write(self, records: Sequence[Record]) -> list[Outcome]:
        step = self.script.pop(0) if self.script else set()
        if isinstance(step, Exception):
            raise step
        self.written.append(list(records))
        return [Outcome(record, stored=1, retry=index in step) for index, record in enumerate(records)]

    def positions(self) -> Mapping[TopicPartition, int] | None:
        return self._positions

    def close(self) -> None:
        pass


def batch(first: int, dataset: str = "business", *, canary: bool = False) -> Batch:
    header = Header(
        stream=f"aaaaaaaa.{dataset}", first=first, count=1, region="cn-east", dataset=dataset, day="2026-11-21",
        service="payment", instance="pay-01", crc=0, canary=canary,
    )  # fmt: skip
    return seal(dataclasses.replace(header), [b'{"message":"%d"}' % first])


class AtOnce(Executor):
    """Runs what it is given before it answers."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        future: Future[object] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  as an executor does
            future.set_exception(error)
        return future


class WhenAsked(Executor):
    """Runs what it is given when somebody waits for its result, and not before."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        future: Future[object] = Future()
        future.result = lambda timeout=None: fn(*args, **kwargs)  # type: ignore[method-assign]
        return future


class Bench:
    """An indexer over a memory journal, with a clock that is moved by hand."""

    def __init__(self, sink: Sink, writer: Executor | None = None) -> None:
        self.clock = FakeClock()
        self.journal = MemoryJournal(self.clock)
        self.sink = sink
        self.reader = self.journal.reader("lake", ["business", "heartbeat"])
        self.indexer = Indexer(self.reader, sink, self.clock, flush_s=1.0, writer=writer or AtOnce())

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.indexer.step()

    def committed(self) -> Mapping[TopicPartition, int]:
        return self.journal.reader("lake", ["business", "heartbeat"]).committed()


def test_writes_together_what_came_within_the_flush_time_and_commits_after_it() -> None:
    bench = Bench(Sink())
    bench.journal.append([batch(1), batch(2)])
    bench.steps(1)
    assert bench.sink.written == []
    assert bench.committed().get(TP, 0) == 0
    bench.clock.advance(1.1)
    bench.steps(1)
    assert [len(records) for records in bench.sink.written] == [2]
    assert bench.committed()[TP] == 2
    assert bench.indexer.counters.stored == 2


def test_a_sink_that_is_down_gets_the_same_records_again_and_nothing_is_committed_meanwhile() -> None:
    bench = Bench(Sink())
    bench.sink.script = [Unavailable("down"), Unavailable("down")]
    bench.journal.append([batch(1)])
    bench.steps(6)
    assert bench.committed().get(TP, 0) == 0
    bench.journal.append([batch(2)])
    bench.clock.advance(60)
    bench.steps(12)
    assert [[record.offset for record in records] for records in bench.sink.written] == [[0], [1]]
    assert bench.committed()[TP] == 2
    assert bench.indexer.counters.pauses == 1


def test_the_offset_never_passes_the_lowest_record_to_be_tried_again() -> None:
    bench = Bench(Sink())
    bench.sink.script = [{1}]
    bench.journal.append([batch(1), batch(2), batch(3)])
    bench.steps(1)
    bench.clock.advance(1.1)
    bench.steps(1)
    assert bench.committed()[TP] == 1
    bench.clock.advance(1.1)
    bench.steps(1)
    assert [record.offset for record in bench.sink.written[1]] == [1]
    bench.journal.append([batch(4)])
    bench.clock.advance(2)
    bench.steps(8)
    assert bench.committed()[TP] == 4


def test_a_sink_that_gives_back_a_copy_of_a_record_loses_nothing() -> None:
    """An outcome is known by its place, not by which object it holds."""
    bench = Bench(Sink())
    write = bench.sink.write
    bench.sink.write = lambda records: [  # type: ignore[method-assign]
        dataclasses.replace(outcome, record=dataclasses.replace(outcome.record, body=b"")) for outcome in write(records)
    ]
    bench.sink.script = [{0}]
    bench.journal.append([batch(1), batch(2)])
    bench.steps(1)
    bench.clock.advance(2)
    bench.steps(2)
    bench.clock.advance(120)
    bench.steps(6)
    assert [[record.offset for record in records] for records in bench.sink.written] == [[0, 1], [0]]
    assert bench.committed()[TP] == 2


def test_a_canary_reaches_no_sink_and_holds_nothing_back() -> None:
    bench = Bench(Sink())
    bench.journal.append([batch(1, "heartbeat", canary=True)])
    bench.clock.advance(11)
    bench.steps(60)
    assert bench.sink.written == []
    assert bench.committed()[BEATS] == 1


def test_a_sink_that_keeps_its_own_position_is_believed_over_the_journal() -> None:
    bench = Bench(Sink(positions={TP: 2}))
    bench.journal.append([batch(1), batch(2), batch(3)])
    bench.steps(1)
    bench.clock.advance(1.1)
    bench.steps(2)
    assert [record.offset for records in bench.sink.written for record in records] == [2]


def test_records_that_are_gone_unread_are_reported_and_those_that_were_settled_are_not() -> None:
    bench = Bench(Sink(positions={TP: 0}))
    bench.journal.append([batch(n) for n in range(1, 6)])
    bench.journal.delete_before(TP, 3)
    bench.steps(2)
    assert bench.indexer.counters.gaps == ["lastbeat.cn-east.business/0: records from 0 to 3 are gone, never read"]
    settled = Bench(Sink(positions={TP: 0}))
    settled.journal.append([batch(n) for n in range(1, 6)])
    settled.reader.commit({TP: 3})
    settled.journal.delete_before(TP, 3)
    settled.steps(2)
    assert settled.indexer.counters.gaps == []


def test_a_commit_that_fails_is_made_up_for_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(Sink())

    def refuse(_: Mapping[TopicPartition, int]) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(bench.reader, "commit", refuse)
        bench.journal.append([batch(1)])
        bench.clock.advance(2)
        bench.steps(10)
    assert len(bench.sink.written) == 1
    bench.journal.append([batch(2)])
    bench.clock.advance(2)
    bench.steps(10)
    assert bench.committed()[TP] == 2


def test_nothing_is_lost_when_all_is_to_be_tried_again_and_there_is_no_room() -> None:
    bench = Bench(Sink())
    bench.indexer = Indexer(bench.reader, bench.sink, bench.clock, flush_bytes=2_000, flush_s=1.0, writer=AtOnce())
    bench.sink.script = [set(range(100))] * 3
    for number in range(1, 31):
        bench.journal.append([batch(number)])
        bench.steps(1)
    bench.clock.advance(10)
    bench.steps(80)
    settled = [record.offset for records in bench.sink.written[3:] for record in records]
    assert sorted(settled) == list(range(30))
    assert bench.committed()[TP] == 30


def test_a_topic_that_is_born_while_the_sink_is_down_loses_nothing() -> None:
    bench = Bench(Sink())
    bench.sink.script = [Unavailable("down")] * 3
    bench.journal.append([batch(1)])
    bench.steps(6)
    bench.journal.append([batch(1, "heartbeat"), batch(2, "heartbeat")])
    bench.steps(200)
    written = [(record.tp, record.offset) for records in bench.sink.written for record in records]
    assert sorted(written) == [(TP, 0), (BEATS, 0), (BEATS, 1)]


def test_what_is_held_is_written_before_it_ends() -> None:
    bench = Bench(Sink())
    bench.journal.append([batch(1)])
    bench.steps(1)
    stop = threading.Event()
    stop.set()
    bench.indexer.run(stop)
    assert bench.committed()[TP] == 1


def test_a_journal_that_hangs_is_asked_to_commit_only_once_before_it_ends() -> None:
    bench = Bench(Sink(), WhenAsked())
    asked: list[Mapping[TopicPartition, int]] = []

    def commit(positions: Mapping[TopicPartition, int]) -> None:
        asked.append(positions)
        raise Unavailable("no answer in 2 s")

    bench.reader.commit = commit
    bench.journal.append([batch(1)])
    bench.steps(1)
    bench.clock.advance(1.1)
    bench.steps(1)
    bench.journal.append([batch(2)])
    bench.steps(1)
    stop = threading.Event()
    stop.set()
    bench.indexer.run(stop)
    assert [len(records) for records in bench.sink.written] == [1, 1]
    assert asked == [{TP: 2}]


def test_a_sink_that_is_slow_is_given_no_more_before_it_ends_and_what_it_took_is_committed() -> None:
    bench = Bench(Sink(), WhenAsked())
    write = bench.sink.write

    def slowly(records: Sequence[Record]) -> list[Outcome]:
        bench.clock.advance(4)
        return write(records)

    bench.sink.write = slowly  # type: ignore[method-assign]
    bench.journal.append([batch(1)])
    bench.steps(1)
    bench.clock.advance(1.1)
    bench.steps(1)
    bench.journal.append([batch(2)])
    bench.steps(1)
    stop = threading.Event()
    stop.set()
    bench.indexer.run(stop)
    assert [[record.offset for record in records] for records in bench.sink.written] == [[0]]
    assert bench.committed() == {TP: 1}


def test_what_a_new_partition_brings_while_the_sink_is_down_is_kept_and_written() -> None:
    bench = Bench(Sink())
    bench.sink.script = [Unavailable("down")]
    bench.journal.append([batch(1)])
    bench.steps(5)
    assert bench.indexer.counters.pauses == 1
    bench.journal.append([batch(1, "heartbeat")])
    bench.reader.pause = lambda tps: None  # it comes with the very poll that brings the partition
    bench.steps(1)
    bench.clock.advance(60)
    bench.steps(8)
    assert sorted(record.tp for records in bench.sink.written for record in records) == [TP, BEATS]
    assert bench.committed() == {TP: 1, BEATS: 1}


def test_nothing_of_a_partition_that_went_to_another_reader_is_written_or_committed() -> None:
    bench = Bench(Sink())
    bench.journal.append([batch(1), batch(1, "heartbeat")])
    bench.steps(1)
    bench.reader.assigned = lambda: {BEATS}
    bench.steps(1)
    bench.clock.advance(2)
    bench.steps(1)
    assert [record.tp for records in bench.sink.written for record in records] == [BEATS]
    assert bench.committed() == {BEATS: 1}


def test_when_all_that_it_holds_goes_to_another_reader_while_the_sink_is_down_it_goes_on_with_the_rest() -> None:
    bench = Bench(Sink())
    bench.sink.script = [Unavailable("down")]
    bench.reader.assigned = lambda: {TP}  # type: ignore[method-assign]
    bench.journal.append([batch(1)])
    bench.steps(5)
    assert bench.indexer.counters.pauses == 1
    assert not bench.sink.written
    bench.reader.assigned = lambda: {BEATS}  # type: ignore[method-assign]
    bench.journal.append([batch(1, "heartbeat")])
    bench.steps(1)
    bench.clock.advance(60)
    bench.steps(8)
    assert [record.tp for written in bench.sink.written for record in written] == [BEATS]
    assert bench.indexer.health()["status"] == "ok"


def test_a_commit_that_fails_is_made_up_for_and_writes_nothing_twice() -> None:
    bench = Bench(Sink())
    commit = bench.reader.commit
    bench.journal.append([batch(1)])
    bench.steps(1)
    bench.reader.commit = _fail
    bench.clock.advance(2)
    bench.steps(1)
    assert bench.committed().get(TP, 0) == 0
    bench.reader.commit = commit
    bench.clock.advance(11)
    bench.steps(2)
    assert bench.committed()[TP] == 1
    assert len(bench.sink.written) == 1


def test_a_topic_that_can_not_be_read_while_others_can_is_one_trouble_and_not_one_a_poll(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(Sink())
    plain, polls = bench.reader.poll, itertools.count()

    def every_other_time(max_bytes: int, timeout_s: float) -> list[Record]:
        if next(polls) % 2:
            raise Unavailable("bad sector")
        return plain(max_bytes, 0.0)

    bench.reader.poll = every_other_time  # type: ignore[method-assign]
    for _ in range(20):
        bench.steps(1)
        bench.clock.advance(0.25)
    assert bench.indexer.health()["status"] == "unread"
    assert len(caplog.messages) == 1
    bench.reader.poll = plain  # type: ignore[method-assign]
    bench.clock.advance(5)
    bench.steps(1)
    assert bench.indexer.health()["status"] == "ok"


def _fail(positions: Mapping[TopicPartition, int]) -> None:
    raise Unavailable("a rebalance is under way")


def test_a_gap_is_reported_even_when_it_cannot_be_asked_what_was_settled() -> None:
    bench = Bench(Sink(positions={TP: 0}))
    bench.journal.append([batch(1)])
    bench.steps(1)
    bench.journal.append([batch(n) for n in range(2, 6)])
    bench.journal.delete_before(TP, 3)
    bench.reader.committed = _unknown
    bench.steps(2)
    assert len(bench.indexer.counters.gaps) == 1


def test_a_journal_that_was_made_anew_and_outgrew_the_sinks_position_is_read_from_its_beginning() -> None:
    bench = Bench(Sink(positions={TP: 2}))
    bench.reader.commit({TP: 0})  # as a group does when it joins
    bench.journal.append([batch(n) for n in range(1, 6)])
    bench.steps(2)
    bench.clock.advance(60)
    bench.steps(2)
    assert [record.offset for records in bench.sink.written for record in records] == [0, 1, 2, 3, 4]


def _unknown() -> Mapping[TopicPartition, int]:
    raise Unavailable("the brokers are away")
