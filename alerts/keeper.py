"""The keeper: writes the fleet's rows and the watch's positions to State, and brings them back after a restart.

A turn of verdict is written at once. Everything else that changed is written in cycles, a portion a round, so that no
round is long; a cycle ends with the positions as they stood when it began, since rows may be newer than those. While
State can't be reached nothing is lost: what changed stays marked, and the journal is read again after a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from collector.complaint import Complaint
from collector.ports import State, Table, TopicPartition
from shippers.clock import Clock
from shippers.errors import Unavailable

from . import view
from .book import Book
from .document import to_doc
from .fleet import ServiceRow, instance_row, service_row
from .judge import Judge
from .processes import Instance, Service
from .reasons import down_key
from .roster import Roster
from .snapshot import clocks_doc, instance_doc, restore_clocks, restore_instance

log = logging.getLogger("lastbeat.alerts.keeper")

KEY = "watch"
COST_SHARE = 4
"""After a portion that took t, the next one waits 4 t: writing takes a fifth of the time at most."""
PORTION = 1_000
"""Rows a portion. A service's row costs as much as ten of its instances are many."""


class Keeper:
    """Used by the watch's thread."""

    def __init__(self, state: State, roster: Roster, book: Book, judge: Judge, clock: Clock, flush_s: float) -> None:
        self._state = state
        self._roster = roster
        self._book = book
        self._judge = judge
        self._clock = clock
        self._flush_s = flush_s
        self._next_at = float("-inf")
        self._pending: list[Instance | Service] = []
        self._clocks: dict[str, Any] | None = None
        self._service_rows: dict[str, ServiceRow] = {}
        self._unwritten = Complaint(
            log,
            clock,
            "the fleet's rows can't be written now, they will be later",
            "the fleet's rows are written again",
        )
        self.portion_took_s = 0.0
        self.failures = 0

    # --- coming back ---

    def restore(self) -> dict[TopicPartition, int]:
        """Take up what an earlier watch kept; where reading goes on, empty to read from the oldest record."""
        try:
            kept = self._state.get(Table.SNAPSHOTS, KEY)
            if kept is None:
                return {}
            rows = list(self._state.scan(Table.FLEET))
        except Unavailable as error:
            log.warning("no snapshot, the journal is read from its oldest beat: %s", error)
            return {}
        try:
            restore_clocks(self._roster, kept.doc)
        except ValueError as error:
            log.warning("the snapshot can't be used, the journal is read from its oldest beat: %s", error)
            return {}
        services = {row.key: service_row(row.doc) for row in rows if row.key.count("/") == 1 and ":" not in row.key}
        self._service_rows = services
        for row in rows:
            if row.key.count("/") == 2 and "watch" in row.doc:
                shown = instance_row(row.doc)
                if self._roster.is_forgotten(shown.verdict, shown.last_notify_time):
                    continue
                service = services.get(f"{shown.region}/{shown.service}")
                first_at = service.first_seen_at if service is not None else None
                restore_instance(self._roster, shown, row.doc["watch"], first_at)
        self._roster.changed.clear()
        self._roster.turned.clear()
        return {each.tp: each.next_offset for each in self._roster.partitions.values()}

    # --- keeping ---

    def step(self) -> None:
        """Write what is due."""
        turned = self._roster.turned
        if 0 < len(turned) <= PORTION:
            self._write([*turned, *{each.service for each in turned}])
        turned.clear()
        now = self._clock.monotonic()
        if now >= self._next_at:
            self._go_on()
            self.portion_took_s = self._clock.monotonic() - now
            pause_s = COST_SHARE * self.portion_took_s
            self._next_at = now + (pause_s if self._clocks is not None else max(self._flush_s, pause_s))

    def flush(self) -> None:
        """Write everything now: the watch is closing."""
        for _ in range(2):  # what a cycle under way has left, then a whole one
            self._go_on()
            while self._clocks is not None:
                self._go_on()

    def _go_on(self) -> None:
        """One portion of a cycle; `_clocks` is None when the cycle is over, or had to be given up."""
        if self._clocks is None:
            self._begin()
        portion, weight = [], 0
        while self._pending and weight < PORTION:
            row = self._pending.pop()
            weight += 1 if isinstance(row, Instance) else 1 + len(row.instances) // 10
            portion.append(row)
        if not self._write(portion):
            self._give_up(portion)
        elif not self._pending:
            self._end()

    def _begin(self) -> None:
        changed = list(self._roster.changed)
        self._roster.changed.clear()
        self._pending = [*{each.service for each in changed} | self._with_incidents(), *changed]
        self._clocks = clocks_doc(self._roster)

    def _end(self) -> None:
        assert self._clocks is not None
        try:
            self._state.put_many(Table.SNAPSHOTS, {KEY: self._clocks})
        except Unavailable as error:
            self._fail(error)
        self._clocks = None
        self._book.sync()

    def _give_up(self, portion: Iterable[Instance | Service]) -> None:
        self._roster.changed.update(each for each in (*portion, *self._pending) if isinstance(each, Instance))
        self._pending, self._clocks = [], None

    def _write(self, rows: Iterable[Instance | Service]) -> bool:
        """Write these rows, and what can be seen; whether State took them."""
        docs = {row.key: to_doc(row) for row in view.sights(self._roster.paths.values())}
        for each in rows:
            if isinstance(each, Service):
                docs[each.key] = to_doc(self._service_row(each))
            elif (row := view.instance_row(each)) is not None:
                docs[each.key] = {**to_doc(row), "watch": instance_doc(each)}
        try:
            self._state.put_many(Table.FLEET, docs)
        except Unavailable as error:
            self._fail(error)
            return False
        self._unwritten.note("")
        return True

    def _fail(self, error: Unavailable) -> None:
        self.failures += 1
        self._unwritten.note(str(error))

    def _with_incidents(self) -> set[Service]:
        found = (self._roster.services.get(f"{each.region}/{each.service}") for each in self._book.opens())
        return {service for service in found if service is not None}

    def _service_row(self, service: Service) -> ServiceRow:
        incident = self._book.find(down_key(service))
        row = view.service_row(
            service,
            self._roster.now(),
            self._service_rows.get(service.key),
            incident=incident.id if incident is not None else None,
            is_down=incident is not None and incident.calm_since is None,
            is_looping=self._judge.is_looping(service),
            silenced=self._book.silences_service(service.region, service.name),
        )
        self._service_rows[service.key] = row
        return row
