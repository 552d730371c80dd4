"""The courier: brings notices to their notifiers at least once, each with one id, and marks them after delivery.

A crash between the two sends the notice again with the same id; none is ever lost. It decides nothing about incidents.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from shippers.clock import Clock
from shippers.errors import LastbeatError

from . import transitions
from .book import Book
from .incidents import Incident, Notice
from .notify.message import Message, Notifier, compose

log = logging.getLogger("lastbeat.alerts.courier")


class Courier:
    """Delivers for all notifiers. `step(name)` is called by one thread at a time for each name; a notifier that hangs
    delays no other."""

    def __init__(self, book: Book, notifiers: Mapping[str, Notifier], clock: Clock) -> None:
        self._book = book
        self._notifiers = notifiers
        self._clock = clock
        self._wait_until: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._refused_until: dict[str, float] = {}
        self.delivered = 0
        self.failed = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The notifiers' names."""
        return tuple(self._notifiers)

    def step(self, name: str) -> None:
        """Deliver what is due to one notifier, in the order it came to be. Waiting is by the monotonic clock."""
        if self._clock.monotonic() < self._wait_until.get(name, float("-inf")):
            return
        for incident, notice in self._due(name):
            message = compose(incident, notice)
            if self._clock.monotonic() < self._refused_until.get(message.notice_id, float("-inf")):
                continue
            if not self._deliver(name, incident, notice, message):
                return

    def _deliver(self, name: str, incident: Incident, notice: Notice, message: Message) -> bool:
        """Whether to go on with the next notice."""
        try:
            self._notifiers[name].send(message)
        except LastbeatError as error:
            self._fail(name, incident, notice, message, error)
            return error.permanent
        except Exception as error:  # noqa: BLE001 - a notifier is foreign code: its faults must not stop the others
            self._fail(name, incident, notice, message, LastbeatError(f"{type(error).__name__}: {error}"))
            return False
        self.delivered += 1
        self._failures.pop(name, None)
        self._refused_until.pop(message.notice_id, None)
        now = self._clock.time()
        self._book.change(incident.id, lambda each: transitions.delivered(each, notice, now))
        return True

    def _due(self, name: str) -> Iterator[tuple[Incident, Notice]]:
        """The first undelivered notice of each incident for this notifier, the oldest first; others wait for it."""
        first = [
            (incident, next(iter(notices)))
            for incident in self._book.owing()
            if (notices := [each for each in incident.notices if each.notifier == name and each.delivered_at is None])
        ]
        yield from sorted(first, key=lambda pair: (pair[1].created_at, pair[0].id))

    def _fail(self, name: str, incident: Incident, notice: Notice, message: Message, error: LastbeatError) -> None:
        self.failed += 1
        if error.permanent:
            wait_s = transitions.PERMANENT_BACKOFF_S
            self._refused_until[message.notice_id] = self._clock.monotonic() + wait_s
        else:
            failures = self._failures[name] = self._failures.get(name, 0) + 1
            wait_s = error.retry_after_s or min(transitions.MAX_BACKOFF_S, 2.0 ** min(failures - 1, 10))
            self._wait_until[name] = self._clock.monotonic() + wait_s
        log.warning("notice %s was not delivered, next try in %.0f s: %s", message.notice_id, wait_s, error)
        now, text = self._clock.time(), str(error)
        self._book.change(incident.id, lambda each: transitions.failed(each, notice, now, wait_s, text))

    def close(self) -> None:
        """Let go of the notifiers."""
        for notifier in self._notifiers.values():
            notifier.close()
