"""The questions that boards ask of Store and State: few a page, and each answer shared by all who ask the same.

Answers are frozen, so they are kept as they are, for seconds: a question about a live period is rounded (see `scope`)
and so has a new key at the next tick. Errors are never kept. Nothing here draws.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from alerts.audit.statement import Statement, read_statement
from alerts.fleet import Fleet, read_fleet
from alerts.incidents import Incident, read_incidents
from collector.ports import Event, Field, Hits, Latency, Page, Peak, State, Store, Tail, Volume, Where
from shippers.clock import Clock

from .scope import Scope

LIVE_S = 60.0
STATE_KEPT_S = 1.0
STATEMENT_KEPT_S = 4.0
WAITED_EVERY_S = 5.0
WAITED_POINTS = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """One kind of question, for the cache's key: which store, which method, which arguments."""

    source: int
    method: str
    arguments: tuple[Any, ...] = field(default=())


@st.cache_resource(ttl=120, max_entries=64, show_spinner=False)
def _answer(asked: Asked, _source: Any) -> Any:
    return getattr(_source, asked.method)(*asked.arguments)


@st.cache_resource(ttl=10, max_entries=8, show_spinner=False)
def _fleet(source: int, tick: int, _state: State) -> Fleet:
    del source, tick  # they are the cache's key
    return read_fleet(_state)


@st.cache_resource(ttl=10, max_entries=8, show_spinner=False)
def _incidents(source: int, tick: int, _state: State) -> tuple[Incident, ...]:
    del source, tick
    return tuple(read_incidents(_state))


@st.cache_resource(ttl=10, max_entries=8, show_spinner=False)
def _statement(source: int, tick: int, _state: State) -> Statement | None:
    del source, tick
    return read_statement(_state)


@st.cache_resource(max_entries=8, show_spinner=False)
def _waited(source: int) -> deque[tuple[int, int]]:
    del source
    return deque(maxlen=WAITED_POINTS)


class Questions:
    """What pages ask. Every method may raise Unavailable."""

    def __init__(self, store: Store, state: State, clock: Clock) -> None:
        self.store, self.state, self._clock = store, state, clock

    def fleet(self) -> Fleet:
        """What the watch says of everybody, at most a second old."""
        return _fleet(id(self.state), self._tick(STATE_KEPT_S), self.state)

    def incidents(self) -> tuple[Incident, ...]:
        """Every incident, at most a second old."""
        return _incidents(id(self.state), self._tick(STATE_KEPT_S), self.state)

    def statement(self) -> Statement | None:
        """What was emitted and what became of it, as the auditor last wrote it; None before it first did."""
        return _statement(id(self.state), self._tick(STATEMENT_KEPT_S), self.state)

    def forget(self) -> None:
        """Read the state anew at the next question: somebody here has just changed it."""
        _fleet.clear()
        _incidents.clear()

    def volume(self, scope: Scope, by: str | None = None, *, before: bool = False, errors: bool = False) -> Volume:
        """How many events a step; with `before`, over both periods."""
        return self.counts(scope.where(before=before, errors=errors), scope.step_s, by)

    def counts(self, where: Where, step_s: float, by: str | None) -> Volume:
        """How many events a step, of a question that a page has made its own."""
        answer: Volume = self._ask("volume", where, step_s, by)
        return answer

    def latency(self, scope: Scope, by: str | None = None, *, before: bool = False, whole: bool = False) -> Latency:
        """Durations a step; with `whole`, in as few steps as cover the period."""
        where = scope.where(before=before)
        answer: Latency = self._ask("latency", where, where.end - where.start if whole else scope.step_s, by)
        return answer

    def live(self, scope: Scope) -> Volume:
        """The last minute, whatever the period, so that there is one figure that moves."""
        end = math.floor((self._clock.time() - 2.0) / 5.0) * 5.0
        where = Where(end - LIVE_S, end, scope.choice.regions, scope.choice.services)
        return self.counts(where, 5.0, None)

    def peaks(self, scope: Scope, step_s: float, by: str, limit: int) -> list[Peak]:
        """The busiest steps."""
        answer: list[Peak] = self._ask("peaks", scope.where(), step_s, by, limit)
        return answer

    def fields(self, where: Where) -> list[Field]:
        """The labels and measures in use."""
        answer: list[Field] = self._ask("fields", where)
        return answer

    def search(self, where: Where, page: Page) -> Hits:
        """One page of events, newest first."""
        answer: Hits = self._ask("search", where, page)
        return answer

    def tail(self, where: Where, after: str | None, limit: int) -> Tail:
        """What has come in since `after`. Never shared: each viewer has a cursor of their own."""
        return self.store.tail(where, after, limit)

    def correlate(self, id: str, start: float, end: float) -> tuple[Event, ...]:
        """All events of one order, trace or transaction."""
        answer: tuple[Event, ...] = self._ask("correlate", id, start, end)
        return answer

    def waited(self, waiting: int) -> list[float]:
        """How many events have been on their way since these boards were first looked at: State keeps no history, so
        each look adds to it, a point every few seconds."""
        line, tick = _waited(id(self.state)), self._tick(WAITED_EVERY_S)
        if not line or line[-1][0] != tick:
            line.append((tick, waiting))
        return [float(number) for _, number in line]

    def _ask(self, method: str, *arguments: Any) -> Any:
        return _answer(Asked(id(self.store), method, arguments), self.store)

    def _tick(self, seconds: float) -> int:
        return int(self._clock.time() / seconds)
