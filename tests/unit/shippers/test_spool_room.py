"""Room in the spool, in whatever order things happen: what is unsent is never gone without a void over its numbers.

Broken on purpose, each made a test here fail: the open file emptied in place of the oldest one, a settled beginning cut
off one frame too far, a file put aside as settled while a batch of it is in hand.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shippers.batch import Batch
from shippers.frames import scan
from shippers.segments import FULL, Segments
from shippers.tally import shared_path
from tests.unit.shippers.test_segments import batch, drain, numbers
from tests.unit.shippers.test_spool import BOOT, Lane

STREAM = "abcd1234.business"


def settled_and_full(folder: Path, limit: int) -> tuple[Segments, int]:
    """A spool whose one file is full, and all in it is settled; and the number to go on with."""
    segments = Segments(folder, limit)
    for first in itertools.count(1):
        segments.append([batch(first, 1, size=1_000)])
        segments.settle(drain(segments))
        if segments.kept_bytes >= limit // 8:
            return segments, first + 1
    raise AssertionError


def test_an_outage_that_begins_with_a_full_settled_file_loses_nothing_to_the_limit(tmp_path):
    segments, start = settled_and_full(tmp_path, 100_000)
    evicted, first = 0, start
    while not evicted:
        evicted += segments.append([batch(first, 1, size=1_000)])
        first += 1
    found = drain(segments)
    assert numbers(found) == list(range(start, first))
    assert sum(one.header.count for one in found if one.header.void) == evicted


def test_an_outage_that_begins_with_a_full_settled_file_loses_nothing_to_those_who_want_room(tmp_path):
    segments, start = settled_and_full(tmp_path, 800_000)
    for first in range(start, start + 20):
        segments.append([batch(first, 1, size=1_000)])
    while segments.forget_kept():
        pass
    assert segments.kept_bytes == 0
    segments.close()
    found = drain(Segments(tmp_path, 800_000, {STREAM: start}))
    assert [(one.header.first, one.header.void) for one in found] == [(n, None) for n in range(start, start + 20)]


def test_what_the_dead_left_takes_no_room_from_what_the_living_have_not_sent(tmp_path):
    limit = 8_000_000
    lane = Lane(tmp_path, limit=limit)
    try:
        while lane.spool.kept_bytes < limit // 8:
            lane.log(100, size=1_000)
            lane.run(1)
        sent = lane.streams.progress()["business"].last
        lane.away()
        lane.log(500, size=1_000)
        lane.run(1)
        dead = Lane(tmp_path, "heir00000001", limit=limit)
        dead.away()
        for _ in range(7):
            dead.log(1_000, size=1_000)
            dead.run(1)
        dead.die()
        lane.run(1, inherit=True)
        assert lane.spool.kept_bytes == 0, "it was asked to make room"
        assert set(range(sent + 1, sent + 501)) <= set(numbers(lane.on_disk()))
        lane.transport.always = None
        lane.transport.batches.clear()
        lane.run(inherit=True)
        own = [one for one in lane.transport.batches if one.header.boot == BOOT]
        assert numbers(own) == list(range(sent + 1, sent + 501))
        assert [one for one in own if one.header.void] == []
    finally:
        for name in (BOOT, "heir00000001"):
            shared_path(name).unlink(missing_ok=True)


class Model:
    """A spool, and what must be true of it: each number that was taken and is not settled is on disk, as it was or,
    if it was said to be given up, under a void."""

    LIMIT = 8_000

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments = Segments(folder, self.LIMIT)
        self.taken: set[int] = set()
        self.settled: set[int] = set()
        self.in_hand: list[Batch] = []
        self.next_number = 1
        self.given_up = 0  # by who had it before the last crash

    def append(self, sizes: list[int]) -> None:
        batches = []
        for size in sizes:
            batches.append(batch(self.next_number, 2, size=size))
            self.next_number += 2
        try:
            self.segments.append(batches)
        except OSError:
            self.next_number -= 2 * len(sizes)
        else:
            self.taken.update(numbers(batches))

    def read(self, count: int) -> None:
        for _ in range(count):
            if (found := self.segments.next()) is None:
                return
            self.in_hand.append(found)

    def settle(self, which: list[int]) -> None:
        chosen = [self.in_hand.pop(at % len(self.in_hand)) for at in which if self.in_hand]
        self.segments.settle(chosen)
        self.settled.update(numbers(chosen))

    def sent(self, count: int) -> None:
        self.read(count)
        self.settle([0] * len(self.in_hand))

    def room(self, count: int) -> None:
        for _ in range(count):
            self.segments.forget_kept()

    def evict(self) -> None:
        self.segments.evict()

    def crash(self) -> None:
        self.segments.close()
        self.given_up += self.segments.given_up
        self.in_hand.clear()
        acked = next(number for number in itertools.count(1) if number not in self.settled)
        self.segments = Segments(self.folder, self.LIMIT, {STREAM: acked})

    def check(self) -> None:
        sound, void = set(), set()
        for path in self.folder.glob("*.seg"):
            batches, damaged = scan(path.read_bytes())
            assert damaged == 0
            sound |= set(numbers([one for one in batches if not one.header.void]))
            void |= set(numbers([one for one in batches if one.header.void]))
        unsent = self.taken - self.settled
        assert unsent <= sound | void, "gone without a word"
        assert len(unsent - sound) <= self.given_up + self.segments.given_up, "given up without a count"
        on_disk = sum(path.stat().st_size for path in self.folder.iterdir())
        assert self.segments.size_bytes + self.segments.kept_bytes == on_disk <= self.LIMIT

    def check_end(self) -> None:
        """All that is not settled comes out, in the hand or from `next`."""
        found = [*self.in_hand, *drain(self.segments)]
        assert self.taken - self.settled <= set(numbers(found))
        assert {one.header.void for one in found} <= {None, FULL}
        assert self.segments.damaged == 0


SIZES = st.lists(st.sampled_from([1, 100, 400, 800]), min_size=1, max_size=3)
APPEND = st.tuples(st.just("append"), SIZES)
SENT = st.tuples(st.just("sent"), st.integers(1, 9))
ROOM_NEEDED = st.tuples(st.just("room"), st.integers(1, 9))
RARE = st.one_of(
    st.tuples(st.just("read"), st.integers(1, 5)),
    st.tuples(st.just("settle"), st.lists(st.integers(0, 9), min_size=1, max_size=5)),
    st.tuples(st.just("evict")),
    st.tuples(st.just("crash")),
)
STEPS = st.one_of(APPEND, SENT, ROOM_NEEDED, APPEND, SENT, RARE)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=20, max_size=60))
def test_whatever_happens_the_unsent_is_never_gone_without_a_void(steps):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)  # it is a process that dies here, not the machine
        model = Model(Path(name))
        for what, *arguments in steps:
            getattr(model, what)(*arguments)
            model.check()
        model.check_end()
        model.crash()
        model.check_end()
        model.segments.close()


def test_what_is_given_up_for_batches_that_are_refused_after_all_is_counted_too(tmp_path):
    lane = Lane(tmp_path, limit=8_000)
    try:
        lane.spool.usable()
        for first in range(1, 10, 2):
            assert lane.spool.keep([batch(first, 2, size=300)])
        assert not lane.spool.keep([batch(11, 2, size=3_900)])
        gone = sum(one.header.count for one in lane.on_disk() if one.header.void == FULL)
        assert gone > 0
        assert lane.spool.voided == {FULL: gone}
        assert lane.spool.events == 10 - gone
    finally:
        lane.die()
        shared_path(BOOT).unlink(missing_ok=True)
