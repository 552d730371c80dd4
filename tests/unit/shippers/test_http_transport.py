"""Over HTTP: durable only when a gateway says so, and every other answer is an error with its decision."""

from __future__ import annotations

import json
import socket
import time

import pytest

from shippers.batch import Batch, Header, seal
from shippers.errors import Misconfigured, Unavailable
from shippers.transports.http import Endpoint, HttpTransport
from shippers.transports.protocol import Rejected


def batch(first: int = 1) -> Batch:
    header = Header("abcd1234.business", first, 0, "cn-east", "business", "2026-11-21", "pay", "pay-01", 0)
    return seal(header, [b'{"a":1}'])


@pytest.fixture
def transport(gateway):
    made = HttpTransport(gateway.url, "secret")
    yield made
    made.close()


def test_batches_arrive_over_one_connection_with_the_token(gateway, transport):
    for first in range(1, 4):
        transport.send([batch(first), batch(first + 10)], 5)
    assert [kept.header.first for kept in gateway.batches] == [1, 11, 2, 12, 3, 13]
    assert len(gateway.connections) == 1
    request = gateway.requests[0]
    assert request["path"] == "/v1/batches"
    assert request["authorization"] == "Bearer secret"
    assert request["content-type"] == "application/vnd.lastbeat.batches"


def test_a_connection_closed_meanwhile_is_opened_anew_at_once(gateway, transport):
    gateway.close_after_each = True
    for first in range(1, 4):
        transport.send([batch(first)], 5)
    assert [kept.header.first for kept in gateway.batches] == [1, 2, 3]
    assert len(gateway.connections) == 3


def error(code: str, index: int | None = None) -> bytes:
    return json.dumps({"error": {"code": code, "message": "no", "index": index, "stream": None}}).encode()


@pytest.mark.parametrize(
    ("status", "answer", "code", "index"),
    [
        (400, error("crc", 1), "crc", 1),
        (413, error("size"), "size", None),
        (401, error("token"), "token", None),
        (403, error("region", 0), "region", 0),
        (400, error("crc", 7), "crc", None),
        (400, error("crc", -1), "crc", None),
        (400, error("crc", True), "crc", None),
    ],
)
def test_a_refusal_names_its_code_and_batch(gateway, transport, status, answer, code, index):
    gateway.answers.append((status, {}, answer))
    with pytest.raises(Rejected) as caught:
        transport.send([batch(1), batch(2)], 5)
    assert (caught.value.code, caught.value.index, caught.value.permanent) == (code, index, True)


@pytest.mark.parametrize(
    ("status", "headers", "answer", "retry_after_s"),
    [
        (503, {"Retry-After": "7"}, error("journal"), 7.0),
        (503, {"Retry-After": "Sat, 21 Nov 2026 12:00:00 GMT"}, error("journal"), None),
        (503, {"Retry-After": "nan"}, b"", None),
        (503, {"Retry-After": "1e9"}, b"", 300.0),
        (429, {"Retry-After": "2"}, error("quota"), 2.0),
        (500, {}, b"oops", None),
        (502, {}, b"<html>", None),
        (404, {}, b"<html>not here</html>", None),
        (302, {"Location": "http://elsewhere"}, b"", None),
        (200, {}, b"<html>welcome to the hotel's network</html>", None),
        (200, {}, b'{"accepted": 1}', None),
        (200, {}, b"[]", None),
        (200, {}, b"[" * 60_000, None),
    ],
)
def test_everything_else_is_kept_and_tried_again(gateway, transport, status, headers, answer, retry_after_s):
    gateway.answers.append((status, headers, answer))
    with pytest.raises(Unavailable) as caught:
        transport.send([batch(1), batch(2)], 5)
    assert caught.value.retry_after_s == retry_after_s
    transport.send([batch(1)], 5)
    assert len(gateway.batches) == 1
    assert len(gateway.connections) == 2, "another gateway behind the same address may be better off"


def test_a_gateway_that_is_not_there_is_unavailable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        transport = HttpTransport(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Unavailable, match="refused"):
            transport.send([batch()], 1)


def test_a_gateway_that_hangs_costs_the_timeout_and_no_more(gateway, transport):
    gateway.before_answer.clear()
    began = time.monotonic()
    with pytest.raises(Unavailable, match="timed out"):
        transport.send([batch()], 0.2)
    assert time.monotonic() - began < 2
    gateway.before_answer.set()
    transport.send([batch()], 5)
    assert len(gateway.connections) == 2, "an answer that comes too late must not be taken for the next one's"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://gw:7411", Endpoint(False, "gw", 7411, "/v1/batches")),
        ("https://gw/", Endpoint(True, "gw", 443, "/v1/batches")),
        ("http://[::1]:80/lastbeat/", Endpoint(False, "::1", 80, "/lastbeat/v1/batches")),
    ],
)
def test_urls_are_understood(url, expected):
    assert Endpoint.parse(url) == expected


@pytest.mark.parametrize(
    "url", ["", "gw:7411", "ftp://gw", "http://", "http://gw:x", "http://gw:99999", "http://u:p@gw", "http://gw?x=1"]
)
def test_a_url_that_cannot_work_is_refused_with_an_example(url):
    with pytest.raises(Misconfigured, match=r"http://gateway\.example:7411"):
        HttpTransport(url)


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "schlüssel"])
def test_a_token_that_no_header_can_carry_is_refused_without_showing_it(token):
    with pytest.raises(Misconfigured) as caught:
        HttpTransport("http://gw", token)
    assert token not in str(caught.value)
