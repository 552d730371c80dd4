"""Brings what the auditor found to the watch as incidents, and lets nothing of it delay or stop a page: it is read on
a thread of its own, for at most a tenth of the time, what can't be read is left out, and the watch is handed the rest.

While State is away incidents stay as they are, and while a row can't be read none of them ends.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from collector.complaint import Complaint
from collector.ports import State
from shippers.clock import Clock
from shippers.errors import LastbeatError

from .audit.findings import read_findings
from .audit.statement import HEAD, Head, read_head
from .book import Book
from .document import UNREADABLE, checked
from .incidents import Incident, Status
from .lossy import STORES, differences, lies, loss, over, scopes
from .transitions import Draft

log = logging.getLogger("lastbeat.alerts.losses")

EVERY_S, AFTER_FAILURE_S = 2.0, 10.0
SHARE = 10
"""What took t to read is not read again before nine times t have passed."""
KINDS = ("lossy", "lying")


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be open, and what is over and why, by incident key."""

    drafts: Mapping[str, Draft]
    over: Mapping[str, str]


class Losses:
    """`run` reads, on a thread of its own; `step` takes over what was read, on the watch's. `state` is best one of its
    own too: nobody shall wait for a lock that a long read holds."""

    def __init__(self, state: State, book: Book, clock: Clock) -> None:
        self._state, self._book, self._clock = state, book, clock
        self._told: deque[Told] = deque(maxlen=1)
        self._begun = False
        self._trouble = Complaint(
            log, clock, "what the audit found can't all be read: what it told of stays open", "it can be read again"
        )

    # --- on the watch's thread ---

    def step(self) -> None:
        """Open, raise and resolve what was read since. Never raises, asks nobody."""
        self._begun = True
        try:
            told = self._told.popleft()
        except IndexError:
            return
        try:
            for draft in told.drafts.values():
                self._book.open(draft)
            for key, words in told.over.items():
                self._book.resolve(key, words)
        except Exception:
            log.exception("what the audit found could not be told")

    # --- on its own ---

    def run(self, stop: threading.Event) -> None:
        """Read again and again until `stop` is set. Begins with the watch's first round: then it knows what is open."""
        pause_s = EVERY_S
        while not self._clock.wait(stop, pause_s):
            began, done = self._clock.monotonic(), False
            try:
                done = not self._begun or self.read()
            except Exception:
                if not stop.is_set():  # else what it reads was closed under it
                    log.exception("what the audit found could not be read")
            took_s = self._clock.monotonic() - began
            pause_s = max(EVERY_S if done else AFTER_FAILURE_S, (SHARE - 1) * took_s)

    def read(self) -> bool:
        """Read once, and hand it over; False if State is away."""
        bad: dict[str, str] = {}
        try:
            findings, head = read_findings(self._state, bad), self._head(bad)
        except (LastbeatError, *UNREADABLE) as error:
            self._trouble.note(str(error))
            return False
        self._trouble.note(
            f"{len(bad)} rows make no sense: {'; '.join(f'{key} ({why})' for key, why in list(bad.items())[:3])}"
            if bad
            else ""
        )
        open_ = {each.dedup_key: each for each in self._book.opens() if each.kind in KINDS}
        already = set(open_)
        told = {key for key, each in open_.items() if each.status is not Status.PENDING}
        lost = [each for each in findings if each.ended_at is None]
        drafts = {key: loss(key, group, told) for key, group in scopes(lost, already).items()}
        if head is not None:
            drafts |= {draft.dedup_key: draft for draft in (*lies(head), *differences(head))}
        ended = [key for key in already - drafts.keys() if not bad and _can_end(open_[key], head)]
        self._told.append(Told(drafts, {key: over(key, findings, drafts) for key in ended}))
        return True

    def _head(self, bad: dict[str, str]) -> Head | None:
        try:
            head = read_head(self._state)
            if head is None:
                return None
            for each in (*head.liars, *head.differences):
                checked(each)
            return checked(head)
        except UNREADABLE as error:
            bad[HEAD] = str(error)
            return None


def _can_end(incident: Incident, head: Head | None) -> bool:
    """That stores differ is over when they were counted again; not when nobody knows of the count any more."""
    if not incident.dedup_key.startswith(STORES):
        return True
    counted_at = (incident.evidence or {}).get("counted_at") or incident.began_at
    return head is not None and head.counted_at is not None and head.counted_at > counted_at
