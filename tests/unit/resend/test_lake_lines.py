"""A row of the lake made into a line again is the very same row when it is stored, whatever a sender put into it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.elastic.bulk import prove
from collector.lake.lines import COLUMNS, line_of
from collector.lake.parse import connect
from collector.lake.plan import Planned
from collector.lake.rows import read
from collector.ports import Record, TopicPartition, topic_of
from shippers.batch import Batch, Header, seal
from tests.unit.lake.events import NOON

CON = connect(256, 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows_of(batch: Batch) -> list[dict[str, Any]]:
    """The rows that the lake makes of a batch; a line that it can't read makes none."""
    record = Record(TopicPartition(topic_of(batch.header), 0), 0, 1, NOON, batch.header.encode(), batch.body)
    plan = Planned(record, batch.header, ((batch.header.first, batch.header.last),))
    return read(CON, batch.header.dataset, [plan], NOON).rows.to_pylist()


def again(row: dict[str, Any]) -> bytes:
    """The row as LakeSource reads it, as a line."""
    at_us = (row["at"] - EPOCH) // timedelta(microseconds=1)
    values = {name: row[name] for name in COLUMNS}
    values |= {name: None if row[name] is None else dict(row[name]) for name in ("labels", "measures")}
    return line_of(values, at_us, "cn-east", row["stream"], row["sequence"])


def sealed(dataset: str, lines: list[bytes], first: int = 1) -> Batch:
    header = Header(f"roundtrip1.{dataset}", first, 0, "cn-east", dataset, "2025-11-21", "pay", "pay-01", 0)
    return seal(header, lines)


def check(dataset: str, lines: list[bytes]) -> None:
    before = rows_of(sealed(dataset, lines))
    for row in before:
        remade = sealed(dataset, [again(row)], row["sequence"])
        assert prove(remade.header, remade.body), "it doesn't look as a shipper's line does"
        [after] = rows_of(remade)
        assert repr(after) == repr(row)  # repr, so that what is not a number equals itself


text = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
raw_number = st.sampled_from(["1e999", "-1e999", "0.1", "-0.0", "1e-320", "9007199254740993", "12", '"nan"', "1.50"])
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
moments = st.datetimes().filter(lambda at: at.year >= 1970).map(lambda at: at.isoformat(timespec="microseconds") + "Z")
parts = {
    "message": anything,
    "log": st.fixed_dictionaries({}, optional={"level": anything, "logger": text}),
    "service": st.fixed_dictionaries({}, optional={"version": text, "environment": anything, "name": text}),
    "cloud": st.fixed_dictionaries({}, optional={"availability_zone": text}),
    "host": st.fixed_dictionaries({}, optional={"name": text}) | text,
    "process": st.fixed_dictionaries({}, optional={"pid": st.integers(-(2**70), 2**70) | text}),
    "trace": st.fixed_dictionaries({}, optional={"id": text}),
    "error": st.fixed_dictionaries({}, optional={"type": text, "message": text, "stack_trace": text}),
    "labels": st.none() | text | st.dictionaries(text, anything, max_size=4),
    "measures": st.none() | st.dictionaries(text, anything, max_size=4),
    "event": st.fixed_dictionaries(
        {}, optional={"action": text, "outcome": text, "duration": st.integers(-(2**70), 2**70) | st.floats(0, 1e30)}
    ),
}
counts = st.fixed_dictionaries(
    {},
    optional={"last": anything, "acked": anything, "dropped": st.dictionaries(text, st.integers(0, 2**40), max_size=3)},
)
beat = st.fixed_dictionaries(
    {},
    optional={
        "state": text,
        "reason": anything,
        "interval_s": anything,
        "uptime_s": st.floats(allow_nan=False, allow_infinity=False),
        "threads": st.integers(0, 2**70),
        "datasets": st.none() | st.dictionaries(text, st.none() | counts, max_size=3),
    },
)


def lines_of(events: list[dict[str, Any]], at: str, numbers: dict[str, str]) -> list[bytes]:
    """As JSON; `numbers` are measures as they stand in the text, which Python could not write."""
    found = []
    for event in events:
        body = json.dumps({"@timestamp": at, **event}, ensure_ascii=False)[:-1]
        if numbers and "measures" not in event:
            body += ',"measures":{' + ",".join(f"{json.dumps(name)}:{raw}" for name, raw in numbers.items()) + "}"
        found.append((body + "}").encode())
    return found


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({}, optional=parts), min_size=1, max_size=6),
    moments,
    st.dictionaries(text, raw_number, max_size=3),
)
def test_an_event_comes_back_as_the_same_row(events: list[dict[str, Any]], at: str, numbers: dict[str, str]) -> None:
    check("business", lines_of(events, at, numbers))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.fixed_dictionaries({"heartbeat": beat | st.none()}), min_size=1, max_size=4), moments)
def test_a_heartbeat_comes_back_as_the_same_row(events: list[dict[str, Any]], at: str) -> None:
    check("heartbeat", lines_of(events, at, {}))


@pytest.mark.parametrize(
    "members",
    [
        '"message":"\\u0000\\u0001\\u2028 é 中文 😀 \\"\\\\"',
        '"labels":{"":"", "a.b":"c", "n":null, "o":{"x":[1,2]}, "t":true, "f":1.50}',
        '"measures":{"inf":1e999,"minus":-1e999,"nan":"nan","null":null,"text":"x","tiny":1e-320}',
        '"labels":{},"measures":{}',
        '"event":{"duration":1.9,"action":"pay"},"process":{"pid":"12"}',
    ],
)
def test_what_is_odd_comes_back_as_it_was(members: str) -> None:
    check("business", [f'{{"@timestamp":"2026-11-21T12:00:00.123456+05:30",{members}}}'.encode()])


def test_the_last_moment_there_is_comes_back() -> None:
    check("business", [b'{"@timestamp":"9999-12-31T23:59:59.999999Z"}', b'{"@timestamp":"1970-01-01T00:00:00Z"}'])
