"""Lines become rows by their position alone; hostile ones cost nobody else anything."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from collector.lake import parse as parsing
from collector.lake.parse import connect, parse

GOOD = b'{"@timestamp":"2025-11-21T12:00:00.5Z","message":"ok","labels":{"a":"1"}}'


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(256, 2) as made:
        yield made


def body(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in lines)


HOSTILE = [
    b"{", b"\x00", b"[]", b'"x"', b"5", GOOD + b" x", GOOD + GOOD, GOOD + b"\r" + GOOD, b"\xef\xbb\xbf" + GOOD,
    b'{"@timestamp":"2025-11-21T12:00:00Z","message":"\\ud800"}', b'{"@timestamp":"99999-01-01T00:00:00Z"}',
    b'{"@timestamp":"-infinity"}', b'{"@timestamp":"1969-12-31T23:59:59Z"}', b"{}",
]  # fmt: skip
ODD_BUT_SOUND = [
    GOOD + b"\r", b"  " + GOOD, b'{"@timestamp":"2025-11-21T20:00:00+08:00"}',
    b'{"@timestamp":"2025-11-21T12:00:00.123456789Z"}',
    b'{"@timestamp":"2025-11-21T12:00:00Z","labels":{"a":{"b":[1]},"n":5,"t":true,"z":null}}',
    b'{"@timestamp":"2025-11-21T12:00:00Z","labels":"x","measures":[1],"log":7,"event":{"duration":"soon"}}',
    b'{"@timestamp":"2025-11-21T12:00:00Z","labels":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    b'{"@timestamp":"2025-11-21T12:00:00Z","message":"' + b"x" * 1_040_000 + b'"}',
]  # fmt: skip


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("line", [*HOSTILE, *ODD_BUT_SOUND], ids=lambda line: repr(line[:40]))
def test_a_hostile_line_is_found_at_its_place_and_its_neighbours_are_whole(
    con: duckdb.DuckDBPyConnection, line: bytes, place: int
) -> None:
    lines = [GOOD] * 3
    lines[place] = line
    parsed = parse(con, "business", [body(*lines[:2]), body(lines[2])], [2, 1])
    assert parsed.bad == ((place,) if line in HOSTILE else ())
    messages = parsed.rows["message"].to_pylist()
    assert [messages[i] for i in range(3) if i != place] == ["ok", "ok"]


def test_texts_and_numbers_go_to_their_columns(con: duckdb.DuckDBPyConnection) -> None:
    line = b'{"@timestamp":"2025-11-21T12:00:00Z","labels":{"a":"1","n":5},"measures":{"x":1.5,"y":2}'
    line += b',"event":{"duration":7}}'
    [row] = parse(con, "business", [body(line)], [1]).rows.to_pylist()
    assert (row["labels"], row["measures"]) == ([("a", "1"), ("n", "5")], [("x", 1.5), ("y", 2.0)])
    assert (row["duration_ns"], row["message"], row["at"].timestamp()) == (7, None, 1_763_726_400.0)


def test_when_positions_say_nothing_lines_are_read_one_by_one(con: duckdb.DuckDBPyConnection) -> None:
    blank = body(GOOD, b" ", GOOD)  # DuckDB skips a blank line; the door lets none through, but who knows
    parsed = parse(con, "business", [body(GOOD), blank, body(b"no")], [1, 3, 1])
    assert parsed.bad == (2, 4)
    assert parsed.rows["message"].to_pylist() == ["ok", "ok", None, "ok", None]


def test_a_line_that_duckdb_gives_up_on_costs_only_itself(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = parsing._read

    def read(con: duckdb.DuckDBPyConnection, dataset: str, bodies: list[bytes], foreign: bool) -> object:
        if any(b"poison" in one for one in bodies):
            raise duckdb.InvalidInputException("gave up")
        return real(con, dataset, bodies, foreign)

    monkeypatch.setattr(parsing, "_read", read)
    parsed = parse(con, "business", [body(GOOD, GOOD), body(GOOD, b"poison", GOOD)], [2, 3])
    assert parsed.bad == (3,)
    assert parsed.rows["message"].to_pylist() == ["ok", "ok", "ok", None, "ok"]
