"""The keeper: writes the fleet's rows and the watch's positions to State, and brings them back after a restart.

Rows are written when they changed, in batches, and seldom enough to cost little; a turn of verdict is written at once.
While State can't be reached nothing is lost: what changed stays marked, and the journal is read again after a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

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
COST_SHARE = 20
"""Writing may take a twentieth of the time."""
URGENT_ROWS = 2_000
FORGET_EVERY_S = 600.0


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
        self._service_rows: dict[str, ServiceRow] = {}
        self.flush_took_s = 0.0
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
                service = services.get(f"{shown.region}/{shown.service}")
                first_at = service.first_seen_at if service is not None else None
                restore_instance(self._roster, shown, row.doc["watch"], first_at)
        self._roster.changed.clear()
        self._roster.turned.clear()
        return {each.tp: each.next_offset for each in self._roster.partitions.values()}

    # --- keeping ---

    def step(self) -> None:
        """Write what is due."""
        now = self._clock.monotonic()
        if now < self._next_at:
            if 0 < len(self._roster.turned) <= URGENT_ROWS:
                self._write(self._roster.turned, with_clocks=False)
            return
        self._write(self._roster.changed, with_clocks=True)
        self._book.sync()
        self.flush_took_s = self._clock.monotonic() - now
        self._next_at = now + max(self._flush_s, COST_SHARE * self.flush_took_s)

    def flush(self) -> None:
        """Write everything now: the watch is closing."""
        self._write(self._roster.changed, with_clocks=True)
        self._book.sync()

    def _write(self, instances: Iterable[Instance], *, with_clocks: bool) -> None:
        chosen = list(instances)
        services = {each.service for each in chosen}
        if with_clocks:
            services |= self._with_incidents()
        docs = {row.key: to_doc(row) for row in view.sights(self._roster.paths.values())}
        for service in services:
            docs[service.key] = to_doc(self._service_row(service))
        for instance in chosen:
            row = view.instance_row(instance)
            if row is not None:
                docs[instance.key] = {**to_doc(row), "watch": instance_doc(instance)}
        clocks: dict[str, Any] = clocks_doc(self._roster)
        try:
            self._state.put_many(Table.FLEET, docs)
            if with_clocks:
                self._state.put_many(Table.SNAPSHOTS, {KEY: clocks})
        except Unavailable as error:
            self.failures += 1
            log.warning("the fleet's rows can't be written now, they will be later: %s", error)
            self._next_at = self._clock.monotonic() + self._flush_s
            return
        self._roster.changed.difference_update(chosen)
        self._roster.turned.difference_update(chosen)

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
