"""What every Journal promises, held against each implementation in `journals.py`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.ports import Gap, TopicPartition, topic_of
from shippers.batch import Batch, Header
from shippers.errors import Unavailable
from tests.contracts.journals import JOURNALS, Bench, batch, number_of, read


@pytest.fixture(params=JOURNALS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with JOURNALS[request.param](tmp_path) as made:
        yield made


def numbers(records: object) -> list[int]:
    return [number_of(record) for record in records]  # type: ignore[attr-defined]


def test_a_record_is_the_batch_byte_for_byte(bench: Bench) -> None:
    sent = batch(7)
    bench.journal.append([sent])
    [record] = read(bench.journal.reader(None, ["business"]), 1)
    assert Batch(Header.decode(record.header), record.body) == sent
    assert record.tp.topic == topic_of(sent.header) == "lastbeat.eu.business"
    assert record.next_offset > record.offset


def test_a_void_batch_is_kept_as_its_header(bench: Bench) -> None:
    void = batch(3).void("evicted")
    bench.journal.append([void])
    [record] = read(bench.journal.reader(None, ["business"]), 1)
    assert Header.decode(record.header).void == "evicted"
    assert record.body == b""


def test_records_of_a_partition_come_in_the_order_of_their_appends(bench: Bench) -> None:
    for start in range(1, 40, 3):
        bench.journal.append([batch(start), batch(start + 1), batch(start + 2)])
    records = read(bench.journal.reader(None, ["business"]), 39)
    assert numbers(records) == list(range(1, 40))
    offsets = [record.offset for record in records]
    assert offsets == sorted(set(offsets))


def test_appending_nothing_is_allowed(bench: Bench) -> None:
    bench.journal.append([])
    assert bench.journal.reader(None, ["business"]).poll(1000, 0) == []


def test_a_reader_sees_its_datasets_of_all_regions_and_no_others(bench: Bench) -> None:
    bench.journal.append([batch(1), batch(2, region="cn"), batch(3, dataset="heartbeat")])
    reader = bench.journal.reader(None, ["business"])
    assert sorted(numbers(read(reader, 2))) == [1, 2]
    assert {tp.topic for tp in reader.assigned()} == {"lastbeat.eu.business", "lastbeat.cn.business"}
    assert reader.poll(1000, 0) == []


def test_topics_that_come_into_being_later_are_found(bench: Bench) -> None:
    reader = bench.journal.reader("g", ["business"])
    assert reader.poll(1000, 0) == []
    bench.journal.append([batch(1)])
    assert numbers(read(reader, 1)) == [1]
    bench.journal.append([batch(2, region="us")])
    assert numbers(read(reader, 1)) == [2]


def test_poll_stops_once_the_bodies_exceed_the_limit_but_gives_at_least_one(bench: Bench) -> None:
    bench.journal.append([batch(n, size=500) for n in range(1, 11)])
    reader = bench.journal.reader(None, ["business"])
    assert len(reader.poll(1, 1)) == 1
    assert len(reader.poll(1100, 1)) == 3
    assert len(read(reader, 6)) == 6


def test_a_busy_partition_does_not_starve_the_others(bench: Bench) -> None:
    bench.journal.append([batch(n, size=900) for n in range(1, 60)] + [batch(99, region="us")])
    reader = bench.journal.reader(None, ["business"])
    first = [number for _ in range(3) for number in numbers(reader.poll(1000, 1))]
    assert 99 in first


def test_poll_returns_when_something_is_appended_meanwhile(bench: Bench) -> None:
    reader = bench.journal.reader(None, ["business"])
    appending = threading.Thread(target=bench.journal.append, args=([batch(5)],))
    appending.start()
    assert numbers(read(reader, 1)) == [5]
    appending.join()


def test_lag_is_zero_exactly_when_read_to_the_end(bench: Bench) -> None:
    bench.journal.append([batch(1), batch(2)])
    reader = bench.journal.reader("g", ["business"])
    [(tp, behind)] = reader.lag().items()
    assert behind > 0
    reader.poll(1, 1)
    assert 0 < reader.lag()[tp] < behind
    reader.poll(1000, 1)
    assert reader.lag() == {tp: 0}


def test_what_was_appended_since_a_time_is_found_without_reading_what_is_older(bench: Bench) -> None:
    for number in range(1, 61):
        bench.journal.append([batch(number, size=400)])
        if bench.clock is not None:
            bench.clock.advance(10)
    reader = bench.journal.reader(None, ["business"])
    assert set(reader.offsets_at(2**33)) == reader.assigned()
    every = read(reader, 60)
    [tp] = {record.tp for record in every}
    for first in (every[0], every[17], every[59]):
        for instance in ("", "pay-01"):
            places = reader.offsets_at(first.appended_at, instance)
            assert places[tp] <= first.offset
            reader.seek(tp, places[tp])
            again = reader.poll(1 << 20, 5)
            while again[-1].offset < every[59].offset:
                again += reader.poll(1 << 20, 5)
            assert numbers(again)[-1] == 60
            assert number_of(first) in numbers(again)
    if every[-1].appended_at > every[0].appended_at:
        assert places[tp] > every[0].offset, "all of it was to be read again"
    assert reader.offsets_at(2**33)[tp] > every[30].offset


def test_ends_lie_behind_all_that_was_appended_and_asking_moves_nothing(bench: Bench) -> None:
    reader = bench.journal.reader(None, ["business"])
    assert reader.ends() == {}
    bench.journal.append([batch(1), batch(2), batch(1, region="us"), batch(1, dataset="console")])
    ends = reader.ends()
    records = read(reader, 3)
    assert {tp.topic for tp in ends} == {"lastbeat.eu.business", "lastbeat.us.business"}
    assert ends == {tp: max(each.next_offset for each in records if each.tp == tp) for tp in ends}
    bench.journal.append([batch(3)])
    eu = TopicPartition("lastbeat.eu.business", 0)
    assert reader.ends()[eu] > ends[eu], "as of now, read or not"
    assert numbers(read(reader, 1)) == [3]
    assert bench.journal.reader("g", ["business"]).ends() == reader.ends()


def test_a_topic_made_just_now_has_its_end_at_once(bench: Bench) -> None:
    reader = bench.journal.reader(None, ["business"])
    bench.journal.append([batch(1)])
    reader.ends()
    bench.journal.append([batch(1, region="us")])
    assert {tp.topic for tp in reader.ends()} == {"lastbeat.eu.business", "lastbeat.us.business"}


def test_a_group_goes_on_where_it_committed(bench: Bench) -> None:
    bench.journal.append([batch(n) for n in (1, 2, 3)])
    reader = bench.journal.reader("indexer", ["business"])
    first, second, _ = read(reader, 3)
    reader.commit({second.tp: second.next_offset})
    reader.close()
    assert numbers(read(bench.journal.reader("indexer", ["business"]), 1)) == [3]
    assert numbers(read(bench.journal.reader("other", ["business"]), 3)) == [1, 2, 3]
    assert numbers(read(bench.journal.reader(None, ["business"]), 3)) == [1, 2, 3]
    assert first.next_offset <= second.offset


def test_a_reader_tells_what_its_group_has_committed(bench: Bench) -> None:
    bench.journal.append([batch(1), batch(2)])
    reader = bench.journal.reader("indexer", ["business"])
    first, _ = read(reader, 2)
    reader.commit({first.tp: first.next_offset})
    assert reader.committed()[first.tp] == first.next_offset
    assert bench.journal.reader("indexer", ["business"]).committed()[first.tp] == first.next_offset
    assert bench.journal.reader(None, ["business"]).committed() == {}


def test_reading_alone_commits_nothing(bench: Bench) -> None:
    bench.journal.append([batch(1)])
    reader = bench.journal.reader("indexer", ["business"])
    read(reader, 1)
    reader.close()
    assert numbers(read(bench.journal.reader("indexer", ["business"]), 1)) == [1]


def test_seek_reads_again_from_any_records_offset(bench: Bench) -> None:
    bench.journal.append([batch(n) for n in (1, 2, 3)])
    reader = bench.journal.reader(None, ["business"])
    records = read(reader, 3)
    reader.seek(records[1].tp, records[1].offset)
    assert numbers(read(reader, 2)) == [2, 3]


def test_seek_before_the_first_poll_and_before_the_topic_is_known(bench: Bench) -> None:
    early = bench.journal.reader(None, ["business"])
    bench.journal.append([batch(n) for n in (1, 2, 3)])
    records = read(bench.journal.reader(None, ["business"]), 3)
    early.seek(records[0].tp, records[2].offset)
    assert numbers(read(early, 1)) == [3]


def test_a_paused_partition_is_silent_stays_assigned_and_goes_on_where_it_was(bench: Bench) -> None:
    bench.journal.append([batch(1), batch(2, region="us")])
    reader = bench.journal.reader(None, ["business"])
    eu = TopicPartition("lastbeat.eu.business", 0)
    reader.pause([eu])
    assert numbers(read(reader, 1)) == [2]
    assert eu in reader.assigned()
    assert reader.poll(1000, 0) == []
    reader.resume([eu])
    assert numbers(read(reader, 1)) == [1]


def test_append_times_come_from_the_journals_clock_and_never_go_back(bench: Bench) -> None:
    if bench.clock is None:
        pytest.skip("this journal's clock can't be set")
    began = bench.clock.time()
    bench.journal.append([batch(1)])
    bench.clock.advance(30)
    bench.journal.append([batch(2)])
    bench.clock.jump(-3600)
    bench.journal.append([batch(3)])
    times = [record.appended_at for record in read(bench.journal.reader(None, ["business"]), 3)]
    assert times[:2] == pytest.approx([began, began + 30], abs=1e-3)
    assert times == sorted(times)


def test_records_lost_before_they_were_read_are_one_gap_and_reading_goes_on_behind_it(bench: Bench) -> None:
    if bench.lose_oldest is None:
        pytest.skip("nothing can be lost here on purpose")
    bench.journal.append([batch(n, size=900) for n in range(1, 21)])
    reader = bench.journal.reader("g", ["business"])
    bench.lose_oldest()
    with pytest.raises(Gap) as caught:
        read(reader, 1)
    gap = caught.value
    assert gap.permanent
    rest = reader.poll(1 << 20, 1)
    rest += reader.poll(1 << 20, 0)
    assert rest[0].offset == gap.found > gap.wanted
    assert numbers(rest) == list(range(numbers(rest)[0], 21))


def test_a_position_that_lies_in_what_was_deleted_is_a_gap_up_to_the_oldest(bench: Bench) -> None:
    if bench.lose_oldest is None:
        pytest.skip("nothing can be lost here on purpose")
    bench.journal.append([batch(n, size=900) for n in range(1, 21)])
    reader = bench.journal.reader(None, ["business"])
    first = read(reader, 20)[0]
    bench.lose_oldest()
    reader = bench.journal.reader(None, ["business"])
    reader.seek(first.tp, first.offset)
    with pytest.raises(Gap) as caught:
        read(reader, 1)
    assert caught.value.found == reader.poll(1, 1)[0].offset


def test_a_position_beyond_the_end_is_told_and_everything_is_read_again(bench: Bench) -> None:
    bench.journal.append([batch(1)])
    reader = bench.journal.reader(None, ["business"])
    [record] = read(reader, 1)
    reader.seek(record.tp, record.next_offset + 1_000_000)
    assert reader.lag()[record.tp] > 0
    with pytest.raises(Gap):
        read(reader, 1)
    assert numbers(read(reader, 1)) == [1]


def test_appends_of_many_threads_all_arrive_each_thread_in_its_order(bench: Bench) -> None:
    def work(thread: int) -> None:
        for n in range(25):
            bench.journal.append([batch(thread * 1000 + n + 1)])

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = numbers(read(bench.journal.reader(None, ["business"]), 150))
    for thread in range(6):
        assert [n for n in got if n // 1000 == thread] == [thread * 1000 + n + 1 for n in range(25)]


def test_a_restart_keeps_records_offsets_and_append_times(bench: Bench) -> None:
    if bench.reopen is None or bench.clock is None:
        pytest.skip("this journal does not survive a restart, or is never restarted")
    bench.journal.append([batch(1), batch(2)])
    reader = bench.journal.reader("g", ["business"])
    first, _ = before = read(reader, 2)
    reader.commit({first.tp: first.next_offset})
    reader.close()
    bench.clock.jump(-500)
    journal = bench.reopen()
    journal.append([batch(3)])
    assert numbers(read(journal.reader("g", ["business"]), 2)) == [2, 3]
    after = read(journal.reader(None, ["business"]), 3)
    assert after[:2] == before
    assert after[2].appended_at >= before[1].appended_at
    assert after[2].offset >= before[1].next_offset


def test_a_closed_journal_takes_nothing_and_closing_twice_is_harmless(bench: Bench) -> None:
    bench.journal.append([batch(1)])
    if bench.reopen is None and type(bench.journal).__name__ == "Both":
        pytest.skip("its writer is closed elsewhere")
    bench.journal.close()
    bench.journal.close()
    with pytest.raises(Unavailable):
        bench.journal.append([batch(2)])
