"""The statement as State keeps it: whole, and nothing of days that are gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from alerts.audit.statement import Head, Line, Statement, Writer, read_statement
from alerts.state.memory import MemoryState
from collector.ports import Table
from shippers.errors import Unavailable


def said(*days: str) -> Statement:
    return Statement(Head(1.0, 0.0), tuple(Line(day, "eu", "pay", "business", "lake", stored=10) for day in days))


def days_in(state: MemoryState) -> list[str]:
    found = read_statement(state)
    assert found is not None
    return [line.day for line in found.lines]


def test_a_day_that_went_while_no_auditor_ran_is_gone_from_the_statement() -> None:
    state = MemoryState()
    Writer(state).write(said("2026-11-20", "2026-11-21"))
    Writer(state).write(said("2026-11-21"))
    assert days_in(state) == ["2026-11-21"]


def test_a_day_that_went_before_a_write_that_failed_is_gone_after_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    state = MemoryState()
    writer = Writer(state)
    writer.write(said("2026-11-20", "2026-11-21"))
    with monkeypatch.context() as patch:
        patch.setattr(state, "delete", _away)
        with pytest.raises(Unavailable):
            writer.write(said("2026-11-21"))
    with monkeypatch.context() as patch:
        patch.setattr(state, "put_many", _away)
        with pytest.raises(Unavailable):
            writer.write(said("2026-11-21", "2026-11-22"))
    writer.write(said("2026-11-21", "2026-11-22"))
    assert days_in(state) == ["2026-11-21", "2026-11-22"]


def test_only_what_changed_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    state, written = MemoryState(), list[set[str]]()
    put_many = state.put_many

    def tell(table: Table, docs: Mapping[str, Mapping[str, Any]]) -> None:
        written.append(set(docs))
        put_many(table, docs)

    monkeypatch.setattr(state, "put_many", tell)
    writer = Writer(state)
    writer.write(said("2026-11-20"))
    writer.write(said("2026-11-20", "2026-11-21"))
    assert written == [{"statement/day/2026-11-20", "statement/head"}, {"statement/day/2026-11-21", "statement/head"}]


def _away(*_: object) -> None:
    raise Unavailable("State is away")
