"""The history goes through the door, again where the gateway says "later", never past a refusal."""

from __future__ import annotations

from random import Random

import pytest

from compose.demo.fill import fill
from compose.demo.history import SLICE_S, History
from shippers.batch import Batch
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from shippers.transports.protocol import Rejected

END = 1_763_690_400.0


class Scripted:
    """A transport that raises what it is told to, then takes everything."""

    def __init__(self, *outcomes: Exception) -> None:
        self.outcomes = list(outcomes)
        self.taken: list[Batch] = []

    def send(self, batches: list[Batch], timeout_s: float) -> None:
        if self.outcomes:
            raise self.outcomes.pop(0)
        self.taken += batches

    def close(self) -> None:
        pass


def history() -> History:
    return History(END - 3 * SLICE_S, END, Random(5), "h")


def test_everything_is_sent_once_and_counted() -> None:
    past, transport, calls = history(), Scripted(), []
    fill(past, END, transport, FakeClock(), lambda: calls.append(past.at))
    assert sum(batch.header.count for batch in transport.taken) == sum(past.emitted.values()) > 0
    assert calls == [END - 2 * SLICE_S, END - SLICE_S, END]


def test_a_busy_gateway_is_asked_again_after_the_time_it_names() -> None:
    past, transport, clock = (
        history(),
        Scripted(Unavailable("full", retry_after_s=7.0), Unavailable("full")),
        FakeClock(),
    )
    before = clock.monotonic()
    fill(past, END, transport, clock, lambda: None)
    assert clock.monotonic() - before == pytest.approx(7.5)
    assert sum(batch.header.count for batch in transport.taken) == sum(past.emitted.values())


def test_a_gateway_that_never_takes_it_ends_the_filling() -> None:
    with pytest.raises(Unavailable):
        fill(history(), END, Scripted(*[Unavailable("full")] * 50), FakeClock(), lambda: None)
    with pytest.raises(Rejected):
        fill(history(), END, Scripted(Rejected("region", "not yours")), FakeClock(), lambda: None)


def test_a_moment_in_which_nothing_happened_is_not_sent() -> None:
    class Strict(Scripted):
        def send(self, batches: list[Batch], timeout_s: float) -> None:
            if not batches:
                raise Rejected("frame", "the request has no batch in it")
            super().send(batches, timeout_s)

    past = History(END - 2 * SLICE_S, END, Random(5), "h")
    fill(past, END, Strict(), FakeClock(), lambda: None)
    fill(past, END + 0.001, Strict(), FakeClock(), lambda: None)
    assert past.at == END + 0.001
