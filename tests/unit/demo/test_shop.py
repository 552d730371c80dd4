"""The shop's services, called as their neighbours call them: over HTTP, in this process, without the waiting."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random

import pytest

from compose.demo import shape
from compose.demo.past import Bump, Burst, Troubles, lines_of_order
from compose.demo.service import Server
from compose.demo.shop import SERVICES, Shop
from compose.demo.topology import CHANNELS, INSTANCES, Instance
from compose.demo.wire import post

NORTH = [instance for instance in INSTANCES if instance.region == "cn-north" or instance.service == "settle"]


@contextmanager
def served(instance: Instance, listening: socket.socket, addresses: dict[str, str]) -> Iterator[None]:
    with Server(listening, Shop(instance, addresses)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def run_shop(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[object]:
    monkeypatch.setattr(shape, "latency_s", lambda *_: 0.0)
    monkeypatch.setattr(shape, "pick_ending", lambda *_: shape.PAID)
    caplog.set_level(logging.INFO)
    with ExitStack() as stack:

        def start(*absent: str) -> str:
            sockets = {i.name: socket.create_server(("127.0.0.1", 0)) for i in NORTH}
            addresses = {name: f"127.0.0.1:{opened.getsockname()[1]}" for name, opened in sockets.items()}
            for instance in NORTH:
                if instance.service in absent:
                    sockets[instance.name].close()
                else:
                    stack.enter_context(served(instance, sockets[instance.name], addresses))
            return addresses["shop-web-north-a"]

        yield start


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    return [(record.name, record.levelname, record.getMessage()) for record in caplog.records]


def test_a_paid_order_leaves_six_lines_with_one_trace_and_one_order(run_shop, caplog) -> None:
    door = run_shop()
    assert post(door, "/", {"channel": "channel-wechat", "amount": 12.5}, 5.0) == {"code": "paid"}
    assert said(caplog) == [
        ("order", "INFO", "order created"),
        ("channel-wechat", "INFO", "charged"),
        ("settle", "INFO", "booked"),
        ("payment", "INFO", "paid"),
        ("order", "INFO", "order paid"),
        ("shop-web", "INFO", "checkout done"),
    ]
    assert len({record.trace_id for record in caplog.records}) == 1
    assert len({record.order_id for record in caplog.records}) == 1
    assert len({record.span_id for record in caplog.records}) == 5
    assert all(record.duration_ms >= 0 for record in caplog.records)


def test_a_dead_channel_is_an_error_with_its_stack_tried_twice_and_the_order_fails(run_shop, caplog) -> None:
    door = run_shop("channel-wechat")
    answer = post(door, "/", {"channel": "channel-wechat", "amount": 1.0}, 5.0)
    assert answer == {"code": "channel_unreachable"}
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.attempt for record in errors] == [1, 2]
    assert all(record.exc_info and issubclass(record.exc_info[0], ConnectionRefusedError) for record in errors)
    assert ("order", "WARNING", "order not paid") in said(caplog)
    assert post(door, "/", {"channel": "channel-card", "amount": 1.0}, 5.0) == {"code": "paid"}


def test_a_channel_that_does_not_answer_in_time_is_tried_again(run_shop, caplog, monkeypatch) -> None:
    door = run_shop()
    monkeypatch.setattr(shape, "CHANNEL_TIMEOUT_S", 0.05)
    slow = iter([0.2])
    monkeypatch.setattr(shape, "latency_s", lambda random, service, *_: next(slow, 0) if service in CHANNELS else 0)
    assert post(door, "/", {"channel": "channel-card", "amount": 1.0}, 5.0) == {"code": "paid"}
    assert said(caplog).count(("payment", "WARNING", shape.TIMED_OUT.words)) == 1


def test_a_refused_payment_says_why(run_shop, caplog, monkeypatch) -> None:
    door = run_shop()
    refusal = shape.Ending("insufficient_funds", "insufficient funds")
    monkeypatch.setattr(shape, "pick_ending", lambda *_: refusal)
    assert post(door, "/", {"channel": "channel-alipay", "amount": 1.0}, 5.0) == {"code": "insufficient_funds"}
    assert [r.reason for r in caplog.records if hasattr(r, "reason")] == ["insufficient_funds"] * 3


def test_the_past_says_what_the_living_say(run_shop, caplog, monkeypatch) -> None:
    """The history is written by template; whoever changes a service's lines has to change the past with them."""
    door = run_shop()
    live: set[tuple[str, str, str, str, str]] = set()
    for ending in (shape.PAID, shape.Ending("declined", "declined by the issuer")):
        monkeypatch.setattr(shape, "pick_ending", lambda *_, ending=ending: ending)
        for channel in CHANNELS:
            post(door, "/", {"channel": channel, "amount": 1.0}, 5.0)
    for r in caplog.records:
        live.add((r.name, r.levelname, r.getMessage(), r.action, r.outcome))
    monkeypatch.setattr(shape, "pick_ending", lambda random, _: random.choice((shape.PAID, ending)))
    random, calm = Random(4), Troubles(Bump(0, 1, "", "", 1), Burst(0, 1, "", "", 0))
    past = {
        (said.who.service, said.level, said.message, said.action, said.outcome)
        for _ in range(300)
        for said in lines_of_order(random, 1e9, "cn-north", calm)
    }
    assert live == past


def test_every_service_has_its_part() -> None:
    assert set(SERVICES) == {instance.service for instance in INSTANCES}


def test_a_neighbour_that_is_gone_is_logged_and_answered_as_a_bad_gateway(run_shop, caplog) -> None:
    door = run_shop("payment")
    with pytest.raises(http.client.HTTPException, match="answered 502"):
        post(door, "/", {"channel": "channel-card", "amount": 1.0}, 5.0)
    failed = [(record.name, record.levelname, record.outcome) for record in caplog.records if record.exc_info]
    assert failed == [("order", "ERROR", "failure"), ("shop-web", "ERROR", "failure")]
