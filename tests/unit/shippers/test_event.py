"""Whatever is logged becomes one line of valid, bounded JSON, and nothing is ever raised."""

from __future__ import annotations

import json
import logging
import math
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shippers.batch import MAX_LINE_BYTES
from shippers.clock import FakeClock
from shippers.event import MAX_MESSAGE, Renderer, number_line
from shippers.fields import MAX_LABELS, MAX_VALUE
from shippers.identity import Identity

NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC).timestamp()
ME = Identity("payment", "cn-east", "pay-01", "1.4.2", "prod", "cn-east-a", "h1")


class Trims:
    count = 0

    def add(self) -> None:
        self.count += 1


def renderer(trims: Trims | None = None) -> Renderer:
    return Renderer(ME, 4711, FakeClock(NOON), (trims or Trims()).add)


def rendered(
    msg: object = "paid", args: object = (), created: object = NOON, trims: Trims | None = None, **extra
) -> dict:
    record = logging.LogRecord("pay", logging.INFO, "f.py", 1, "", None, None)
    record.msg, record.args, record.created = msg, args, created
    record.__dict__.update(extra)
    return parsed(renderer(trims).record(record))


def parsed(line) -> dict:
    data = number_line(line.data, "abcd1234.business", 7)
    assert b"\n" not in data
    assert len(data) < MAX_LINE_BYTES
    event = json.loads(data.decode("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert line.dataset == event["event"]["dataset"]
    assert line.day == event["@timestamp"][:10]
    assert list(event)[-1] == "event"
    assert list(event["event"])[-2:] == ["stream", "sequence"]
    return event


class Broken:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Recursive:
    def __str__(self) -> str:
        return str(self)


class Lying(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    def __len__(self) -> int:
        return -5  # noqa: PLE0303


def cyclic() -> list:
    items: list = [1]
    items.append({"again": items})
    return items


def test_an_event_has_the_agreed_shape():
    event = rendered(
        "paid %s",
        ("A1",),
        action="pay",
        outcome="success",
        duration_ms=18.2,
        trace_id="t",
        span_id="s",
        transaction_id="x",
        order_id="A1",
        amount=12.5,
        retries=3,
    )
    assert event == {
        "@timestamp": "2026-11-21T12:00:00.123456Z",
        "message": "paid A1",
        "log": {"level": "INFO", "logger": "pay"},
        "service": {"name": "payment", "version": "1.4.2", "environment": "prod", "node": {"name": "pay-01"}},
        "cloud": {"region": "cn-east", "availability_zone": "cn-east-a"},
        "host": {"name": "h1"},
        "process": {"pid": 4711},
        "trace": {"id": "t"},
        "span": {"id": "s"},
        "transaction": {"id": "x"},
        "labels": {"order_id": "A1"},
        "measures": {"amount": 12.5, "retries": 3},
        "event": {
            "dataset": "business",
            "action": "pay",
            "outcome": "success",
            "duration": 18_200_000,
            "stream": "abcd1234.business",
            "sequence": 7,
        },
    }


def test_absent_fields_are_left_out():
    record = logging.LogRecord("a", logging.INFO, "", 0, "m", None, None)
    event = parsed(Renderer(Identity("s", "r", "i"), 1, FakeClock(), lambda: None).record(record))
    assert set(event) == {"@timestamp", "message", "log", "service", "cloud", "process", "event"}
    assert event["service"] == {"name": "s", "node": {"name": "i"}}
    assert event["cloud"] == {"region": "r"}


@pytest.mark.parametrize(
    ("extra", "nanoseconds"),
    [
        ({"duration": 0.5}, 500_000_000),
        ({"duration": timedelta(milliseconds=3)}, 3_000_000),
        ({"latency_ms": 2}, 2_000_000),
        ({"event.duration": 42}, 42),
        ({"duration": -1.0}, None),
        ({"duration": math.nan}, None),
        ({"duration": math.inf}, None),
        ({"duration": True}, None),
        ({"duration": "fast"}, None),
        ({"duration": 10**400}, None),
        ({"duration": 0}, 0),
    ],
)
def test_durations_become_nanoseconds_and_what_is_none_is_kept_elsewhere(extra, nanoseconds):
    event = rendered(**extra)
    assert event["event"].get("duration") == nanoseconds
    if nanoseconds is None:
        assert "duration" in {**event.get("labels", {}), **event.get("measures", {})}


@pytest.mark.parametrize(
    ("value", "where", "expected"),
    [
        ("text", "labels", "text"),
        (True, "labels", "true"),
        (math.nan, "labels", "nan"),
        (-math.inf, "labels", "-inf"),
        (2**60, "labels", str(2**60)),
        (b"\xffab", "labels", "\ufffdab"),
        ({"a": [1, None, "x"]}, "labels", '{"a":[1,null,"x"]}'),
        ((1, 2), "labels", "[1,2]"),
        (Decimal("12.50"), "measures", 12.5),
        (IntEnum("Colour", "RED").RED, "measures", 1),
        (7, "measures", 7),
        ("\ud800!", "labels", "?!"),
        ("a\nb\x00", "labels", "a\nb\x00"),
    ],
)
def test_numbers_go_to_measures_and_all_else_as_text_to_labels(value, where, expected):
    event = rendered(x=value)
    assert event[where]["x"] == expected
    assert where == "labels" or "labels" not in event


def test_none_is_absent():
    assert "labels" not in rendered(x=None)


@pytest.mark.parametrize(
    "value", [Broken(), Recursive(), Lying("abc"), cyclic(), object(), range(10**9), 10**5_000], ids=range(7)
)
def test_values_that_fight_back_leave_a_mark_and_nothing_else(value):
    event = rendered(x=value, order_id="A1")
    assert event["labels"]["order_id"] == "A1"
    assert 0 < len(event["labels"]["x"]) <= MAX_VALUE


def test_a_format_that_does_not_fit_keeps_the_event_and_says_so():
    event = rendered("paid %d", ("A1",))
    assert event["message"] == "paid %d"
    assert event["labels"]["lastbeat.args"] == '["A1"]'
    assert "TypeError" in event["labels"]["lastbeat.format_error"]


def test_a_broken_argument_keeps_the_event():
    assert rendered("paid %s", (Broken(),))["message"] == "paid %s"


@pytest.mark.parametrize("created", [math.nan, math.inf, -1e300, 1e300, "yesterday", None])
def test_an_impossible_time_becomes_now(created):
    assert rendered(created=created)["@timestamp"] == "2026-11-21T12:00:00.123456Z"


def test_the_day_is_the_events_own_in_utc():
    before = datetime(2026, 11, 21, 23, 59, 59, 999999, tzinfo=UTC).timestamp()
    assert rendered(created=before)["@timestamp"].startswith("2026-11-21T23:59:59.99999")
    assert rendered(created=before + 1)["@timestamp"].startswith("2026-11-22T00:00:00")
    assert rendered(created=-1.5)["@timestamp"] == "1969-12-31T23:59:58.500000Z"


def test_what_is_too_long_is_trimmed_with_a_mark_and_counted():
    trims = Trims()
    event = rendered("m" * 10**6, x="v" * 10**6, trims=trims)
    assert len(event["message"]) <= MAX_MESSAGE
    assert "characters trimmed]" in event["message"]
    assert "characters trimmed]" in event["labels"]["x"]
    assert trims.count == 1


def test_the_worst_case_still_fits_a_line():
    many = {f"{'k' * 120}{index}": "\x01" * 10_000 for index in range(500)}
    trims = Trims()
    event = rendered("\x01" * 100_000, trims=trims, **many)
    assert 0 < len(event["labels"]) <= MAX_LABELS
    assert trims.count == 1


def test_names_that_become_one_by_cleaning_stay_two():
    record = logging.LogRecord("pay", logging.INFO, "", 0, "m", None, None)
    record.__dict__.update({"a": "1", " a": "2", "a\x00": "3", "a_": "4", "": "5", 6: "6"})
    labels = parsed(renderer().record(record))["labels"]
    assert sorted(labels.values()) == ["1", "2", "3", "4", "5", "6"]


def test_exceptions_go_to_error():
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError("too deep")

    try:
        deep(200)
    except ValueError:
        record = logging.LogRecord("pay", logging.ERROR, "", 0, "bad", None, sys.exc_info())
    error = parsed(renderer().record(record))["error"]
    assert error["type"] == "ValueError"
    assert error["message"] == "too deep"
    assert error["stack_trace"].startswith("Traceback")
    assert error["stack_trace"].endswith("ValueError: too deep")


def test_a_long_stack_keeps_its_end():
    record = logging.LogRecord("pay", logging.ERROR, "", 0, "bad", None, None)
    record.exc_text = "Traceback\n" + "frame\n" * 100_000 + "ValueError: the point of it all"
    stack = parsed(renderer().record(record))["error"]["stack_trace"]
    assert stack.startswith("Traceback")
    assert stack.endswith("the point of it all")
    assert len(stack) < 33_000


def test_an_exception_with_a_broken_text_is_still_told():
    class Bad(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    try:
        raise Bad
    except Bad:
        record = logging.LogRecord("pay", logging.ERROR, "", 0, "bad", None, sys.exc_info())
    assert "Bad" in parsed(renderer().record(record))["error"]["type"]


@pytest.mark.parametrize(
    ("level", "name"), [(5, "DEBUG"), (10, "DEBUG"), (25, "INFO"), (30, "WARNING"), (45, "ERROR"), (99, "CRITICAL")]
)
def test_levels_are_the_five_standard_ones(level, name):
    record = logging.LogRecord("pay", level, "", 0, "m", None, None)
    assert parsed(renderer().record(record))["log"]["level"] == name


def test_opentelemetrys_ids_are_known():
    event = rendered(otelTraceID="abc", otelSpanID="0", otelServiceName="x", otelTraceSampled=True)
    assert event["trace"] == {"id": "abc"}
    assert "span" not in event
    assert "labels" not in event


@pytest.mark.parametrize(("given", "expected"), [("OK", "success"), (True, "success"), ("failed", "failure")])
def test_outcomes_are_brought_to_the_agreed_words(given, expected):
    assert rendered(outcome=given)["event"]["outcome"] == expected


def test_an_outcome_of_other_words_is_a_label():
    assert rendered(outcome="maybe")["labels"]["outcome"] == "maybe"


def test_the_dataset_may_be_chosen_but_never_heartbeat():
    assert rendered(**{"event.dataset": "metrics"})["event"]["dataset"] == "metrics"
    assert rendered(**{"event.dataset": "heartbeat"})["event"]["dataset"] == "business"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=30)
    | st.binary(max_size=20)
    | st.decimals()
    | st.complex_numbers()
    | st.builds(Broken)
    | st.builds(Lying, st.text(max_size=3)),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)
names = st.text(st.characters(), max_size=12) | st.sampled_from(
    [
        "action",
        "outcome",
        "duration",
        "duration_ms",
        "latency_ms",
        "event.duration",
        "event.dataset",
        "trace_id",
        "span.id",
        "error.message",
        "error.stack_trace",
        "otelTraceID",
        "exc_text",
        "stack_info",
        "taskName",
        "message",
    ]
)


@settings(max_examples=300, deadline=None)
@given(anything, st.none() | st.tuples(anything) | anything, st.dictionaries(names, anything, max_size=6))
def test_whatever_is_logged_becomes_one_valid_line(msg, args, extra):
    record = logging.LogRecord("pay", logging.INFO, "f.py", 1, "", None, None)
    record.msg, record.args, record.created = msg, args, NOON
    record.__dict__.update({name: value for name, value in extra.items() if name not in ("exc_text", "stack_info")})
    parsed(renderer().record(record))
