"""Printed lines become events; lines of JSON are understood; no output is too strange."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.console import MAX_LINE, Lines, understand


@given(st.lists(st.binary(max_size=40)))
def test_chunks_may_be_cut_anywhere(chunks):
    lines = Lines()
    found = [line for chunk in chunks for line in lines.feed(chunk)] + lines.end()
    assert found == [line for line in b"".join(chunks).split(b"\n") if line.strip()]


def test_a_line_without_end_is_cut():
    lines = Lines()
    found = lines.feed(b"x" * (2 * MAX_LINE + 5))
    assert [len(line) for line in found] == [MAX_LINE, MAX_LINE]
    assert lines.end() == [b"x" * 5]


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        (b"plain text\r", logging.INFO, "plain text"),
        (b'{"msg":"paid","level":"warn"}', logging.WARNING, "paid"),
        (b'{"message":"paid","severity":"ERROR"}', logging.ERROR, "paid"),
        (b'{"message":"paid","log.level":"fatal"}', logging.CRITICAL, "paid"),
        (b'{"message":"paid","log":{"level":"debug"}}', logging.DEBUG, "paid"),
        (b'{"msg":"pino","level":40}', 40, "pino"),
        (b'{"nothing":"known"}', logging.INFO, '{"nothing":"known"}'),
        (b'{"broken', logging.INFO, '{"broken'),
        (b"[1,2]", logging.INFO, "[1,2]"),
        (b"\xff\xfe", logging.INFO, "\ufffd\ufffd"),
        (b'{"a":' * 5_000, logging.INFO, '{"a":' * 5_000),
    ],
)
def test_a_line_is_understood_or_taken_as_it_stands(line, level, message):
    found, text, fields = understand(line, logging.INFO)
    assert (found, text, fields.dataset) == (level, message, "console")


def test_the_other_members_go_where_extras_go():
    line = json.dumps({"msg": "paid", "order_id": "A1", "amount": 12.5, "trace_id": "t", "duration_ms": 2}).encode()
    _, _, fields = understand(line, logging.INFO)
    assert fields.labels == {'"order_id"': '"A1"'}
    assert fields.measures == {'"amount"': "12.5"}
    assert (fields.trace, fields.duration_ns) == ("t", 2_000_000)


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.text(max_size=8), st.text() | st.floats() | st.integers()).map(
        lambda members: json.dumps(members).encode()
    )
)
def test_nothing_printed_is_too_strange(line):
    understand(line, logging.INFO)
