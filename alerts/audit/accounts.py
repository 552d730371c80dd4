"""What the audit asks of the ledger, and the ledger as it answers that; tests put a scripted one in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from collector.ledger.intervals import Interval
from collector.ledger.view import LedgerView
from collector.ports import TopicPartition


class Key(NamedTuple):
    """What the statement counts by."""

    day: str
    region: str
    service: str
    dataset: str


class Sums(NamedTuple):
    """What one sink has of one key: stored, in the dead letters, and void (given up by the sender, with a reason)."""

    stored: int = 0
    dead: int = 0
    void: int = 0


class Lie(NamedTuple):
    """A stream whose headers contradict each other, in words."""

    stream: str
    words: str


class Accounts(Protocol):
    """Used by the auditor's thread alone. Everything but `refresh` answers from what that has read."""

    def refresh(self) -> None:
        """Read what the sinks have added. All below the positions that it finds is in what it finds. Raises
        Unavailable."""
        ...

    @property
    def sinks(self) -> Sequence[str]:
        """The sinks that keep accounts."""
        ...

    def position(self, sink: str, tp: TopicPartition) -> int | None:
        """Up to where a sink has accounted for a partition; None if it knows nothing of it."""
        ...

    def missing(self, sink: str, stream: str, first: int, last: int) -> list[Interval]:
        """Which of these numbers are neither stored, dead nor void there, in order."""
        ...

    def last(self, sink: str, stream: str) -> int:
        """The greatest number that is accounted for there; 0 for none."""
        ...

    def void_tail(self, sink: str, stream: str) -> Interval | None:
        """The run of void numbers that a stream ends with there; None if it ends otherwise."""
        ...

    def day_of(self, sink: str, stream: str, number: int) -> str:
        """The day that a number is accounted under; '' if that isn't known."""
        ...

    def totals(self, sink: str) -> Mapping[Key, Sums]:
        """Everything that a sink has, by key."""
        ...

    def lies(self, sink: str) -> Sequence[Lie]:
        """Whose headers contradict each other."""
        ...


class LedgerAccounts:
    """The ledger that the sinks keep in State. See Accounts."""

    def __init__(self, view: LedgerView) -> None:
        self._view = view

    def refresh(self) -> None:
        self._view.refresh()

    @property
    def sinks(self) -> Sequence[str]:
        return self._view.sinks

    def position(self, sink: str, tp: TopicPartition) -> int | None:
        return self._view.position(sink, tp)

    def missing(self, sink: str, stream: str, first: int, last: int) -> list[Interval]:
        return self._view.missing(sink, stream, first, last)

    def last(self, sink: str, stream: str) -> int:
        account = self._view.account(sink, stream)
        return account.last if account is not None else 0

    def void_tail(self, sink: str, stream: str) -> Interval | None:
        account = self._view.account(sink, stream)
        runs = (run for day in account.days for run in day.void or ()) if account is not None else ()
        last = max(runs, key=lambda run: run[1], default=None)
        return last if account is not None and last is not None and last[1] == account.last else None

    def day_of(self, sink: str, stream: str, number: int) -> str:
        account = self._view.account(sink, stream)
        days = account.days if account is not None else ()
        return next((day.day for day in days for numbers in day.sets() if number in numbers), "")

    def totals(self, sink: str) -> Mapping[Key, Sums]:
        totals = self._view.totals(sink).items()
        return {Key(*key): Sums(total.stored, total.dead, total.void) for key, total in totals}

    def lies(self, sink: str) -> Sequence[Lie]:
        return [Lie(lie.stream, f"{lie.kind}: {lie.words}") for lie in self._view.lies(sink)]
