"""Each place where copies may be, by itself: it gives what it has of what is wanted, sound, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from deltalake import DeltaTable

from collector.journal.local import LocalJournal
from collector.journal.memory import MemoryJournal
from collector.ports import Journal, TopicPartition
from collector.resend.journal import JournalSource, spans
from collector.resend.lake import LakeSource
from collector.resend.sealing import Stored, sealed
from collector.resend.wanted import Wanted
from collector.settings import JournalSettings
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock
from tests.lake_reading import ids_in
from tests.unit.lake.events import DAY, NOON, PAY, batch, record, sink_at


def wanted(first: int, last: int, stream: str = PAY, since: float = 0.0, until: float = 2e9, **more: str) -> Wanted:
    return Wanted(stream, ((first, last),), since, until, **more)


def numbers(batches: list[Batch]) -> list[int]:
    return [number for one in batches for number in range(one.header.first, one.header.last + 1)]


@pytest.fixture(params=["memory", "local"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Journal, JournalSource, FakeClock]]:
    clock = FakeClock(NOON)
    with contextlib.ExitStack() as stack:
        journal: Journal
        if request.param == "memory":
            journal = MemoryJournal(clock, partitions=3)
            again: Callable[[], Journal] = partial(NotClosed, journal)
        else:
            path = tmp_path / "journal"
            journal = LocalJournal(path, JournalSettings(segment_bytes=20_000), clock, writable=True)
            again = partial(LocalJournal, path, JournalSettings(), clock, writable=False)
        stack.callback(journal.close)
        yield journal, JournalSource(again, clock), clock


class NotClosed:
    """The one journal in memory, for somebody who will close it."""

    def __init__(self, journal: Journal) -> None:
        self.append, self._inner = journal.append, journal

    def reader(self, *args):
        return self._inner.reader(*args)

    def close(self) -> None:
        pass


def test_the_journal_gives_the_batches_that_were_sealed(world) -> None:
    journal, source, clock = world
    sent = [batch(first, 10) for first in range(1, 2_000, 10)]
    for one in sent:
        journal.append(
            [
                one,
                batch(one.header.first, 10, "otherboot001.business"),
                batch(one.header.first, 1, "paybootid001.console"),
            ]
        )
        clock.advance(1)
    assert list(source.find(wanted(95, 112))) == [sent[9], sent[10], sent[11]]
    assert list(source.find(wanted(95, 112, region="cn-east", instance="pay-01"))) == [sent[9], sent[10], sent[11]]
    assert list(source.find(wanted(95, 112, instance="elsewhere"))) == [sent[9], sent[10], sent[11]], "also elsewhere"
    assert list(source.find(wanted(95, 112, region="cn-west"))) == []
    assert list(source.find(Wanted(PAY, ((5, 5), (1_995, 3_000)), 0, 2e9))) == [sent[0], sent[199]]


def test_only_the_time_in_question_is_read(world) -> None:
    journal, source, clock = world
    for first in range(1, 4_000, 10):
        journal.append([batch(first, 10)])
        clock.advance(10)
    assert numbers(list(source.find(wanted(1, 5_000, since=NOON + 2_000, until=NOON + 2_100)))), "what was in between"
    found = numbers(list(source.find(wanted(1, 5_000, since=NOON + 2_000, until=NOON + 2_100))))
    assert {2_001, 2_100} <= set(found)
    assert max(found) <= 2_200, "what came later"
    assert min(found) > 1_500, "what came long before"


def test_the_newest_is_looked_through_first_and_no_more_than_is_needed() -> None:
    assert list(spans(0, 100)) == [(0, 100)]
    found = list(spans(0, 1e6))
    assert found[0] == (1e6 - 600, 1e6)
    assert found[-1][0] == 0
    assert [end for _, end in found[1:]] == [start for start, _ in found[:-1]], "without a gap"
    assert len(list(spans(0, 86_400 * 400))) < 10
    clock = FakeClock(NOON)
    journal = MemoryJournal(clock)
    for first in range(1, 20_000, 10):
        journal.append([batch(first, 10)])
        clock.advance(10)
    read: list[int] = []

    class Counting(NotClosed):
        def reader(self, *args):
            reader = journal.reader(*args)
            poll = reader.poll

            def counted(*args):
                records = poll(*args)
                read.append(len(records))
                return records

            reader.poll = counted
            return reader

    found = list(JournalSource(partial(Counting, journal), clock).find(wanted(19_951, 19_960, until=clock.time())))
    assert numbers(found) == list(range(19_951, 19_961))
    assert sum(read) < 100
    found = list(JournalSource(partial(Counting, journal), clock).find(wanted(41, 60, until=clock.time())))
    assert sorted(numbers(found)) == list(range(41, 61))


def test_a_batch_that_came_twice_is_given_once_and_a_void_only_where_there_is_no_body(world) -> None:
    journal, source, _ = world
    whole, gone = batch(1, 10), batch(11, 10)
    journal.append([whole.void("spool full"), gone.void("spool full"), whole, whole, gone.void("spool full")])
    found = list(source.find(wanted(1, 20)))
    assert found == [whole, gone.void("spool full")]


def test_broken_copies_canaries_and_foreign_records_are_no_copies(world) -> None:
    journal, source, _ = world
    sound = batch(1, 2)
    broken = Batch(sound.header, sound.body.replace(b"paid", b"PAID"))
    canary = seal(dataclasses.replace(sound.header, canary=True), [b"{}"])
    journal.append([broken, canary])
    if isinstance(journal, MemoryJournal):
        journal.append_foreign(TopicPartition("lastbeat.cn-east.business", 0), b'{"message":"paybootid001.business"}')
    assert list(source.find(wanted(1, 2))) == []
    journal.append([sound])
    assert list(source.find(wanted(1, 2))) == [sound]


def test_a_beat_that_is_sent_again_says_how_old_it_is(world) -> None:
    journal, source, clock = world
    header = Header("paybootid001.heartbeat", 7, 0, "cn-east", "heartbeat", DAY, "payment", "pay-01", 0, age_s=1.5)
    journal.append([seal(header, [b"{}"])])
    clock.advance(100)
    [found] = source.find(wanted(7, 7, "paybootid001.heartbeat"))
    assert found.header.age_s == pytest.approx(101.5)


def test_an_empty_journal_has_nothing(world) -> None:
    _, source, _ = world
    assert list(source.find(wanted(1, 2))) == []


def test_what_was_deleted_from_the_lake_is_given_back_to_it_by_what_it_gave_before(tmp_path: Path) -> None:
    """Also: the writer that believes it has them finds out that somebody else changed the table, and looks again."""
    sink = sink_at(tmp_path)
    sink.write(
        [
            record(0, batch(1, 30)),
            record(1, batch(31, 10, day="2031-01-01")),
            record(0, batch(1, 5, "otherboot001.business", region="eu")),
        ]
    )
    before = ids_in(tmp_path)
    source = LakeSource(tmp_path, FakeClock(NOON))
    found = list(source.find(wanted(1, 100)))
    assert numbers(found) == list(range(1, 41))
    assert [(one.header.day, one.header.replay, one.header.service, one.header.instance) for one in found] == [
        (DAY, True, "payment", "pay-01"), ("2031-01-01", True, "payment", "pay-01"),
    ]  # fmt: skip
    assert [outcome.duplicate for outcome in sink.write([record(2 + at, one) for at, one in enumerate(found)])] == [
        30,
        10,
    ]
    DeltaTable(tmp_path / "business").delete("stream = 'paybootid001.business' AND sequence BETWEEN 11 AND 35")
    assert len(ids_in(tmp_path)) == 20
    outcomes = sink.write([record(10 + at, one) for at, one in enumerate(found)])
    assert [(one.stored, one.duplicate) for one in outcomes] == [(20, 10), (5, 5)]
    assert ids_in(tmp_path) == before


def test_the_lake_gives_what_is_there_of_what_is_wanted_in_runs(tmp_path: Path) -> None:
    sink = sink_at(tmp_path)
    sink.write([record(0, batch(1, 10, bad=(4,))), record(1, batch(15, 450))])
    source = LakeSource(tmp_path, FakeClock(NOON))
    runs = [(one.header.first, one.header.last) for one in source.find(wanted(2, 460))]
    assert runs == [(2, 3), (5, 10), (15, 214), (215, 414), (415, 460)]
    assert list(source.find(wanted(2, 460, region="eu"))) == []
    assert list(LakeSource(tmp_path / "none", FakeClock()).find(wanted(1, 2))) == []


def test_a_run_ends_with_its_day_region_or_sender_and_at_a_batch_s_size() -> None:
    def stored(number: int, **changed: object) -> Stored:
        one = Stored(number, b'{"n":%d}' % number, NOON, "eu", DAY, "pay", "pay-01")
        return dataclasses.replace(one, **changed)

    big = b'{"x":"' + b"x" * 600_000 + b'"}'
    events = [
        stored(1), stored(2), stored(2), stored(3, day="2025-11-22"), stored(4, day="2025-11-22", instance="pay-02"),
        stored(5, line=big), stored(6, line=big), stored(8), stored(9, service="not a name"), stored(10),
    ]  # fmt: skip
    found = list(sealed(PAY, events, NOON))
    assert [(one.header.first, one.header.last) for one in found] == [
        (1, 2),
        (3, 3),
        (4, 4),
        (5, 5),
        (6, 6),
        (8, 8),
        (10, 10),
    ]
    for one in found:
        one.check()
