"""The book of incidents: those that are open and those just over, kept in State by compare-and-set.

What the watch decides and what the courier delivers goes through `change`; a person may change the same row from
elsewhere. While State can't be reached the book goes on from memory and the outbox, and merges later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from collector.complaint import Complaint
from collector.ports import Conflict, Row, State, Table
from shippers.clock import Clock
from shippers.errors import Unavailable

from . import transitions
from .document import to_doc
from .incidents import Incident, incident_from
from .outbox import Outbox
from .settings import AlertSettings
from .silences import Silences
from .transitions import Draft

log = logging.getLogger("lastbeat.alerts.book")
RETRY_STATE_S = 2.0
MAX_CONFLICTS = 20

Change = Callable[[Incident], Incident]


@dataclass(slots=True)
class _Held:
    """An incident and the version of its row; None: State has none yet. `dirty`: State has not seen it as it is."""

    incident: Incident
    version: str | None
    dirty: bool = False


class Book:
    """Used by the watch's thread and the courier's; a lock makes each change whole."""

    def __init__(self, state: State, settings: AlertSettings, clock: Clock) -> None:
        self._state = state
        self._settings = settings
        self._outbox = Outbox(settings.outbox)
        self._clock = clock
        self._silences = Silences(settings.silences)
        self._lock = threading.RLock()
        self._held: dict[str, _Held] = {}
        self._by_key: dict[str, str] = {}
        self._retry_at = float("-inf")
        self._loaded = False
        self._apart = Complaint(
            log,
            clock,
            "State can't be reached, incidents are told from a file",
            "incidents and State are together again",
        )
        self.conflicts = 0

    def load(self) -> None:
        """Take up what was left: the outbox first, then State, which may not be reachable yet (`sync` tries again)."""
        with self._lock:
            for incident in self._outbox.read():
                self._hold(incident, None, dirty=True)
        self.sync()

    # --- what the judge does ---

    def open(self, draft: Draft) -> Incident:
        """Say that something is wrong: a new incident, or the one that is open for it, raised if it became worse; or
        the one that was over only just now, again."""
        now = self._clock.time()
        with self._lock:
            known = self._by_key.get(draft.dedup_key)
            held = self._held[known] if known else None
            if held is not None and held.incident.is_open:
                return self.change(held.incident.id, lambda each: self._tended(transitions.raised(each, draft, now)))
            if held is not None and 0 <= now - (held.incident.resolved_at or 0) <= transitions.REOPEN_S:
                return self.change(held.incident.id, lambda each: self._tended(transitions.reopened(each, draft, now)))
            incident = self._tended(transitions.opened(draft, now))
            if incident.id in self._held:  # a clock went back: what was over is so again
                self._by_key[incident.dedup_key] = incident.id
                return self.change(incident.id, lambda each: self._tended(transitions.reopened(each, draft, now)))
            self._hold(incident, None, dirty=True)
            self._keep(self._held[incident.id], changed=True)
            return self._held[incident.id].incident

    def resolve(self, dedup_key: str, text: str) -> None:
        """Say that it is over."""
        now = self._clock.time()
        self._change_open(dedup_key, lambda each: transitions.resolved(each, text, now))

    def amend(self, dedup_key: str, text: str) -> None:
        """Say more of it."""
        self._change_open(dedup_key, lambda each: transitions.amended(each, text))

    def find(self, dedup_key: str) -> Incident | None:
        """The open incident of this key."""
        with self._lock:
            known = self._by_key.get(dedup_key)
            return self._held[known].incident if known and self._held[known].incident.is_open else None

    def opens(self) -> list[Incident]:
        """All that are open."""
        with self._lock:
            return [held.incident for held in self._held.values() if held.incident.is_open]

    def tend(self) -> None:
        """What time alone does: fire, remind, escalate. Called each step."""
        for incident in self.opens():
            self.change(incident.id, self._tended)

    def _tended(self, incident: Incident) -> Incident:
        now = self._clock.time()
        return transitions.tended(incident, self._settings, now, silenced=self.silenced(incident))

    def silenced(self, incident: Incident) -> bool:
        """Whether somebody asked that nobody be told of it."""
        return self._silences.match(incident.region, incident.service, self._clock.time())

    def silences_service(self, region: str, service: str) -> bool:
        """Whether a service is silenced, for its row."""
        return self._silences.match(region, service, self._clock.time())

    # --- what the courier needs ---

    def owing(self) -> list[Incident]:
        """Incidents with notices that have not gone out. One that is kept nowhere yet may not be told."""
        with self._lock:
            return [
                held.incident
                for held in self._held.values()
                if any(notice.delivered_at is None for notice in held.incident.notices)
            ]

    # --- keeping ---

    def change(self, id: str, change: Change) -> Incident:
        """Change one incident, durably: in State, or in the outbox while State can't be reached."""
        with self._lock:
            held = self._held[id]
            new = change(held.incident)
            if new != held.incident or held.dirty:
                was, held.incident = held.incident, new
                self._keep(held, changed=new != was, change=change)
            return held.incident

    def _change_open(self, dedup_key: str, change: Change) -> None:
        with self._lock:
            known = self._by_key.get(dedup_key)
            if known is not None and self._held[known].incident.is_open:
                self.change(known, change)

    def _hold(self, incident: Incident, version: str | None, *, dirty: bool = False) -> None:
        self._held[incident.id] = _Held(incident, version, dirty)
        known = self._by_key.get(incident.dedup_key)
        if known is None or incident.is_open or self._held[known].incident.opened_at <= incident.opened_at:
            self._by_key[incident.dedup_key] = incident.id

    def _keep(self, held: _Held, *, changed: bool, change: Change | None = None) -> None:
        if self._clock.monotonic() >= self._retry_at:
            try:
                self._put(held, change)
                return
            except Unavailable as error:
                self._retry_at = self._clock.monotonic() + RETRY_STATE_S
                log.error("incidents go to the outbox: %s", error)
        if changed or not held.dirty:
            held.dirty = True
            try:
                self._outbox.add(held.incident)
            except OSError as error:
                log.error("the outbox can't be written either, incidents are in memory only: %s", error)

    def _put(self, held: _Held, change: Change | None) -> None:
        for _ in range(MAX_CONFLICTS):
            try:
                doc = to_doc(held.incident)
                held.version = self._state.put(Table.INCIDENTS, held.incident.id, doc, held.version)
                held.dirty = False
                return
            except Conflict:
                self.conflicts += 1
                row = self._state.get(Table.INCIDENTS, held.incident.id)
                held.version = None if row is None else row.version
                if row is not None:
                    theirs = incident_from(row.doc)
                    if held.dirty or change is None:
                        held.incident = transitions.merged(theirs, held.incident)
                    else:
                        held.incident = change(theirs)
        raise Unavailable(f"incident {held.incident.id} is changed by others without end")

    def sync(self) -> None:
        """Bring book and State together: what people changed, what State has not seen. Quick when nothing is new."""
        with self._lock:
            if self._clock.monotonic() < self._retry_at:
                return
            try:
                if not self._loaded:
                    self._load_from_state()
                for held in list(self._held.values()):
                    if held.dirty:
                        self._put(held, None)
                    elif held.incident.is_open:
                        self._refresh(held)
                self._silences.read(self._state)
                self._outbox.clear()
            except (Unavailable, OSError) as error:
                self._retry_at = self._clock.monotonic() + RETRY_STATE_S
                self._apart.note(str(error))
            else:
                self._apart.note("")
            self._forget()

    def _load_from_state(self) -> None:
        now = self._clock.time()
        for row in self._state.scan(Table.INCIDENTS):
            incident = incident_from(row.doc)
            owes = any(notice.delivered_at is None for notice in incident.notices)
            is_recent = now - (incident.resolved_at or now) <= transitions.REOPEN_S
            if incident.id in self._held:
                ours = self._held[incident.id]
                ours.incident = transitions.merged(incident, ours.incident)
                ours.version = row.version
                ours.dirty = True
            elif incident.is_open or owes or is_recent:
                self._hold(incident, row.version)
        self._loaded = True
        self._resolve_twins(now)

    def _resolve_twins(self, now: float) -> None:
        """Two are open for one thing, since one was opened while State could not be asked: the later one counts."""
        for held in list(self._held.values()):
            twin = self._by_key[held.incident.dedup_key]
            if held.incident.is_open and twin != held.incident.id:
                held.incident = transitions.resolved(held.incident, f"told again as {twin}", now)
                held.dirty = True

    def _refresh(self, held: _Held) -> None:
        row: Row | None = self._state.get(Table.INCIDENTS, held.incident.id)
        if row is not None and row.version != held.version:
            held.incident, held.version = incident_from(row.doc), row.version

    def _forget(self) -> None:
        now = self._clock.time()
        for held in list(self._held.values()):
            incident = held.incident
            if held.dirty or incident.is_open or any(notice.delivered_at is None for notice in incident.notices):
                continue
            if now - (incident.resolved_at or now) > transitions.REOPEN_S:
                del self._held[incident.id]
                if self._by_key.get(incident.dedup_key) == incident.id:
                    del self._by_key[incident.dedup_key]

    @property
    def in_outbox(self) -> int:
        """How many incidents State has not seen."""
        with self._lock:
            return sum(held.dirty for held in self._held.values())


def acknowledge(state: State, id: str, by: str, now: float) -> Incident | None:
    """Acknowledge an incident from anywhere (a board, the command line). None if there is no such incident.

    Raises Unavailable.
    """
    for _ in range(MAX_CONFLICTS):
        row = state.get(Table.INCIDENTS, id)
        if row is None:
            return None
        incident = incident_from(row.doc)
        new = transitions.acknowledged(incident, by, now)
        if new == incident:
            return incident
        try:
            state.put(Table.INCIDENTS, id, to_doc(new), row.version)
            return new
        except Conflict:
            continue
    raise Unavailable(f"incident {id} is changed by others without end; try again")
