"""A service is asked through State and the gateways' answers; what came of it is noted, and ends the request."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.state.memory import MemoryState
from collector.gateway.resends import Resends
from collector.ledger.intervals import IntervalSet
from collector.ports import Table
from collector.resend import requests
from collector.resend.requests import LASTS_S, Request, from_doc, to_doc
from collector.resend.spool import SpoolSource
from collector.resend.wanted import Asked, Wanted
from shippers.batch import Batch
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.unit.lake.events import PAY, batch

CONSOLE = "paybootid001.console"
HEIR = "heirbootid01.business"


class World:
    def __init__(self) -> None:
        self.clock, self.state = FakeClock(), MemoryState()
        self.spool, self.gateway = SpoolSource(self.state, self.clock), Resends(self.state, self.clock)

    def ask(self, *numbers: tuple[int, int], stream: str = PAY, service: str = "payment") -> Asked:
        return self.spool.ask(Wanted(stream, numbers, 0, 1, "cn-east", service))

    def lacking(self, *asks: tuple[str, int, int]) -> str:
        return json.dumps(asks)


@pytest.fixture
def world() -> World:
    return World()


def test_a_process_is_asked_in_the_answers_to_its_batches_and_beats(world: World) -> None:
    assert world.ask((5, 9), (20, 20)) == Asked(pending=((5, 9), (20, 20)))
    assert not world.gateway.any_open, "nothing is read on the way of requests"
    world.gateway.refresh()
    assert world.gateway.any_open
    wanted = [{"stream": PAY, "first": 5, "last": 9}, {"stream": PAY, "first": 20, "last": 20}]
    assert world.gateway.answer([batch(100, 1, "paybootid001.heartbeat")], None) == wanted
    assert world.gateway.answer([batch(100, 1, CONSOLE), batch(1, 1, CONSOLE)], None) == wanted


def test_of_the_dead_their_service_is_asked_and_nobody_else(world: World) -> None:
    other = batch(1, 1, "shopbootid01.business")
    other = Batch(replace(other.header, service="shop"), other.body)
    world.ask((5, 9))
    world.gateway.refresh()
    assert world.gateway.answer([other], None) == []
    assert world.gateway.answer([batch(1, 1, HEIR)], None), "it may have inherited the spool"
    assert world.gateway.answer([batch(1, 1, HEIR, region="eu")], None) == []
    assert world.ask((5, 9), stream="nobodyknows1.business", service="") == Asked(pending=((5, 9),))
    world.gateway.refresh()
    assert [one["stream"] for one in world.gateway.answer([other], None)] == ["nobodyknows1.business"], "anybody may"
    world.gateway.answer([other], world.lacking(("nobodyknows1.business", 5, 9)))
    world.gateway.refresh()
    assert world.ask((5, 9), stream="nobodyknows1.business", service="").lacking == (), "but is not believed about it"


def test_what_comes_and_what_is_gone_ends_the_request(world: World) -> None:
    world.ask((5, 9), (20, 29))
    world.gateway.refresh()
    world.gateway.answer([batch(1, 6)], None)
    world.gateway.answer([batch(1, 1, HEIR)], world.lacking((PAY, 20, 24), ("shopbootid01.business", 1, 9)))
    world.gateway.refresh()
    assert world.ask((5, 9), (20, 29)) == Asked(((5, 6),), ((20, 24),), ((7, 9), (25, 29)))
    world.gateway.answer([batch(7, 3), batch(25, 5)], None)
    world.gateway.refresh()
    assert not world.gateway.any_open
    assert world.ask((5, 9), (20, 29)) == Asked(((5, 9), (25, 29)), ((20, 24),), ())


def test_a_request_ends_after_an_hour_and_may_be_made_again(world: World) -> None:
    world.ask((5, 9))
    world.clock.advance(LASTS_S + 1)
    world.gateway.refresh()
    assert not world.gateway.any_open
    assert world.ask((5, 9)) == Asked(pending=((5, 9),))
    world.clock.advance(2 * LASTS_S + 1)
    world.ask((1, 1), stream=CONSOLE)
    assert [row.key for row in world.state.scan(Table.RESENDS)] == [CONSOLE]


@pytest.mark.parametrize("said", ["", "{", "[]", "[1]", '[["x"]]', "[[1,2,3]]", "[" * 9_000, '{"a":1}', '"x"'])
def test_a_header_that_makes_no_sense_says_nothing(world: World, said: str) -> None:
    world.ask((5, 9))
    world.gateway.refresh()
    assert world.gateway.answer([batch(1, 1, HEIR)], said)
    world.gateway.refresh()
    assert world.ask((5, 9)).lacking == ()


def test_an_answer_asks_for_a_bounded_number(world: World) -> None:
    world.ask(*[(number, number) for number in range(1, 500, 2)])
    world.gateway.refresh()
    assert len(world.gateway.answer([batch(1_000, 1)], None)) == 20


def test_with_very_much_asked_for_an_answer_takes_out_no_more_than_it_says(world: World) -> None:
    """Counted, not timed: 300 streams of 300 ranges were all walked through for each request."""
    read = 0

    class Counting(tuple):
        __slots__ = ()

        def __iter__(self):
            nonlocal read
            for one in super().__iter__():
                read += 1
                yield one

    ranges = tuple((number, number) for number in range(1, 600, 2))
    found = [Request(f"boot{n:08}.business", "cn-east", "payment", 2e9, Counting(ranges)) for n in range(300)]
    for service in ("payment", ""):
        with pytest.MonkeyPatch.context() as patched:
            asked = [replace(one, service=service) for one in found]
            patched.setattr(requests, "read_open", lambda *_, asked=asked: iter(asked))
            world.gateway.refresh()
        read = 0
        for _ in range(10):
            assert len(world.gateway.answer([batch(1, 1, HEIR)], None)) == 20
            assert len(world.gateway.answer([batch(1, 1, "boot00000299.heartbeat")], None)) == 20
        assert read == 0


def test_nobody_starves_behind_what_is_not_there(world: World) -> None:
    """Of many heirs of a service, and of many ranges, all are asked for in turn, whatever becomes of the first."""
    streams = {f"boot{n:08}.business" for n in range(50)}
    for stream in sorted(streams):
        world.ask(*[(number, number) for number in range(1, 20, 2)], stream=stream)
    asked = set()
    for _ in range(60):
        world.gateway.refresh()
        answer = world.gateway.answer([batch(1, 1, HEIR)], None)
        assert len(answer) == 20
        asked |= {(one["stream"], one["first"]) for one in answer}
    assert asked == {(stream, number) for stream in streams for number in range(1, 20, 2)}


def test_what_its_own_process_is_asked_for_leaves_room_for_the_dead_of_its_service(world: World) -> None:
    world.ask(*[(number, number) for number in range(1, 500, 2)])
    world.ask((5, 9), stream="deadbootid01.business")
    world.gateway.refresh()
    answer = world.gateway.answer([batch(1_000, 1)], None)
    assert len(answer) == 20
    assert "deadbootid01.business" in {one["stream"] for one in answer}


def test_when_state_is_away_the_gateway_goes_on_with_what_it_knew_and_notes_it_later(world: World) -> None:
    world.ask((5, 9))
    world.gateway.refresh()
    world.gateway.answer([batch(5, 2)], None)
    put, world.state.put = world.state.put, lambda *_: (_ for _ in ()).throw(Unavailable("away"))
    with pytest.raises(Unavailable):
        world.gateway.refresh()
    assert world.gateway.answer([batch(1, 1, HEIR)], None)
    world.state.put = put
    world.gateway.refresh()
    assert world.ask((5, 9)) == Asked(((5, 6),), (), ((7, 9),))


numbers = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 8)).map(lambda one: (one[0], one[0] + one[1])), max_size=5
)


@given(numbers, numbers, numbers, numbers)
def test_each_number_is_open_sent_or_lacking_and_nothing_is_forgotten(a, sent, lacking, b) -> None:
    request = Request(PAY, "", "", 0).wanting(a).settled(sent, lacking).wanting(b)
    parts = [set(), set(), set()]
    for part, found in zip((request.open, request.sent, request.lacking), parts, strict=True):
        for first, last in part:
            found.update(range(first, last + 1))
    wanted = {number for first, last in (*a, *b) for number in range(first, last + 1)}
    assert parts[0] | parts[1] | parts[2] == wanted
    assert sum(map(len, parts)) == len(wanted)
    assert from_doc(PAY, json.loads(json.dumps(to_doc(request)))) == request
    assert requests.of(request, [(1, 60)])[0] == tuple(IntervalSet(request.sent))
