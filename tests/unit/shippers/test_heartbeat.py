"""The heartbeat's lane: at once, on time, with its age; numbers without gaps, nothing piles up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shippers.clock import FakeClock
from shippers.errors import Unavailable
from shippers.event import Renderer
from shippers.heartbeat import KEPT, Heartbeat
from shippers.identity import Identity
from shippers.transports.memory import MemoryTransport
from shippers.transports.protocol import Rejected

ME = Identity("payment", "cn-east", "pay-01")


class Lane:
    def __init__(self, outcomes=(), interval_s: float = 10.0) -> None:
        self.clock = FakeClock()
        self.transport = MemoryTransport(outcomes)
        renderer = Renderer(ME, 1, self.clock, lambda: None)
        vitals = {"datasets": {"business": {"last": 5, "acked": 4, "dropped": {"full": 1}}}, "queue_events": 1}
        self.heart = Heartbeat(
            ME, "abcd1234", renderer, self.transport, self.clock, lambda: vitals, interval_s, 2 * interval_s
        )

    def run(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while True:
            wait = self.heart.step()
            if self.clock.monotonic() + wait >= end:
                self.clock.advance(end - self.clock.monotonic())
                return
            self.clock.advance(wait)

    def numbers(self) -> list[int]:
        spans = [range(batch.header.first, batch.header.last + 1) for batch in self.transport.batches]
        return [number for span in spans for number in span]


def test_the_first_beat_goes_out_at_once_and_says_what_was_agreed():
    lane = Lane()
    lane.heart.step()
    [batch] = lane.transport.batches
    assert (batch.header.stream, batch.header.first, batch.header.count) == ("abcd1234.heartbeat", 1, 1)
    assert batch.header.age_s == 0
    beat = json.loads(batch.body)
    assert beat["heartbeat"] == {
        "interval_s": 10.0,
        "grace_s": 20.0,
        "state": "up",
        "uptime_s": 0.0,
        "datasets": {"business": {"last": 5, "acked": 4, "dropped": {"full": 1}}},
        "queue_events": 1,
    }
    assert beat["event"] == {"dataset": "heartbeat", "stream": "abcd1234.heartbeat", "sequence": 1}
    assert "message" not in beat


def test_beats_keep_their_interval():
    lane = Lane()
    lane.run(60.5)
    assert lane.numbers() == [1, 2, 3, 4, 5, 6, 7]


def test_a_late_thread_does_not_make_up_for_missed_beats():
    lane = Lane()
    lane.heart.step()
    lane.clock.advance(95)
    lane.heart.step()
    assert lane.numbers() == [1, 2]
    assert 0 <= lane.heart.step() <= 10


def test_a_beat_out_of_turn_moves_the_next_one_and_is_limited():
    lane = Lane()
    lane.heart.step()
    lane.clock.advance(0.5)
    lane.heart.ask()
    lane.heart.step()
    assert lane.numbers() == [1]
    lane.clock.advance(2)
    lane.heart.ask()
    assert lane.heart.step() == pytest.approx(10)
    assert lane.numbers() == [1, 2]


def test_an_unsent_beat_is_sent_again_soon_with_its_age():
    lane = Lane(outcomes=[Unavailable("away")])
    assert lane.heart.step() == pytest.approx(10 / 3)
    lane.clock.advance(10 / 3)
    lane.heart.step()
    [batch] = lane.transport.batches
    assert batch.header.age_s == pytest.approx(3.333)
    assert lane.numbers() == [1]


def test_retry_after_never_delays_a_beat_beyond_its_interval():
    lane = Lane(outcomes=[Unavailable("full", retry_after_s=300)])
    assert lane.heart.step() == pytest.approx(10)


def test_after_an_hour_without_a_gateway_a_few_beats_and_one_void_batch_account_for_all():
    lane = Lane()
    lane.transport.always = Unavailable("away")
    lane.run(3_600)
    assert max(len(request) for request in lane.transport.requests) == KEPT
    lane.transport.always = None
    lane.run(4)
    headers = [batch.header for batch in lane.transport.batches]
    assert [header.void for header in headers] == ["superseded", None, None, None]
    assert lane.numbers() == list(range(1, 361 + (headers[-1].last - 360)))
    assert headers[-1].age_s <= 10
    assert [header.age_s for header in headers[1:]] == sorted((h.age_s for h in headers[1:]), reverse=True)


def test_a_refused_beat_becomes_void_but_a_refused_sender_keeps_trying():
    lane = Lane(outcomes=[Rejected("day", "too old", index=0)])
    lane.run(4)
    assert [batch.header.void for batch in lane.transport.batches] == ["refused: day"]
    lane = Lane(outcomes=[Rejected("token", "who?", index=0)] * 3)
    lane.run(21)
    assert lane.numbers() == [1, 2, 3]
    assert not any(batch.header.void for batch in lane.transport.batches)


def test_the_goodbye_takes_along_what_is_unsent():
    lane = Lane(outcomes=[Unavailable("away")])
    lane.heart.step()
    lane.clock.advance(1)
    lane.heart.last_words("stopping", "exit", lane.transport, 1.0)
    assert lane.numbers() == [1, 2]
    said = json.loads(lane.transport.batches[-1].body)["heartbeat"]
    assert (said["state"], said["reason"]) == ("stopping", "exit")
    assert [batch.header.age_s for batch in lane.transport.batches] == [1.0, 0.0]


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.sampled_from([None, Unavailable("x"), Rejected("crc", "x", index=0), Rejected("token", "x", index=0)]),
        max_size=40,
    ),
    st.floats(0, 400),
)
def test_no_number_of_a_beat_is_ever_missing(outcomes, seconds):
    lane = Lane(outcomes)
    lane.run(seconds)
    lane.transport.outcomes.clear()
    lane.heart.last_words("stopping", "exit", lane.transport, 1.0)
    assert sorted(set(lane.numbers())) == list(range(1, lane.heart.number + 1))
