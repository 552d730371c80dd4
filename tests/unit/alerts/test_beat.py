"""Reading records: what is sound is read, what is hostile is refused or clamped, nothing raises anything else."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.beat import MAX_INTERVAL_S, MIN_INTERVAL_S, BadBeat, Beat, Canary, read
from collector.ports import Record, TopicPartition
from shippers.batch import Batch
from tests.unit.alerts.world import beat, canary

TP = TopicPartition("lastbeat.cn-east.heartbeat", 0)


def record(header: bytes, body: bytes) -> Record:
    return Record(TP, 7, 8, 1_700_000_000.0, header, body)


def of(batch: Batch, **fields: Any) -> Record:
    header = {**json.loads(batch.header.encode()), **fields}
    return record(json.dumps(header).encode(), batch.body)


def read_beat(batch: Batch, **fields: Any) -> Beat:
    said = read(of(batch, **fields))
    assert isinstance(said, Beat)
    return said


def test_a_beat_is_read_with_what_it_says() -> None:
    said = read_beat(
        beat(
            "pay", 41, zone="cn-east-a", age_s=1.5, uptime_s=400, cpu_percent=1.5, memory_bytes=10**8,
            datasets={"business": {"last": 9, "acked": 7, "dropped": {"full": 2, "size": 1}}},
        )
    )  # fmt: skip
    assert (said.region, said.service, said.instance, said.number) == ("cn-east", "pay", "pay-1", 41)
    assert said.at == 1_700_000_000.0 - 1.5
    assert (said.interval_s, said.grace_s, said.stopping) == (10, 20, False)
    assert said.info.zone == "cn-east-a"
    assert said.info.streams == {"business": {"last": 9, "acked": 7, "dropped": 3}}
    assert (said.info.dropped, said.info.cpu_percent, said.info.memory_bytes) == (3, 1.5, 10**8)


def test_a_canary_is_read_with_whom_its_gateway_refused() -> None:
    said = read(of(canary("gw-7", refused={"cn-east/pay/pay-1": "token"})))
    assert said == Canary("gw-7", "default", {"cn-east/pay/pay-1": "token"})


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ("NaN", 10.0), (float("nan"), 10.0), (None, 10.0), ("9", 10.0), (True, 10.0), ([], 10.0), ({}, 10.0),
        (0, MIN_INTERVAL_S), (-5, MIN_INTERVAL_S), (1e300, MAX_INTERVAL_S), (10**400, MAX_INTERVAL_S),
        (float("inf"), MAX_INTERVAL_S), (float("-inf"), MIN_INTERVAL_S), (2, 2.0),
    ],
)  # fmt: skip
def test_an_interval_is_clamped_to_what_can_be(given_: Any, kept: float) -> None:
    assert read_beat(beat("pay", 1, interval_s=given_)).interval_s == kept


@pytest.mark.parametrize(("age", "kept"), [(-5, 0.0), (float("nan"), 0.0), ("1", 0.0), (False, 0.0), (3, 3.0)])
def test_an_age_never_makes_a_beat_younger_than_it_is(age: Any, kept: float) -> None:
    assert read_beat(beat("pay", 1), age_s=age).age_s == kept


@pytest.mark.parametrize(
    "fields",
    [
        {"service": "a/b"}, {"service": ""}, {"service": ["x"]}, {"service": {}}, {"service": None},
        {"region": "../x"}, {"region": 7}, {"instance": "x" * 200}, {"stream": "short.heartbeat"}, {"stream": 7},
        {"first": 0}, {"first": -1}, {"first": 2**63}, {"first": 1.5}, {"first": "1"}, {"first": True},
        {"dataset": "business"}, {"void": "evicted"},
    ],
    ids=str,
)  # fmt: skip
def test_a_header_that_lies_about_who_sent_it_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadBeat):
        read(of(beat("pay", 1), **fields))


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'"' + b"x" * 300_000 + b'"', b"1" * 5000]
)
def test_a_body_that_is_no_beat_is_refused(body: bytes) -> None:
    with pytest.raises(BadBeat):
        read(record(beat("pay", 1).header.encode(), body))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
HEADER_FIELDS = [field.name for field in dataclasses.fields(beat("pay", 1).header)]
SAID_FIELDS = ["interval_s", "grace_s", "state", "uptime_s", "datasets", "cpu_percent", "queue_events", "spool_bytes"]
BODY_FIELDS = ["service", "cloud", "host", "process", "heartbeat", "refused"]


@given(
    st.dictionaries(st.sampled_from(HEADER_FIELDS), anything, max_size=3),
    st.dictionaries(st.sampled_from(BODY_FIELDS), anything, max_size=3),
    st.dictionaries(st.sampled_from(SAID_FIELDS), anything, max_size=3),
)
def test_whatever_comes_is_read_or_refused_and_what_is_read_is_sane(
    header: dict[str, Any], body: dict[str, Any], said: dict[str, Any]
) -> None:
    batch = beat("pay", 1)
    full = json.loads(batch.body)
    full["heartbeat"] |= said
    raw = json.dumps({**json.loads(batch.header.encode()), **header}).encode()
    try:
        found = read(record(raw, json.dumps({**full, **body}).encode()))
    except BadBeat:
        return
    if isinstance(found, Beat):
        assert MIN_INTERVAL_S <= found.interval_s <= MAX_INTERVAL_S
        assert 0 <= found.grace_s <= MAX_INTERVAL_S
        assert found.age_s >= 0
        json.dumps(found.info, allow_nan=False)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_bytes_that_mean_nothing_are_refused(header: bytes, body: bytes) -> None:
    with pytest.raises(BadBeat):
        read(record(header, body))
