"""What may be deleted, and that appends are refused rather than anything unread deleted."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.journal.retention import Candidate, choose
from collector.ports import JournalFull, Reader
from shippers.clock import FakeClock
from tests.contracts.journals import batch, number_of, read

MEGABYTE = 1024 * 1024
TOPIC = "lastbeat.eu.business"


def candidate(base: int, end: int, at: float, read_below: int, topic: str = "t") -> Candidate:
    return Candidate(topic, base, end, at, read_below)


def test_read_segments_go_when_they_are_too_old_or_too_much() -> None:
    old, new = candidate(0, 100, 1.0, 200), candidate(100, 200, 9.0, 200)
    assert choose([old, new], 200, 1000, older_than=5.0) == [old]
    assert choose([old, new], 200, 1000, older_than=0.0) == []
    assert choose([old, new], 200, 150, older_than=0.0) == [old]
    assert choose([old, new], 200, 50, older_than=0.0) == [old, new]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50), st.integers(0, 20)), max_size=20),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 300)),
    st.integers(0, 500),
    st.integers(0, 20),
)
def test_nothing_unread_is_chosen_and_no_hole_is_made(
    rows: list[tuple[str, int, int]], below: dict[str, int], max_bytes: int, older_than: int
) -> None:
    ends: dict[str, int] = {}
    times: dict[str, int] = {}
    candidates = []
    for topic, size, at in rows:
        base = ends.get(topic, 0)
        ends[topic], times[topic] = base + size, max(at, times.get(topic, 0))
        candidates.append(candidate(base, base + size, times[topic], below.get(topic, 0), topic))
    chosen = choose(candidates, sum(c.end - c.base for c in candidates), max_bytes, older_than)
    assert all(c.end <= c.read_below for c in chosen)
    for topic in ends:
        mine = [c for c in candidates if c.topic == topic]
        gone = [c for c in mine if c in chosen]
        assert gone == mine[: len(gone)]


def fill(journal, size: int = 50_000) -> int:
    """Append until it is refused; how many were taken."""
    for n in range(1, 1000):
        try:
            journal.append([batch(n, size=size)])
        except JournalFull:
            return n - 1
    raise AssertionError("it is never full")


def commit_all(reader: Reader, count: int) -> None:
    records = read(reader, count)
    reader.commit({records[-1].tp: records[-1].next_offset})


def test_unread_data_makes_it_refuse_and_says_whose_fault_that_is(open_journal) -> None:
    journal = open_journal(max_bytes=MEGABYTE)
    journal.reader("lake", ["business"])
    taken = fill(journal)
    assert 15 <= taken <= 21
    with pytest.raises(JournalFull, match=r"unread by lake.*groups/lake\.json") as caught:
        journal.append([batch(99, size=50_000)])
    assert caught.value.retry_after_s
    assert not caught.value.permanent
    assert len(read(journal.reader(None, ["business"]), taken)) == taken


def test_it_takes_batches_again_once_they_were_read(open_journal) -> None:
    journal = open_journal(max_bytes=MEGABYTE)
    reader = journal.reader("lake", ["business"])
    taken = fill(journal)
    commit_all(reader, taken)
    journal.append([batch(500, size=50_000)])
    assert number_of(read(reader, 1)[0]) == 500


def test_the_slowest_group_holds_everything_back(open_journal) -> None:
    journal = open_journal(max_bytes=MEGABYTE)
    fast, slow = journal.reader("fast", ["business"]), journal.reader("slow", ["business"])
    taken = fill(journal)
    commit_all(fast, taken)
    with pytest.raises(JournalFull, match="unread by slow"):
        journal.append([batch(99, size=50_000)])
    commit_all(slow, taken)
    journal.append([batch(99, size=50_000)])


def test_what_no_group_ever_read_counts_as_unread(open_journal, clock: FakeClock) -> None:
    journal = open_journal(max_bytes=MEGABYTE)
    taken = fill(journal)
    clock.advance(30 * 86_400)
    journal.retain()
    assert len(read(journal.reader(None, ["business"]), taken)) == taken


def test_a_group_holds_back_only_the_datasets_that_it_reads(open_journal) -> None:
    journal = open_journal(max_bytes=MEGABYTE)
    journal.reader("watch", ["heartbeat"])
    lake = journal.reader("lake", ["business"])
    commit_all(lake, fill(journal))
    journal.append([batch(99, size=50_000)])


def test_read_segments_are_deleted_by_age_the_open_one_too(open_journal, path: Path, clock: FakeClock) -> None:
    journal = open_journal(max_age_s=3600)
    reader = journal.reader("lake", ["business"])
    journal.append([batch(n, size=900) for n in range(1, 21)])
    commit_all(reader, 20)
    kept = journal.retain()
    assert kept > 0
    clock.advance(3601)
    assert journal.retain() == 0
    assert list((path / "topics" / TOPIC).glob("*.segment")) == []
    journal.append([batch(21)])
    assert number_of(read(reader, 1)[0]) == 21


def test_unread_segments_stay_however_old(open_journal, clock: FakeClock) -> None:
    journal = open_journal(max_age_s=3600)
    reader = journal.reader("lake", ["business"])
    journal.append([batch(n, size=900) for n in range(1, 21)])
    clock.advance(1_000_000)
    journal.retain()
    assert len(read(reader, 20)) == 20


def test_deleting_goes_on_after_a_restart(open_journal, clock: FakeClock) -> None:
    journal = open_journal(max_age_s=3600)
    reader = journal.reader("lake", ["business"])
    journal.append([batch(n, size=900) for n in range(1, 21)])
    commit_all(reader, 20)
    journal.close()
    again = open_journal(max_age_s=3600)
    assert again.retain() > 0
    clock.advance(3601)
    assert again.retain() == 0


def test_making_room_in_the_midst_of_a_commit_harms_nothing_of_that_commit(open_journal) -> None:
    journal = open_journal(max_bytes=MEGABYTE, segment_bytes=64 * MEGABYTE)
    reader = journal.reader("lake", ["business"])
    commit_all(reader, fill(journal))
    queue = journal._writer._committer._waiting
    appends = [("us", 500, 100, 0), ("eu", 501, 5_000, 1), ("eu", 502, 200_000, 2)]
    with journal._writer._guard:  # the committer waits with the first: so the other two become one commit
        threads = []
        for region, number, size, waiting in appends:
            sent = [batch(number, size=size, region=region)]
            threads.append(threading.Thread(target=journal.append, args=(sent,)))
            threads[-1].start()
            deadline = time.monotonic() + 20
            while len(queue) != waiting:
                assert time.monotonic() < deadline
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert sorted(number_of(record) for record in read(reader, 3)) == [500, 501, 502]


def test_a_topic_that_is_born_after_the_group_is_held_for_it(open_journal) -> None:
    journal = open_journal(max_bytes=MEGABYTE)
    journal.reader("lake", ["business"]).close()
    taken = fill(journal)
    assert len(read(journal.reader("lake", ["business"]), taken)) == taken
