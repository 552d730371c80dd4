"""What a gateway asks for again: found, sent when there is nothing else to do, or said to be gone; and never a burden.

Broken on purpose, each made a test here fail: any stream believed to be ours, served again at once, sent though there
is other work, what is gone not told.
"""

from __future__ import annotations

import json

import pytest

from shippers.errors import Unavailable
from shippers.resends import Resender
from shippers.tally import shared_path
from shippers.transports.protocol import Rejected
from shippers.wishes import MOST_ASKS, Ask, Wishes, asks_in
from tests.unit.shippers.test_spool import BOOT, Lane, numbers

STREAM = f"{BOOT}.business"


@pytest.fixture(autouse=True)
def _nothing_left_in_shared_memory():
    yield
    for name in (BOOT, "heir00000001"):
        shared_path(name).unlink(missing_ok=True)


class Asked(Lane):
    """A sender with a spool that has sent `count` events, and the one that serves what is asked for."""

    def __init__(self, root, count: int = 2_000, boot: str = BOOT, *, spool: bool = True, **settings) -> None:
        super().__init__(root, boot, **settings)
        self.wishes = self.transport.wishes = Wishes()
        own, left = (self.spool, self.estates) if spool else (None, None)
        self.resender = Resender(boot, self.wishes, self.transport, self.clock, own, left)
        self.log(count)
        self.run()
        self.transport.batches.clear()
        self.transport.requests.clear()

    def ask(self, first: int, last: int, stream: str = STREAM) -> None:
        self.wishes.hear([{"stream": stream, "first": first, "last": last}])

    def serve(self, seconds: float = 120.0, idle_s: float = 5.0) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            wait = self.resender.step(idle_s)
            assert wait <= idle_s
            self.clock.advance(max(wait, 0.1))


def test_what_was_acknowledged_is_sent_again_as_it_was_sealed(tmp_path):
    lane = Asked(tmp_path)
    lane.ask(350, 801)
    lane.serve()
    assert numbers(lane.transport.batches) == list(range(201, 1_001)), "whole batches"
    assert all(one.header.replay is False for one in lane.transport.batches)
    assert lane.wishes.lacking() == ()
    assert lane.resender.sent == 800


def test_what_is_not_there_any_more_is_told_with_the_next_request(tmp_path):
    lane = Asked(tmp_path, count=200)
    lane.ask(150, 900)
    lane.serve()
    assert numbers(lane.transport.batches) == list(range(1, 201))
    assert lane.wishes.lacking() == (Ask(STREAM, 201, 900),)
    lane.log(1)
    lane.run()
    assert lane.transport.lacking == [Ask(STREAM, 201, 900)]
    assert lane.wishes.lacking() == ()


def test_without_a_spool_nothing_is_there(tmp_path):
    lane = Asked(tmp_path, spool=False)
    lane.ask(1, 10)
    lane.serve()
    assert lane.transport.requests == []
    assert lane.wishes.lacking() == (Ask(STREAM, 1, 10),)


def test_the_heir_sends_again_what_the_dead_had_sent(tmp_path):
    dead = Asked(tmp_path)
    dead.die()
    heir = Asked(tmp_path, 10, "heir00000001")
    heir.run(inherit=True)
    heir.transport.batches.clear()
    heir.ask(1, 200)
    heir.ask(1_999, 2_050)
    heir.serve()
    assert numbers(heir.transport.batches) == [*range(1, 201), *range(1_801, 2_001)]
    assert heir.wishes.lacking() == (Ask(STREAM, 2_001, 2_050),)


def test_streams_of_others_are_none_of_our_business(tmp_path):
    lane = Asked(tmp_path)
    lane.ask(1, 10, "somebody0001.business")
    lane.ask(1, 10, f"{BOOT}x.business")
    lane.ask(1, 10, "../../etc/passwd")
    lane.serve()
    assert (lane.transport.requests, lane.wishes.lacking()) == ([], ())


def test_other_work_comes_first_but_not_for_ever(tmp_path):
    lane = Asked(tmp_path)
    lane.ask(1, 10)
    lane.serve(5, idle_s=0)
    assert lane.transport.requests == []
    lane.serve(10, idle_s=0)
    assert numbers(lane.transport.batches) == list(range(1, 201))


def test_the_same_is_not_sent_twice_in_a_while_however_often_it_is_asked_for(tmp_path):
    lane = Asked(tmp_path)
    for _ in range(30):
        lane.ask(1, 400)
        lane.ask(200, 300)
        lane.serve(1)
    assert numbers(lane.transport.batches) == list(range(1, 401))
    lane.clock.advance(300)
    lane.ask(1, 400)
    lane.serve()
    assert len(lane.transport.batches) == 4


def test_a_hostile_gateway_gets_a_bounded_rate(tmp_path):
    lane = Asked(tmp_path, 4_000)
    began = lane.clock.monotonic()
    for at in range(1, 4_000, 20):
        lane.wishes.hear([{"stream": STREAM, "first": number, "last": number} for number in range(at, at + 20)])
        lane.serve(1)
    seconds = lane.clock.monotonic() - began
    assert len(lane.transport.requests) <= seconds + 1
    assert max(sum(len(one.body) for one in request) for request in lane.transport.requests) <= 1_000_000
    assert len(lane.resender._served) <= 256


@pytest.mark.parametrize(
    "said",
    [
        None, 5, "x", {}, {"stream": STREAM}, [None, 1, []], [{"stream": 5, "first": 1, "last": 2}],
        [{"stream": STREAM, "first": 0, "last": 2}], [{"stream": STREAM, "first": 3, "last": 2}],
        [{"stream": STREAM, "first": True, "last": 2}], [{"stream": STREAM, "first": 1, "last": 2**63}],
        [{"stream": "x" * 10_000, "first": 1, "last": 2}], [{"stream": STREAM, "first": 1.0, "last": 2}],
    ],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_asks_for_nothing(said):
    assert asks_in(said) == []


def test_an_answer_is_believed_up_to_a_bound():
    wishes = Wishes()
    for start in range(1, 1_000, 100):
        wishes.hear([{"stream": STREAM, "first": start + at, "last": start + at} for at in range(100)])
        for at in range(100):
            wishes.lack(Ask(STREAM, start + at, start + at))
    assert len(wishes.take()) <= 32
    assert len(wishes.lacking()) == MOST_ASKS
    assert len(json.dumps(wishes.lacking())) < 4_096


def test_a_gateway_that_is_away_is_tried_again_later_and_one_that_refuses_is_told_nothing_is_there(tmp_path):
    lane = Asked(tmp_path)
    lane.transport.outcomes.extend([Unavailable("away"), Unavailable("away")])
    lane.ask(1, 10)
    lane.serve(60)
    assert numbers(lane.transport.batches) == list(range(1, 201))
    assert len(lane.transport.requests) == 3
    lane.transport.outcomes.append(Rejected("dataset", "no"))
    lane.ask(601, 610)
    lane.serve()
    assert lane.wishes.lacking() == (Ask(STREAM, 601, 610),)


def test_a_disk_that_fails_is_nothing_there(tmp_path):
    lane = Asked(tmp_path)
    for path in (tmp_path / BOOT).glob("0*"):
        path.unlink()
    lane.ask(1, 10)
    lane.serve()
    assert lane.wishes.lacking() == (Ask(STREAM, 1, 10),)
