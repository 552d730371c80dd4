"""A stranger's JSON becomes an event of ours, whatever it is spelled like; what is none is refused in words."""

from __future__ import annotations

import contextlib
import json
import string
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.dead_letters import why_unreadable
from collector.foreign.event import Foreign, Normaliser
from collector.foreign.parse import Unreadable
from shippers.batch import MAX_LINE_BYTES

APPENDED = 1_795_262_400.0  # 2026-11-21T12:00:00Z
NOON = "2026-11-21T12:00:00.000000Z"


def read(doc: object, dataset: str = "business") -> Foreign:
    body = doc if isinstance(doc, bytes) else json.dumps(doc).encode()
    return Normaliser("cn-east", dataset, "kafka-0").read(body, APPENDED)


def line(doc: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(doc).line + b"}}")
    return found


def at(event: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        event = event.get(name, {})
    return event


@pytest.mark.parametrize(
    ("doc", "path", "value"),
    [
        ({"msg": "paid"}, "message", "paid"),
        ({"log": "paid\n"}, "message", "paid"),
        ({"message": ""}, "message", ""),
        ({"level": "warn"}, "log.level", "WARNING"),
        ({"severity": "Fatal"}, "log.level", "CRITICAL"),
        ({"levelname": "DEBUG"}, "log.level", "DEBUG"),
        ({"log.level": "err"}, "log.level", "ERROR"),
        ({"log": {"level": "notice", "logger": "pay"}}, "log", {"level": "INFO", "logger": "pay"}),
        ({"level": 30}, "log.level", "INFO"),
        ({"level": 3}, "log.level", "ERROR"),
        ({"levelno": 30}, "log.level", "WARNING"),
        ({"severityNumber": 17}, "log.level", "ERROR"),
        ({"service": "payment"}, "service.name", "payment"),
        ({"service": {"name": "payment", "version": "1.2"}}, "service.version", "1.2"),
        ({"service.name": "payment"}, "service.name", "payment"),
        ({"app": "payment", "env": "prod"}, "service.environment", "prod"),
        ({"app": "Payment service!"}, "service.name", "Payment-service"),
        ({"app": "Payment service!"}, "labels", {"service.name": "Payment service!"}),
        ({}, "service", {"name": "unknown", "node": {"name": "kafka-0"}}),
        ({"service.name": "a", "service": "b"}, "labels.service", "b"),
        ({"hostname": "h1"}, "host.name", "h1"),
        ({"hostname": "h1"}, "service.node.name", "h1"),
        ({"instance": "pay-01", "host": "h1"}, "service.node.name", "pay-01"),
        ({"pid": 7}, "process.pid", 7),
        ({"traceId": "ab"}, "trace.id", "ab"),
        ({"trace": {"id": "ab"}}, "trace.id", "ab"),
        ({"span_id": "ab"}, "span.id", "ab"),
        ({"duration_ms": 87}, "event.duration", 87_000_000),
        ({"latencyMs": 1.5}, "event.duration", 1_500_000),
        ({"duration_s": 2}, "event.duration", 2_000_000_000),
        ({"event": {"duration": 12, "action": "pay", "outcome": "success"}}, "event.duration", 12),
        ({"event.action": "pay", "outcome": "ok"}, "event", {"action": "pay", "outcome": "success"}),
        ({"duration": 87}, "measures", {"duration": 87}),
        ({"duration_ms": -5}, "measures", {"duration_ms": -5}),
        ({"error": "boom"}, "error.message", "boom"),
        ({"error": {"type": "E", "stack_trace": "a\nb"}}, "error", {"type": "E", "stack_trace": "a\nb"}),
        ({"order_id": "A1", "amount": 12.5}, "labels", {"order_id": "A1"}),
        ({"order_id": "A1", "amount": 12.5}, "measures", {"amount": 12.5}),
        ({"labels": {"order": 17}, "measures": {"items": 3}}, "labels", {"order": "17"}),
        ({"labels": {"order": 17}, "measures": {"items": 3}}, "measures", {"items": 3}),
        ({"user": {"id": 7, "name": "li"}}, "labels", {"user.name": "li"}),
        ({"user": {"id": 7, "name": "li"}}, "measures", {"user.id": 7}),
        ({"tags": ["a", "b"], "ok": True, "none": None}, "labels", {"tags": '["a","b"]', "ok": "true"}),
        ({"cloud": {"region": "mars", "availability_zone": "z"}}, "cloud.availability_zone", "z"),
        ({"cloud": {"region": "mars"}}, "cloud.region", "cn-east"),
        ({"region": "mars"}, "labels", {"region": "mars"}),
        ({"region": "cn-east"}, "labels", {}),
        ({"event.dataset": "nginx.access"}, "labels", {"event.dataset": "nginx.access"}),
        (b'{"id":9007199254740993}', "labels", {"id": "9007199254740993"}),
        (b'{"id":123456789012345678901234567890}', "labels", {"id": "123456789012345678901234567890"}),
        (b'{"order":{"id":123456789012345678901234}}', "labels", {"order.id": "123456789012345678901234"}),
        (b'{"x":1e400}', "labels", {"x": "inf"}),
        (b'\xef\xbb\xbf{"msg":"bom"}', "message", "bom"),
        (b'{"msg":"\\ud800 alone"}', "message", "? alone"),
    ],
    ids=str,
)  # fmt: skip
def test_every_spelling_ends_in_our_field(doc: object, path: str, value: object) -> None:
    found = at(line(doc), path)
    if path == "event":
        found = {name: one for name, one in found.items() if name != "dataset"}
    assert found == value


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("2026-11-20T23:59:59Z", "2026-11-20T23:59:59.000000Z"),
        ("2026-11-20T23:59:59.123456789Z", "2026-11-20T23:59:59.123456Z"),
        ("2026-11-21T01:00:00+02:00", "2026-11-20T23:00:00.000000Z"),
        ("2026-11-20 23:00:00,5", "2026-11-20T23:00:00.500000Z"),
        (1_795_219_199, "2026-11-20T23:59:59.000000Z"),
        (1_795_219_199.5, "2026-11-20T23:59:59.500000Z"),
        (1_795_219_199_500, "2026-11-20T23:59:59.500000Z"),
        (1_795_219_199_500_000, "2026-11-20T23:59:59.500000Z"),
        (1_795_219_199_500_000_000, "2026-11-20T23:59:59.500000Z"),
        ("1795219199.5", "2026-11-20T23:59:59.500000Z"),
    ],
)
@pytest.mark.parametrize("name", ["@timestamp", "timestamp", "time", "ts"])
def test_a_time_is_read_whatever_its_form_and_the_day_is_the_events(name: str, said: object, text: str) -> None:
    event = read({name: said})
    assert json.loads(event.line + b"}}")["@timestamp"] == text
    assert event.day == "2026-11-20"


@pytest.mark.parametrize(
    "said", ["yesterday", "", "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", 12.3, -1, 1e30, True, [1], "2026-13-01"]
)
def test_what_is_no_time_is_kept_and_the_journals_time_counts(said: object) -> None:
    event = line({"ts": said})
    assert event["@timestamp"] == NOON
    kept = event.get("labels", {}).get("ts", event.get("measures", {}).get("ts"))
    assert kept in (said, json.dumps(said))


def test_times_of_one_second_are_remembered_and_nothing_odd_slips_through() -> None:
    normaliser = Normaliser("cn-east", "business", "kafka-0")
    texts = ["2026-11-20T23:59:59.000000Z", "2026-11-20T23:59:59.1Z", "2026-11-20T23:59:59.٣Z", "2026-11-20T23:59:59.",
             '2026-11-20T23:59:59.1","x":"Z', "2026-11-20T23:59:59.1234567891Z", "2026-11-20T23:59:59.Z"]  # fmt: skip
    for text in texts:
        body = json.dumps({"ts": text}).encode()
        event = json.loads(normaliser.read(body, APPENDED).line + b"}}")
        assert why_unreadable(json.dumps(event).encode()) == ""
        assert event["@timestamp"] in ("2026-11-20T23:59:59.000000Z", "2026-11-20T23:59:59.1Z", NOON,
                                       "2026-11-20T23:59:59.123456Z")  # fmt: skip


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "tombstone"),
        (b"hello", "not JSON"),
        (b'{"a":1', "not JSON"),
        (b'{"a":1}{"b":2}', "not JSON"),
        (b'{"a":NaN}', "NaN is no number"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "not JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_event_is_refused_with_a_reason(body: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(body)


def test_a_record_among_beats_is_no_beat() -> None:
    with pytest.raises(Unreadable, match="/beat/<service>"):
        read({"service": "payment", "heartbeat": {"state": "up"}}, "heartbeat")


@pytest.mark.parametrize(
    "doc",
    [
        {"message": "x" * 1_000_000, "stack_trace": "y" * 1_000_000, "a": "z" * 1_000_000},
        {f"k{n}": "v" * 1_000 for n in range(5_000)},
        {f"k{n}": n for n in range(5_000)},
        {"a" * 100_000: "b"},
        {"deep": json.loads("[" * 500 + "]" * 500)},
        {"deep": json.loads('{"a":' * 500 + "1" + "}" * 500)},
    ],
    ids=["long", "many texts", "many numbers", "a long name", "deep lists", "deep objects"],
)
def test_a_line_is_bounded_whatever_comes(doc: dict[str, Any]) -> None:
    event = read(doc)
    assert len(event.line) < MAX_LINE_BYTES // 4
    assert why_unreadable(event.line + b"}}") == ""


def test_what_was_cut_says_so() -> None:
    assert line({"message": "x" * 20_000})["labels"] == {"lastbeat.trimmed": "true"}


_NAMES = st.one_of(
    st.sampled_from(["time", "ts", "level", "log", "log.level", "service", "service.name", "labels", "labels.a",
                     "measures", "a", "a.b", "event", "error", "duration_ms", "host", "pid", "region", "cloud"]),
    st.text(max_size=8),
)  # fmt: skip
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
              st.text(string.printable, max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(_NAMES, _VALUES, max_size=8))
@example({"a": {"b": 1}, "a.b": 2, "measures": {"a.b": 3}, "labels": {"a.b": "4"}})
def test_any_object_becomes_one_line_that_every_store_takes(doc: dict[str, Any]) -> None:
    body = json.dumps(doc).encode()
    try:
        event = read(body)
    except Unreadable:
        assert b"NaN" in body or b"Infinity" in body  # Python writes them; JSON knows none
        return
    line_ = event.line + b',"stream":"s","sequence":1}}'
    assert b"\n" not in line_
    assert why_unreadable(line_) == ""
    found = json.loads(line_, object_pairs_hook=_once)
    assert found["event"]["sequence"] == 1
    assert all(type(value) is str for value in found.get("labels", {}).values())
    assert all(type(value) in (int, float) for value in found.get("measures", {}).values())
    assert event.day == found["@timestamp"][:10]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_an_event_or_refused(body: bytes) -> None:
    with contextlib.suppress(Unreadable):
        json.loads(read(body).line + b"}}")
