"""The log lane: numbers without gaps, nothing sealed is given up silently, patience with a gateway in trouble."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shippers.batch import Batch
from shippers.buffer import Buffer
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from shippers.event import Line
from shippers.identity import Identity
from shippers.sender import BATCH_EVENTS, Sender
from shippers.streams import Progress, Streams
from shippers.transports.memory import MemoryTransport
from shippers.transports.protocol import Rejected

ME = Identity("payment", "cn-east", "pay-01")


class Lane:
    """A sender and what stands around it, without a thread."""

    def __init__(self, max_events: int = 100_000, outcomes=()) -> None:
        self.clock = FakeClock()
        self.buffer = Buffer(max_events, 100_000_000)
        self.streams = Streams("abcd1234", ME)
        self.transport = MemoryTransport(outcomes)
        self.sender = Sender(self.buffer, self.streams, self.transport, self.clock, chance=lambda: 1.0)

    def log(self, count: int = 1, dataset: str = "business", day: str = "2026-11-21", size: int = 0) -> None:
        for _ in range(count):
            data = b'{"message":"%b","event":{"dataset":"%b"' % (b"x" * size, dataset.encode())
            self.buffer.put(Line(dataset, day, data), logging.ERROR)

    def run(self, seconds: float = 60.0) -> None:
        end = self.clock.monotonic() + seconds
        while True:
            wait = self.sender.step()
            if self.clock.monotonic() + wait >= end:
                return
            self.clock.advance(wait)

    def numbers(self, dataset: str = "business") -> list[int]:
        kept = [batch for batch in self.transport.batches if batch.header.dataset == dataset]
        return [number for batch in kept for number in range(batch.header.first, batch.header.last + 1)]


def test_events_are_sent_after_half_a_second_in_one_batch():
    lane = Lane()
    lane.log(3)
    assert lane.sender.step() == pytest.approx(0.5)
    assert lane.transport.requests == []
    lane.clock.advance(0.5)
    lane.sender.step()
    assert [batch.header.count for batch in lane.transport.batches] == [3]
    assert [event["event"]["sequence"] for event in lane.transport.events()] == [1, 2, 3]
    assert {event["event"]["stream"] for event in lane.transport.events()} == {"abcd1234.business"}
    assert lane.streams.progress() == {"business": Progress(3, 3)}


def test_a_full_batch_does_not_wait():
    lane = Lane()
    lane.log(BATCH_EVENTS)
    lane.sender.step()
    assert [batch.header.count for batch in lane.transport.batches] == [BATCH_EVENTS]


def test_when_behind_several_batches_go_in_one_request():
    lane = Lane()
    lane.log(5_000)
    lane.sender.step()
    assert [len(request) for request in lane.transport.requests] == [20]
    lane.run()
    assert lane.numbers() == list(range(1, 5_001))
    assert len(lane.transport.requests) == 2


def test_batches_and_requests_are_bounded_in_bytes():
    lane = Lane()
    lane.log(300, size=100_000)
    lane.run()
    assert lane.numbers() == list(range(1, 301))
    assert max(len(batch.body) for batch in lane.transport.batches) <= 1_000_000
    assert max(sum(len(batch.body) for batch in request) for request in lane.transport.requests) <= 4_000_000


def test_a_batch_is_of_one_dataset_and_one_day():
    lane = Lane()
    for day in ("2026-11-21", "2026-11-22"):
        lane.log(2, day=day)
        lane.log(1, "console", day=day)
    lane.run()
    assert [(b.header.dataset, b.header.day, b.header.first, b.header.count) for b in lane.transport.batches] == [
        ("business", "2026-11-21", 1, 2),
        ("console", "2026-11-21", 1, 1),
        ("business", "2026-11-22", 3, 2),
        ("console", "2026-11-22", 2, 1),
    ]


def test_little_is_sealed_while_the_gateway_is_away_and_the_rest_is_dropped_with_a_count():
    lane = Lane(max_events=10_000)
    lane.transport.always = Unavailable("away")
    lane.log(30_000)
    lane.run()
    lane.log(30_000)
    lane.run()
    progress, counts = lane.streams.progress()["business"], lane.buffer.counts()
    assert progress == Progress(last=4_000, acked=0)
    assert lane.sender.sealed_events == 4_000
    dropped = counts.dropped["business"]["full"]
    assert progress.last + counts.events + dropped == 60_000
    lane.transport.always = None
    lane.run()
    assert lane.numbers() == list(range(1, 60_000 - dropped + 1))
    assert lane.streams.progress()["business"] == Progress(60_000 - dropped, 60_000 - dropped)


def test_a_retry_is_the_same_batch():
    lane = Lane(outcomes=[Unavailable("away"), Unavailable("away")])
    lane.log(3)
    lane.run()
    assert len(lane.transport.requests) == 3
    assert len(set(lane.transport.requests)) == 1


def test_backoff_doubles_up_to_a_limit_and_begins_anew_after_success():
    lane = Lane(outcomes=[Unavailable("away")] * 9)
    lane.log(BATCH_EVENTS)
    waits = []
    while lane.streams.progress().get("business", Progress()).acked == 0:
        waits.append(lane.sender.step())
        lane.clock.advance(waits[-1])
    assert waits[:9] == pytest.approx([0.25, 0.5, 1, 2, 4, 8, 15, 15, 15])
    lane.transport.outcomes.append(Unavailable("away"))
    lane.log(BATCH_EVENTS)
    assert lane.sender.step() == pytest.approx(0.25)


def test_jitter_halves_the_wait_at_most():
    lane = Lane(outcomes=[Unavailable("away")])
    lane.sender = Sender(lane.buffer, lane.streams, lane.transport, lane.clock, chance=lambda: 0.0)
    lane.log(BATCH_EVENTS)
    assert lane.sender.step() == pytest.approx(0.125)


def test_retry_after_is_honoured():
    lane = Lane(outcomes=[Unavailable("full", retry_after_s=7)])
    lane.log(BATCH_EVENTS)
    assert lane.sender.step() == pytest.approx(7)
    lane.clock.advance(6.9)
    lane.sender.step()
    assert len(lane.transport.requests) == 1
    lane.clock.advance(0.2)
    lane.sender.step()
    assert len(lane.transport.requests) == 2


def test_a_refused_batch_becomes_void_and_the_others_go_on():
    lane = Lane(outcomes=[Rejected("crc", "wrong", index=1)])
    lane.log(600)
    lane.run()
    assert [(batch.header.first, batch.header.void) for batch in lane.transport.batches] == [
        (1, None),
        (201, "refused: crc"),
        (401, None),
    ]
    assert lane.numbers() == list(range(1, 601))
    assert lane.streams.progress()["business"] == Progress(600, 600)
    assert lane.sender.voided == {"crc": 200}


def test_an_answer_that_names_no_batch_is_found_out_one_by_one():
    class OneIsBad(MemoryTransport):
        def send(self, batches, timeout_s):
            if any(batch.body and batch.header.first == 201 for batch in batches):
                raise Rejected("size", "too large")
            super().send(batches, timeout_s)

    lane = Lane()
    lane.transport = OneIsBad()
    lane.sender = Sender(lane.buffer, lane.streams, lane.transport, lane.clock)
    lane.log(600)
    lane.run()
    assert lane.numbers() == list(range(1, 601))
    assert [batch.header.void for batch in lane.transport.batches].count("refused: size") == 1


@pytest.mark.parametrize(
    ("code", "index"), [("token", None), ("token", 0), ("region", 0), ("service", 0), ("version", 0), ("media", None)]
)
def test_when_the_sender_itself_is_refused_everything_is_kept_for_a_person_to_help(code, index):
    lane = Lane()
    lane.transport.always = Rejected(code, "not you", index)
    lane.log(300)
    lane.run(100)
    assert len(lane.transport.requests) <= 5
    assert lane.sender.voided == {}
    lane.transport.always = None
    lane.run()
    assert lane.numbers() == list(range(1, 301))
    assert not any(batch.header.void for batch in lane.transport.batches)


def test_one_refused_dataset_does_not_hold_up_the_others():
    class NoConsole(MemoryTransport):
        open = False

        def send(self, batches, timeout_s):
            for index, batch in enumerate(batches):
                if batch.header.dataset == "console" and not self.open:
                    raise Rejected("dataset", "no console here", index=index)
            super().send(batches, timeout_s)

    lane = Lane()
    lane.transport = NoConsole()
    lane.sender = Sender(lane.buffer, lane.streams, lane.transport, lane.clock, chance=lambda: 1.0)
    lane.log(10, "console")
    lane.log(10)
    lane.run(5)
    lane.log(5, "console")
    lane.log(10)
    lane.run(5)
    assert lane.numbers() == list(range(1, 21))
    assert lane.numbers("console") == []
    assert lane.buffer.counts().dropped == {"console": {"refused": 5}}
    assert lane.streams.progress()["console"] == Progress(last=10, acked=0)
    request = lane.sender.flush()
    lane.sender.step()
    assert request.reached, "a flush doesn't wait for a dataset that is refused"
    lane.clock.advance(30)
    lane.transport.outcomes.append(Unavailable("away"))
    lane.log(1)
    request = lane.sender.flush()
    lane.sender.step()
    assert not request.reached
    lane.transport.open = True
    lane.run(60)
    lane.log(5, "console")
    lane.run(5)
    assert lane.numbers("console") == list(range(1, 16))
    assert lane.streams.progress()["console"] == Progress(15, 15)


def test_a_refused_void_batch_waits_rather_than_vanish():
    lane = Lane()
    lane.transport.always = Rejected("header", "too old", index=0)
    lane.log(3)
    lane.run(300)
    assert len(lane.transport.requests) < 15
    lane.transport.always = None
    lane.run()
    assert [batch.header.void for batch in lane.transport.batches] == ["refused: header"]


def test_an_unexpected_error_of_the_transport_loses_nothing():
    lane = Lane(outcomes=[ZeroDivisionError()])
    lane.log(BATCH_EVENTS + 1)
    with pytest.raises(ZeroDivisionError):
        lane.sender.step()
    lane.run()
    assert lane.numbers() == list(range(1, BATCH_EVENTS + 2))


def test_a_flush_neither_lingers_nor_waits_for_the_backoff_and_ends_with_one_failed_try():
    lane = Lane(outcomes=[Unavailable("away"), Unavailable("away"), None])
    lane.log(3)
    for reached in (False, False, True):
        request = lane.sender.flush()
        lane.sender.step()
        assert request.done.is_set()
        assert request.reached is reached
    assert lane.numbers() == [1, 2, 3]


def test_a_flush_waits_only_for_what_was_logged_before_it():
    lane = Lane()
    lane.log(10_000)
    request = lane.sender.flush()
    lane.log(10_000)
    steps = 0
    while not request.done.is_set():
        lane.sender.step()
        steps += 1
    assert request.reached
    assert steps == 3
    assert lane.streams.progress()["business"].acked == 12_000


outcome = st.one_of(
    st.none(),
    st.builds(Unavailable, st.just("away"), retry_after_s=st.none() | st.floats(0, 5)),
    st.builds(Rejected, st.sampled_from(["crc", "size", "token", "dataset"]), st.just("no"), st.none() | st.just(0)),
)
logged = st.tuples(
    st.integers(1, 400), st.sampled_from(["business", "console"]), st.sampled_from(["2026-11-21", "2026-11-22"])
)


@settings(deadline=None, max_examples=60)
@given(st.lists(logged, max_size=8), st.lists(outcome, max_size=12))
def test_whatever_the_gateway_answers_every_number_arrives_once_or_as_void(bursts, outcomes):
    lane = Lane(outcomes=outcomes)
    emitted: dict[str, int] = {}
    for count, dataset, day in bursts:
        lane.log(count, dataset, day)
        emitted[dataset] = emitted.get(dataset, 0) + count
        lane.run(3)
    lane.run(1_000)
    dropped = lane.buffer.counts().dropped
    for dataset, count in emitted.items():
        sent = count - dropped.get(dataset, {}).get("refused", 0)
        assert lane.numbers(dataset) == list(range(1, sent + 1))
        assert lane.streams.progress().get(dataset, Progress()) == Progress(sent, sent)
    assert lane.buffer.waiting == lane.sender.sealed_events == 0


def test_acked_never_jumps_over_a_gap():
    streams = Streams("abcd1234", ME)
    lines = [Line("business", "2026-11-21", b"{")] * 3
    [first], [second] = streams.seal(lines), streams.seal(lines)
    streams.ack([second])
    assert streams.progress()["business"] == Progress(last=6, acked=0)
    streams.ack([first])
    assert streams.progress()["business"] == Progress(last=6, acked=3)


def test_lines_are_finished_with_their_number():
    lane = Lane()
    lane.log(1)
    lane.run()
    batch: Batch = lane.transport.batches[0]
    assert json.loads(batch.body)["event"] == {"dataset": "business", "stream": "abcd1234.business", "sequence": 1}
