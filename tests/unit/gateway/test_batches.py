"""POST /v1/batches: 200 means durable; all or nothing; a refusal says which rule of which batch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.state.memory import MemoryState
from collector.gateway.http import create_app
from collector.journal.memory import MemoryJournal
from collector.ports import JournalFull
from collector.resend.spool import SpoolSource
from collector.resend.wanted import Asked, Wanted
from collector.settings import GatewaySettings
from shippers.batch import MEDIA_TYPE, Batch, Header, pack
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.unit.gateway.conftest import Client, a_batch, frames, post

BATCHES = {"Content-Type": MEDIA_TYPE}
Make = Callable[..., Client]


def headers_in(journal: MemoryJournal) -> list[Header]:
    return [Header.decode(record.header) for record in journal.records()]


def test_batches_are_in_the_journal_when_it_answers_200(client: Client, journal: MemoryJournal) -> None:
    sent = [a_batch(1), a_batch(3, region="cn"), a_batch(5, dataset="console").void("evicted")]
    answer = post(client, frames(*sent))
    assert (answer.status_code, answer.json()) == (200, {"accepted": 3})
    assert sorted(record.body for record in journal.records()) == sorted(batch.body for batch in sent)
    assert {header.via for header in headers_in(journal)} == {"gw-1"}
    assert {header.ingress for header in headers_in(journal)} == {"default"}


def test_what_a_sender_claims_about_the_way_is_replaced(client_of: Make, journal: MemoryJournal) -> None:
    client = client_of(name="gw-7", ingress="public")
    liar = a_batch(via="elsewhere", ingress="nowhere", age_s=3.5)
    assert post(client, frames(liar)).status_code == 200
    [header] = headers_in(journal)
    assert (header.via, header.ingress, header.age_s) == ("gw-7", "public", 3.5)
    assert dataclasses.replace(header, via=None, ingress=None, age_s=None) == a_batch().header


def raw_header(**changes: Any) -> bytes:
    fields = json.loads(a_batch().header.encode()) | changes
    return json.dumps({name: value for name, value in fields.items() if value != "absent"}).encode()


BODY = a_batch().body
BAD = {
    "version": raw_header(v=2),
    "region": raw_header(region="EU West"),
    "dataset": raw_header(dataset="logs", stream="gateway0.logs"),
    "stream": raw_header(stream="x.business"),
    "day": raw_header(day="2026-02-30"),
    "service": raw_header(service="a b"),
    "instance": raw_header(instance=""),
    "first": raw_header(first=0),
    "count": raw_header(count=3),
    "crc": raw_header(crc=1),
    "header": b"{",
    "age": raw_header(age_s=-1),
    "void": raw_header(void="evicted"),
}


@pytest.mark.parametrize("code", BAD)
def test_a_bad_batch_is_named_counted_and_nothing_of_the_request_is_kept(
    code: str, client: Client, journal: MemoryJournal
) -> None:
    answer = post(client, frames(a_batch(1), a_batch(3)) + pack(BAD[code], BODY) + frames(a_batch(7)))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["index"]) == (code, 2)
    assert len(error["message"]) > 10
    assert journal.records() == []
    assert f'lastbeat_gateway_refused_total{{code="{code}"}} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize("bad", ['{"age_s":NaN}', '{"age_s":Infinity}', '{"void":"\\ud800"}', '{"age_s":1e400}'])
def test_values_that_json_has_and_nobody_wants_are_refused(bad: str, client: Client) -> None:
    fields = raw_header()[:-1] + b"," + bad[1:].encode()
    answer = post(client, pack(fields, BODY))
    assert answer.status_code == 400
    assert answer.json()["error"]["index"] == 0


def test_blank_lines_are_refused(client: Client) -> None:
    batch = a_batch(lines=[b'{"message":"a"}', b"  "])
    assert post(client, frames(batch)).json()["error"]["code"] == "blank"


def test_the_refused_batchs_stream_is_named(client: Client) -> None:
    bad = Batch(a_batch().header, a_batch().body.replace(b"a", b"z"))
    assert post(client, frames(bad)).json()["error"]["stream"] == "gateway0.business"


@pytest.mark.parametrize("cut", [1, 7, 8, 40, 200])
def test_a_request_that_was_cut_off_is_refused_whole(cut: int, client: Client, journal: MemoryJournal) -> None:
    answer = post(client, frames(a_batch(1), a_batch(3))[:-cut])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "frame")
    assert answer.json()["error"]["index"] in (0, 1)
    assert journal.records() == []


def test_an_empty_request_is_no_success(client: Client) -> None:
    assert post(client, b"").json()["error"]["code"] == "frame"


@pytest.mark.parametrize(
    "headers", [{"Content_Type": "application/json"}, {"Content_Encoding": "gzip"}], ids=["media type", "encoding"]
)
def test_what_isnt_our_media_type_is_refused(headers: dict[str, str], client: Client) -> None:
    named = {"Content-Type": "application/vnd.lastbeat.batches"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    answer = client.post("/v1/batches", content=frames(a_batch()), headers=named)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "media")


def test_a_request_too_big_is_refused_while_it_is_read(client_of: Make, journal: MemoryJournal) -> None:
    client = client_of(max_request_bytes=1024)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 512
            yield bytes(512)

    answer = client.post("/v1/batches", content=b"x" * 5000, headers=BATCHES)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "size")
    answer = client.post("/v1/batches", content=endless(), headers=BATCHES)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "size")
    assert read <= 2048
    assert journal.records() == []
    assert "lastbeat_gateway_inflight_bytes 0.0" in client.get("/metrics").text


def test_a_body_larger_than_a_batch_may_be_is_413(client: Client) -> None:
    big = a_batch(lines=[b'{"m":"%s"}' % (b"x" * 900_000)] * 10)
    answer = post(client, frames(big))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "size")


@pytest.mark.parametrize("fault", [JournalFull("it is full", retry_after_s=5), Unavailable("no disk")])
def test_a_journal_that_refuses_is_503_with_a_time_and_then_all_is_well_again(
    fault: Unavailable, client: Client, journal: MemoryJournal
) -> None:
    journal.fail_appends(fault)
    answer = post(client, frames(a_batch()))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "journal")
    assert float(answer.headers["Retry-After"]) == (fault.retry_after_s or 1)
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200
    assert client.get("/health").json()["journal"]["accepting"] is False
    assert post(client, frames(a_batch())).status_code == 200
    assert client.get("/ready").status_code == 200
    assert len(journal.records()) == 1


def test_more_bytes_in_memory_than_allowed_is_503_for_big_requests_only(client_of: Make) -> None:
    client = client_of(max_inflight_bytes=1024**2)
    big = frames(*[a_batch(n, lines=[b'{"m":"%s"}' % (b"x" * 90_000)]) for n in range(1, 20)])
    answer = post(client, big)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert post(client, frames(a_batch())).status_code == 200


def test_a_region_too_many_is_refused(client_of: Make, journal: MemoryJournal) -> None:
    client = client_of(regions=("eu",), max_regions=2)
    assert post(client, frames(a_batch(region="cn"))).status_code == 200
    answer = post(client, frames(a_batch(1), a_batch(region="us")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "region")
    assert answer.json()["error"]["index"] == 1
    assert len(journal.records()) == 1


def test_regions_seen_are_known_and_survive_in_the_journal(client_of: Make) -> None:
    assert post(client_of(), frames(a_batch(region="cn"))).status_code == 200
    again = client_of()
    again.app.state.gateway.intake.remember_regions()
    assert again.get("/health").json()["regions"] == ["default", "cn"]


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.integers())
FIELDS = st.sampled_from([*json.loads(a_batch().header.encode()), "void", "age_s", "via", "ingress", "canary", "other"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.dictionaries(FIELDS, VALUES, max_size=3), body=st.just(BODY) | st.binary(max_size=60))
def test_no_header_makes_a_500_or_a_partial_append(
    changes: dict[str, object], body: bytes, client: Client, journal: MemoryJournal
) -> None:
    before = len(journal.records())
    raw = json.dumps(json.loads(a_batch().header.encode()) | changes).encode()
    answer = post(client, frames(a_batch()) + pack(raw, body))
    assert answer.status_code in (200, 400, 403, 413)
    assert len(journal.records()) - before == (2 if answer.status_code == 200 else 0)
    for record in journal.records()[before:]:
        Header.decode(record.header)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_bytes_make_a_500_or_a_partial_append(data: st.DataObject, client: Client, journal: MemoryJournal) -> None:
    before = len(journal.records())
    raw = bytearray(frames(a_batch(1), a_batch(3)))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    answer = post(client, bytes(raw) + data.draw(st.binary(max_size=20)))
    assert answer.status_code in (200, 400, 403, 413)
    assert len(journal.records()) - before == (2 if answer.status_code == 200 else 0)


def test_who_may_have_what_is_missing_is_asked_for_it_in_the_answer(journal: MemoryJournal, clock: FakeClock) -> None:
    state = MemoryState()
    app = create_app(journal, GatewaySettings(), clock, state)
    client = Client(app)
    try:
        wanted = Wanted(a_batch().header.stream, ((3, 9),), 0, 1, "eu", "pay")
        SpoolSource(state, clock).ask(wanted)
        app.state.gateway.resends.refresh()
        asked = [{"stream": wanted.stream, "first": 3, "last": 9}]
        assert post(client, frames(a_batch(dataset="console"))).json() == {"accepted": 1, "resend": asked}
        assert post(client, frames(a_batch(stream="others00.business", service="shop"))).json() == {"accepted": 1}
        said = {**BATCHES, "X-Lastbeat-Lacking": json.dumps([[wanted.stream, 5, 9]])}
        client.post("/v1/batches", content=frames(a_batch(3)), headers=said)
        app.state.gateway.resends.refresh()
        assert SpoolSource(state, clock).ask(wanted) == Asked(((3, 4),), ((5, 9),), ())
        assert post(client, frames(a_batch(dataset="console"))).json() == {"accepted": 1}
    finally:
        client.close()
