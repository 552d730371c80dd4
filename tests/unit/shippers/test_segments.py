"""The spool's files: in order, bounded, sound after a torn write; numbers are never given up in silence."""

from __future__ import annotations

import dataclasses
import errno
import os
import random

import pytest

from shippers.batch import Batch, Header, seal
from shippers.frames import frame, merge_voids, scan
from shippers.segments import DAMAGED, FULL, Segments

ROOM = 100_000_000


def batch(first: int, count: int = 2, dataset: str = "business", size: int = 10) -> Batch:
    header = Header(f"abcd1234.{dataset}", first, 0, "cn-east", dataset, "2026-11-21", "shop", "shop-1", 0)
    return seal(header, [b'{"n":%d,"x":"%b"}' % (first + index, b"x" * size) for index in range(count)])


def drain(segments: Segments) -> list[Batch]:
    found = []
    while (found_one := segments.next()) is not None:
        found.append(found_one)
    return found


def numbers(batches: list[Batch]) -> list[int]:
    return [number for one in batches for number in range(one.header.first, one.header.last + 1)]


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_appended_is_there_for_the_next_to_open_it_in_order(tmp_path):
    written = [batch(1 + 2 * index) for index in range(50)]
    first = Segments(tmp_path, 30_000)
    for one in written:
        first.append([one])
    first.close()
    assert len(files(tmp_path)) > 2
    assert drain(Segments(tmp_path, 30_000)) == written


def on_disk(folder) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_is_settled_is_only_kept_in_case_and_not_sent_again(tmp_path):
    segments = Segments(tmp_path, ROOM)
    for index in range(50):
        segments.append([batch(1 + 2 * index)])
    taken = drain(segments)
    segments.settle(taken[:49])
    assert (segments.size_bytes > 0, segments.kept_bytes) == (True, 0)
    segments.settle(taken[49:])
    assert (segments.size_bytes, segments.kept_bytes) == (0, on_disk(tmp_path))
    segments.append([batch(101)])
    assert 0 < segments.size_bytes < segments.kept_bytes
    segments.close()
    assert numbers(drain(Segments(tmp_path, ROOM, {"abcd1234.business": 101}))) == [101, 102]


def settled(folder, limit: int, count: int, size: int = 1_000) -> tuple[Segments, list[Batch]]:
    """A spool that has sent `count` batches of one event."""
    segments, every = Segments(folder, limit), []
    for index in range(count):
        every.append(batch(1 + index, 1, size=size))
        segments.append(every[-1:])
        segments.settle(drain(segments))
    return segments, every


def again(segments: Segments, first: int, last: int, stream: str = "abcd1234.business") -> list[Batch]:
    for _ in range(100):
        if (found := segments.again(stream, first, last)) is not None:
            return found
    raise AssertionError("it never ends")


def test_what_is_settled_can_be_had_again_as_it_was(tmp_path):
    segments, every = settled(tmp_path, ROOM, 60)
    assert again(segments, 41, 43) == every[40:43]
    assert again(segments, 1, 1) == every[:1]
    assert again(segments, 61, 99) == []
    assert again(segments, 1, 9, "other123.business") == []
    segments.close()
    assert again(Segments(tmp_path, ROOM), 41, 43) == every[40:43], "also by who finds it"


def test_what_is_settled_stays_within_the_limit_and_the_oldest_goes_first(tmp_path):
    limit = 100_000
    segments, every = settled(tmp_path, limit, 500)
    assert limit / 2 < on_disk(tmp_path) <= limit
    assert segments.kept_bytes == on_disk(tmp_path)
    assert again(segments, 1, 300) == []
    found, at = [], 400
    while got := again(segments, at, 500):
        found += got
        at = got[-1].header.last + 1
    assert found[-1] == every[-1]
    assert len(found) > 50


def test_all_that_is_settled_goes_before_anything_unsent_is_given_up(tmp_path):
    """Room for the unsent is what it would be had nothing ever been kept."""

    def fills_up(folder, before: int) -> int:
        segments, _ = settled(folder, 100_000, before)
        for index in range(1_000):
            if segments.append([batch(10_001 + index, 1, size=1_000)]):
                assert segments.kept_bytes == 0
                return index
        raise AssertionError("it is never full")

    fresh, used = tmp_path / "fresh", tmp_path / "used"
    fresh.mkdir()
    used.mkdir()
    without, behind = fills_up(fresh, 0), fills_up(used, 505)
    assert abs(without - behind) <= 1
    assert without > 70


def test_with_all_in_one_file_settled_there_is_as_much_room_as_before(tmp_path):
    full = [batch(11 + index, 1, size=990_000) for index in range(8)]
    segments, _ = settled(tmp_path, sum(len(frame(one)) for one in full), 10)
    segments.append(full)
    assert numbers(drain(segments)) == list(range(11, 19))


def test_keeping_costs_one_fsync_for_each_file_and_none_beside(tmp_path, monkeypatch):
    calls = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (real(handle), calls.append(handle)))
    settled(tmp_path, 1_000_000, 400)
    files_begun = int(max(path.stem for path in tmp_path.iterdir()))
    assert len(calls) <= 400 + files_begun
    assert files_begun < 8


def test_a_file_goes_once_all_before_it_is_settled(tmp_path):
    segments = Segments(tmp_path, 100_000)
    for index in range(8):
        segments.append([batch(1 + index, 1, size=20_000)] if index < 4 else [batch(1 + index, 1)])
    taken = drain(segments)
    full = files(tmp_path)
    segments.settle(taken[1:])
    assert files(tmp_path) == full, "the first is still to be sent"
    segments.settle(taken[:1])
    assert [name for name in files(tmp_path) if name.endswith(".seg")] == full[-1:]


@pytest.mark.parametrize("seed", range(5))
def test_a_torn_tail_is_recognised_and_all_before_it_is_read(tmp_path, seed, caplog):
    segments = Segments(tmp_path, ROOM)
    segments.append([batch(1), batch(3), batch(5)])
    segments.close()
    [path] = tmp_path.iterdir()
    last = len(frame(batch(5)))
    os.truncate(path, path.stat().st_size - random.Random(seed).randint(1, last - 1))
    again = Segments(tmp_path, ROOM, {"abcd1234.business": 1})
    assert numbers(drain(again)) == [1, 2, 3, 4]
    assert again.damaged == 1
    assert "damaged or torn" in caplog.text


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_frame_becomes_a_void_one_and_the_next_is_found(tmp_path, seed):
    segments = Segments(tmp_path, ROOM)
    segments.append([batch(1), batch(3), batch(5)])
    segments.close()
    [path] = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    hit = len(frame(batch(1))) + random.Random(seed).randrange(len(frame(batch(3))))
    data[hit] ^= 0x55
    path.write_bytes(data)
    found = drain(Segments(tmp_path, ROOM, {"abcd1234.business": 1}))
    assert [(one.header.first, one.header.void) for one in found] == [(1, None), (3, DAMAGED), (5, None)]
    assert numbers(found) == [1, 2, 3, 4, 5, 6]


def test_when_it_is_full_the_oldest_become_void_and_no_number_is_missing(tmp_path):
    limit = 50_000
    segments, evicted = Segments(tmp_path, limit), 0
    segments.append([batch(1, 1)])
    in_hand = segments.next()
    for index in range(200):
        evicted += segments.append([batch(2 + index, 1, size=1_000)])
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit
        assert segments.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    rest = drain(segments)
    assert in_hand is not None
    assert numbers([in_hand, *rest]) == list(range(1, 202))
    voids = [one for one in rest if one.header.void]
    assert {one.header.void for one in voids} == {FULL}
    assert sum(one.header.count for one in voids) == evicted > 100
    assert len(voids) == 1, "one for each run, or they would fill the spool themselves"
    assert [one.header.void for one in rest].index(FULL) <= 10, "the oldest that were not yet in hand"
    assert rest[-1].body


def test_what_is_void_is_still_void_for_the_next_to_open_it(tmp_path):
    segments = Segments(tmp_path, 20_000)
    for index in range(100):
        segments.append([batch(1 + index, 1, size=1_000)])
    segments.close()
    found = drain(Segments(tmp_path, 20_000, {"abcd1234.business": 1}))
    assert numbers(found) == list(range(1, 101))
    assert {one.header.void for one in found} == {None, FULL}


def test_with_nothing_to_give_up_a_full_spool_refuses_and_takes_nothing(tmp_path):
    segments = Segments(tmp_path, 1_000)
    segments.append([batch(1)])
    with pytest.raises(OSError, match="limit of 1000 bytes"):
        segments.append([batch(3, size=2_000)])
    segments.append([batch(3)])
    assert numbers(drain(segments)) == [1, 2, 3, 4]


@pytest.mark.parametrize("broken", ["write", "fsync"])
def test_a_disk_that_fails_takes_nothing_by_half(tmp_path, monkeypatch, broken):
    segments = Segments(tmp_path, ROOM)
    segments.append([batch(1)])
    real = getattr(os, broken)
    calls = iter(range(100))

    def fail(handle, *data):
        if broken == "write" and next(calls) == 0:
            return real(handle, bytes(data[0])[:7])
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, broken, fail)
        with pytest.raises(OSError, match="no space"):
            segments.append([batch(3)])
    segments.append([batch(3), batch(5)])
    assert numbers(drain(segments)) == [1, 2, 3, 4, 5, 6]
    segments.close()
    again = Segments(tmp_path, ROOM)
    assert (numbers(drain(again)), again.damaged) == ([1, 2, 3, 4, 5, 6], 0)


def test_a_file_that_can_not_be_read_costs_its_own_numbers_only(tmp_path):
    segments = Segments(tmp_path, 8 * 150)
    segments.append([batch(1)])
    segments.append([batch(3)])
    segments.append([batch(5)])
    segments.close()
    gone = sorted(tmp_path.iterdir())[1]
    gone.unlink()
    gone.mkdir()
    found = drain(Segments(tmp_path, ROOM))
    assert [(one.header.first, one.header.void) for one in found] == [(1, None), (3, DAMAGED), (5, None)]


def test_voids_of_one_stream_become_one_run_and_keep_their_reasons():
    kept = batch(5).void("refused: crc")
    merged = merge_voids([batch(1), batch(1, dataset="console"), batch(3), kept, batch(9)], FULL)
    assert [(one.header.dataset, one.header.first, one.header.count, one.header.void) for one in merged] == [
        ("business", 1, 4, FULL),
        ("business", 5, 2, "refused: crc"),
        ("business", 9, 2, FULL),
        ("console", 1, 2, FULL),
    ]


def test_a_frame_cut_anywhere_is_never_taken_for_a_batch():
    whole = frame(batch(1))
    assert scan(whole) == ([batch(1)], 0)
    for cut in range(1, len(whole)):
        assert scan(whole[:cut]) == ([], 1)
        assert scan(whole[:cut] + frame(dataclasses.replace(batch(3)))) == ([batch(3)], 1)
