"""/beat/<service>: what a crontab line with curl gets from a heartbeat, and what it can't get wrong in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.gateway.beats import BadQuery, read_beat
from collector.journal.memory import MemoryJournal
from collector.settings import TokenSettings
from shippers.batch import Batch, Header
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.unit.gateway.conftest import Client

Make = Callable[..., Client]


def beats(journal: MemoryJournal) -> list[tuple[Header, dict]]:
    found = []
    for record in journal.records():
        batch = Batch(Header.decode(record.header), record.body)
        batch.check()
        found.append((batch.header, json.loads(batch.body)))
    return found


def test_a_bare_beat_is_a_whole_heartbeat(client: Client, journal: MemoryJournal, clock: FakeClock) -> None:
    answer = client.get("/beat/backup")
    assert answer.status_code == 200
    said = answer.json()
    assert (said["accepted"], said["beat"], said["interval_s"], said["grace_s"]) == (1, 1, 60.0, 30.0)
    [(header, event)] = beats(journal)
    assert (header.service, header.instance, header.region, header.dataset) == (
        "backup",
        "backup",
        "default",
        "heartbeat",
    )
    assert (header.via, header.ingress, header.count, header.age_s) == ("gw-1", "default", 1, 0.0)
    assert list(event)[-1] == "event"
    assert event["event"] == {"dataset": "heartbeat", "stream": header.stream, "sequence": 1}
    assert event["heartbeat"]["state"] == "up"
    assert event["service"] == {"name": "backup", "node": {"name": "backup"}}


def test_everything_can_be_said(client: Client, journal: MemoryJournal) -> None:
    query = "region=cn-east&instance=db%2B1&interval=5m&grace=1h&state=stopping&reason=weekly%20rest"
    answer = client.post(f"/beat/backup?{query}")
    assert answer.status_code == 200
    assert answer.json()["expected_by"] is None
    [(header, event)] = beats(journal)
    assert (header.region, header.instance) == ("cn-east", "db+1")
    assert event["heartbeat"] == {
        "interval_s": 300.0,
        "grace_s": 3600.0,
        "state": "stopping",
        "reason": "weekly rest",
        "uptime_s": 0.0,
        "datasets": {},
    }


def test_the_answer_says_when_the_next_one_is_due(client: Client, clock: FakeClock) -> None:
    said = client.get("/beat/backup?interval=100&grace=20").json()["expected_by"]
    assert datetime.fromisoformat(said).timestamp() == clock.time() + 120


def test_a_source_is_one_boot_with_numbers_without_a_gap(client: Client, journal: MemoryJournal) -> None:
    for _ in range(3):
        client.get("/beat/backup")
    client.get("/beat/backup?instance=other")
    streams: dict[str, list[int]] = {}
    for header, _ in beats(journal):
        streams.setdefault(header.stream, []).append(header.first)
    assert sorted(streams.values()) == [[1], [1, 2, 3]]


def test_a_beat_that_the_journal_refused_is_sent_again_unchanged_with_its_age(
    client: Client, journal: MemoryJournal, clock: FakeClock
) -> None:
    journal.fail_appends(Unavailable("no disk"), Unavailable("no disk"))
    assert client.get("/beat/backup").status_code == 503
    clock.advance(10)
    assert client.get("/beat/backup").status_code == 503
    clock.advance(5)
    answer = client.get("/beat/backup")
    assert (answer.status_code, answer.json()["beat"]) == (200, 3)
    assert [(header.first, header.age_s) for header, _ in beats(journal)] == [(1, 15.0), (2, 5.0), (3, 0.0)]


def test_beats_that_nobody_takes_are_bounded(client: Client, journal: MemoryJournal) -> None:
    journal.fail_appends(*[Unavailable("no disk")] * 130)
    for _ in range(130):
        client.get("/beat/backup")
    assert client.get("/beat/backup").json()["beat"] == 101
    assert [header.first for header, _ in beats(journal)] == list(range(1, 102))


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/beat/back%20up", "service"),
        ("/beat/" + "x" * 129, "service"),
        ("/beat/x?region=EU", "region"),
        ("/beat/x?instance=a%0Ab", "instance"),
        ("/beat/x?interval=0", "interval"),
        ("/beat/x?interval=-5", "interval"),
        ("/beat/x?interval=nan", "interval"),
        ("/beat/x?interval=1e9", "interval"),
        ("/beat/x?interval=99999999d", "interval"),
        ("/beat/x?interval=", "interval"),
        ("/beat/x?interval=٣", "interval"),
        ("/beat/x?grace=soon", "grace"),
        ("/beat/x?state=dead", "state"),
        ("/beat/x?reason=" + "x" * 201, "reason"),
        ("/beat/x?reason=%00", "reason"),
        ("/beat/x?intervall=60", "intervall"),
        ("/beat/x?interval=60&interval=61", "interval"),
    ],
)
def test_a_value_that_cannot_be_is_a_400_that_says_which(
    path: str, parameter: str, client: Client, journal: MemoryJournal
) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert answer.json()["error"]["parameter"] == parameter
    assert journal.records() == []


def test_parameters_in_the_body_are_not_ignored_in_silence(client: Client, journal: MemoryJournal) -> None:
    assert client.post("/beat/x", b"interval=300").status_code == 400
    assert journal.records() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(service=st.text(min_size=1, max_size=20), name=st.text(max_size=10), value=st.text(max_size=20))
def test_no_path_and_no_query_makes_a_500(service: str, name: str, value: str, client: Client) -> None:
    def quoted(text: str) -> str:
        return quote(text.encode("utf-8", "surrogatepass"), safe="")

    known = ["region", "instance", "interval", "grace", "state", "reason", quoted(name)]
    for parameter in known:
        answer = client.get(f"/beat/{quoted(service)}?{parameter}={quoted(value)}")
        assert answer.status_code in (200, 400, 404, 403)


@given(st.text(max_size=12))
def test_durations_are_understood_or_refused(text: str) -> None:
    try:
        beat = read_beat("x", [("interval", text)], "eu")
    except BadQuery as error:
        refused = error.parameter
    else:
        refused = None if 1 <= beat.interval_s <= 31 * 86_400 else "out of bounds"
    assert refused in (None, "interval")


def test_tokens_hold_for_beats_too(client_of: Make, journal: MemoryJournal) -> None:
    client = client_of(tokens=(TokenSettings(token="t", services=("backup",)),))
    assert client.get("/beat/backup").status_code == 401
    assert client.get("/beat/other", headers={"Authorization": "Bearer t"}).json()["error"]["code"] == "service"
    assert client.get("/beat/backup", headers={"Authorization": "Bearer t"}).status_code == 200
    assert len(journal.records()) == 1
