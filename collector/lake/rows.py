"""Planned records to rows: bodies parsed, their lines numbered by the header, the unreadable ones set aside.

Reads only what it is given; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import duckdb
import numpy as np
import pyarrow as pa

from collector import dead_letters
from collector.dead_letters import DeadLetter
from shippers.batch import Header

from .parse import parse
from .plan import Planned
from .schema import DEAD_LETTERS, EVENTS


@dataclass(frozen=True, slots=True)
class Read:
    """What became of some planned records: `rows` (columns EVENTS) to be stored; for each record how many rows are
    its, and the dead letters that its lines made."""

    rows: pa.Table
    stored: tuple[int, ...]
    dead: tuple[tuple[DeadLetter, ...], ...]


def read(con: duckdb.DuckDBPyConnection, dataset: str, plans: Sequence[Planned], now: float) -> Read:
    """Open the bodies of `plans`, each with a header and fresh numbers."""
    parts = [_read(con, dataset, list(some), now) for _, some in groupby(plans, lambda plan: plan.record.foreign)]
    if len(parts) == 1:
        return parts[0]
    return Read(
        pa.concat_tables([part.rows for part in parts]).unify_dictionaries(),
        tuple(count for part in parts for count in part.stored),
        tuple(letters for part in parts for letters in part.dead),
    )


def _read(con: duckdb.DuckDBPyConnection, dataset: str, plans: Sequence[Planned], now: float) -> Read:
    foreign = plans[0].record.foreign
    headers = [_header(plan) for plan in plans]
    counts = [header.count for header in headers]
    parsed = parse(con, dataset, [plan.record.body for plan in plans], counts, foreign=foreign)
    starts = np.concatenate([[0], np.cumsum(counts)])
    owner = np.repeat(np.arange(len(plans)), counts)
    numbers = np.arange(starts[-1]) - starts[owner] + np.array([header.first for header in headers])[owner]
    fresh = _fresh_lines(plans, starts)
    dead = _dead_lines(plans, starts, fresh, parsed.bad, now)
    keep = fresh.copy()
    keep[list(parsed.bad)] = False
    rows = parsed.rows
    for name, column in _from_headers(headers, owner, numbers).items():
        if name in rows.column_names:  # a foreign line's own word
            position = rows.column_names.index(name)
            rows = rows.set_column(position, name, rows[name].combine_chunks().dictionary_encode())
        else:
            rows = rows.append_column(name, column)
    if not keep.all():
        rows = rows.filter(pa.array(keep))
    stored = np.bincount(owner[keep], minlength=len(plans))
    return Read(rows.select(EVENTS.names), tuple(stored.tolist()), dead)


def _header(plan: Planned) -> Header:
    assert plan.header is not None
    return plan.header


def _from_headers(headers: Sequence[Header], owner: np.ndarray, numbers: np.ndarray) -> dict[str, pa.Array]:
    def text(values: list[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(owner, pa.int32()), pa.array(values, pa.string()))

    return {
        "stream": text([header.stream for header in headers]),
        "sequence": pa.array(numbers, pa.int64()),
        "dataset": text([header.dataset for header in headers]),
        "service": text([header.service for header in headers]),
        "instance": text([header.instance for header in headers]),
    }


def _fresh_lines(plans: Sequence[Planned], starts: np.ndarray) -> np.ndarray:
    fresh = np.ones(starts[-1], dtype=bool)
    for plan, start in zip(plans, starts.tolist(), strict=False):
        if plan.duplicate:
            header = _header(plan)
            fresh[start : start + header.count] = False
            for first, last in plan.fresh:
                fresh[start + first - header.first : start + last - header.first + 1] = True
    return fresh


def _dead_lines(
    plans: Sequence[Planned], starts: np.ndarray, fresh: np.ndarray, bad: Sequence[int], now: float
) -> tuple[tuple[DeadLetter, ...], ...]:
    dead: list[list[DeadLetter]] = [[] for _ in plans]
    lines: dict[int, list[bytes]] = {}
    for position in bad:
        if fresh[position]:
            i = int(np.searchsorted(starts, position, side="right")) - 1
            plan, header = plans[i], _header(plans[i])
            within = position - int(starts[i])
            line = lines.setdefault(i, plan.record.body.split(b"\n"))[within]
            dead[i].append(dead_letters.of_line(plan.record, header, header.first + within, line, _why(line), now))
    return tuple(map(tuple, dead))


def _why(line: bytes) -> str:
    return dead_letters.why_unreadable(line) or "DuckDB could not read it as an event"


def rows_of_dead(letters: Sequence[DeadLetter]) -> pa.Table:
    """Dead letters as rows (columns DEAD_LETTERS)."""
    return pa.table(
        [
            pa.array([round(letter.at * 1_000_000) for letter in letters], pa.int64()).cast(
                DEAD_LETTERS.field("at").type
            ),
            *(
                pa.array([getattr(letter, field.name) for letter in letters], field.type)
                for field in DEAD_LETTERS
                if field.name != "at"
            ),
        ],
        schema=DEAD_LETTERS,
    )
