"""The buffer is bounded in events and bytes, and counts whatever it gives up."""

from __future__ import annotations

import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.buffer import LINE_OVERHEAD, Buffer
from shippers.event import Line


def line(text: str = "x", dataset: str = "business") -> Line:
    return Line(dataset, "2026-11-21", text.encode())


def test_lines_come_out_in_order_and_within_the_limits():
    buffer = Buffer(1_000, 1_000_000)
    for number in range(10):
        assert buffer.put(line(str(number) * 10), logging.INFO) == number + 1
    assert [item.data[:1] for item in buffer.take(3, 1_000)] == [b"0", b"1", b"2"]
    assert [item.data[:1] for item in buffer.take(9, 25)] == [b"3", b"4"]
    assert [item.data[:1] for item in buffer.take(9, 1)] == [b"5"], "one line is always taken, however long"
    assert buffer.waiting == 4


def test_too_many_events_are_dropped_and_counted():
    buffer = Buffer(100, 1_000_000)
    for _ in range(150):
        buffer.put(line(), logging.ERROR)
    counts = buffer.counts()
    assert counts.events == 100
    assert counts.emitted == {"business": 150}
    assert counts.dropped == {"business": {"full": 50}}


def test_too_many_bytes_are_dropped_and_counted():
    buffer = Buffer(10_000, 10 * (1_000 + LINE_OVERHEAD))
    for _ in range(15):
        buffer.put(line("x" * 1_000), logging.ERROR)
    assert buffer.counts().events == 10
    assert buffer.counts().size_bytes == 10 * (1_000 + LINE_OVERHEAD)
    assert buffer.counts().dropped == {"business": {"full": 5}}


def test_the_last_tenth_is_kept_for_warnings():
    buffer = Buffer(100, 1_000_000)
    for _ in range(200):
        buffer.put(line(), logging.INFO)
    assert buffer.waiting == 90
    assert buffer.put(line("bad"), logging.WARNING) == 91


def test_after_closing_everything_is_a_counted_drop():
    buffer = Buffer(100, 1_000_000)
    buffer.put(line(), logging.INFO)
    buffer.put(line(dataset="console"), logging.INFO)
    assert buffer.close("stopped") == 2
    assert buffer.put(line(), logging.ERROR) == 0
    assert buffer.counts().dropped == {"business": {"stopped": 2}, "console": {"stopped": 1}}
    assert buffer.counts().size_bytes == 0


class Reentrant(bytes):
    """Logs while the buffer's lock is held by this thread, as a signal handler or a finaliser may."""

    buffer: Buffer
    times = 1

    def __len__(self) -> int:
        if self.buffer is not None:
            buffer, Reentrant.buffer = self.buffer, None
            for _ in range(self.times):
                buffer.put(line("inner"), logging.INFO)
        return 5


def test_a_put_within_a_put_neither_hangs_nor_is_lost():
    buffer = Buffer(100, 1_000_000)
    Reentrant.buffer = buffer
    buffer.put(Line("business", "2026-11-21", Reentrant(b"outer")), logging.INFO)
    assert [bytes(item.data) for item in buffer.take(10, 1_000)] == [b"outer", b"inner"]
    assert buffer.counts().emitted == {"business": 2}
    assert buffer.counts().size_bytes == 0


def test_a_flood_within_a_put_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch):
    buffer = Buffer(10_000, 10_000_000)
    Reentrant.buffer = buffer
    monkeypatch.setattr(Reentrant, "times", 5_000)
    buffer.put(Line("business", "2026-11-21", Reentrant(b"outer")), logging.INFO)
    counts = buffer.counts()
    assert counts.emitted == {"business": 5_001}
    assert counts.events + counts.dropped["business"]["full"] == 5_001
    assert counts.dropped["business"]["full"] > 0


@given(st.lists(st.tuples(st.sampled_from(["put", "take"]), st.integers(1, 400)), max_size=60))
def test_nothing_leaves_the_books(steps):
    buffer, taken = Buffer(20, 5_000), 0
    for what, size in steps:
        if what == "put":
            buffer.put(line("x" * size), logging.ERROR)
        else:
            taken += len(buffer.take(3, size))
        counts = buffer.counts()
        dropped = sum(counts.dropped.get("business", {}).values())
        assert sum(counts.emitted.values()) == taken + counts.events + dropped
        assert counts.size_bytes <= 5_000
        assert counts.events <= 20
        assert counts.events == 0 or counts.size_bytes > 0


def test_many_threads_lose_nothing():
    buffer, taken = Buffer(500, 1_000_000), []
    done = threading.Event()

    def put() -> None:
        for _ in range(5_000):
            buffer.put(line(), logging.ERROR)

    def take() -> None:
        while not done.is_set() or buffer.waiting:
            taken.extend(buffer.take(200, 10_000))

    taker = threading.Thread(target=take)
    putters = [threading.Thread(target=put) for _ in range(4)]
    for thread in (taker, *putters):
        thread.start()
    for thread in putters:
        thread.join()
    done.set()
    taker.join()
    counts = buffer.counts()
    assert counts.emitted["business"] == 20_000
    assert len(taken) == buffer.kept == 20_000 - counts.dropped.get("business", {}).get("full", 0)
