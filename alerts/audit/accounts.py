"""What the audit asks of the ledger, and the ledger as it answers that; tests put a scripted one in its place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from collector.ledger.intervals import Interval
from collector.ledger.rebuild import LetGo, nothing
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


class Gaps(NamedTuple):
    """What is missing between the lowest and the highest number that a sink has of a stream, in order."""

    stream: str
    region: str
    service: str
    dataset: str
    first_day: str
    last_day: str
    holes: tuple[Interval, ...]


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

    @property
    def absent(self) -> Sequence[str]:
        """Those that should, and have none yet."""
        ...

    def begun_at(self, sink: str) -> float:
        """When its account was begun, or last made anew from its store: what was there before may be there no more."""
        ...

    def let_go(self, sink: str) -> LetGo:
        """Which days it has deleted on purpose. Asks State: for now and then. Raises Unavailable."""
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

    def gaps(self, sink: str) -> Iterable[Gaps]:
        """Every stream with numbers missing inside; not those that contradict themselves, nor foreign ones. Looks at
        every stream that lives: for now and then."""
        ...


class LedgerAccounts:
    """The ledger that the sinks keep in State. Only `sinks` are spoken of: who was switched off has a ledger still, and
    reads nothing more. `let_go`: which days each has deleted on purpose. See Accounts."""

    def __init__(
        self,
        view: LedgerView,
        sinks: Collection[str] | None = None,
        let_go: Callable[[str], LetGo] = lambda _: nothing,
    ) -> None:
        self._view, self._wanted, self._let_go = view, sinks, let_go

    def refresh(self) -> None:
        self._view.refresh()

    @property
    def sinks(self) -> Sequence[str]:
        return [sink for sink in self._view.sinks if self._wanted is None or sink in self._wanted]

    @property
    def absent(self) -> Sequence[str]:
        return sorted(set(self._wanted or ()) - set(self._view.sinks))

    def begun_at(self, sink: str) -> float:
        return self._view.begun_at(sink)

    def let_go(self, sink: str) -> LetGo:
        return self._let_go(sink)

    def position(self, sink: str, tp: TopicPartition) -> int | None:
        return self._view.position(sink, tp)

    def missing(self, sink: str, stream: str, first: int, last: int) -> list[Interval]:
        return self._view.missing(sink, stream, first, last)

    def last(self, sink: str, stream: str) -> int:
        return self._view.last(sink, stream)

    def void_tail(self, sink: str, stream: str) -> Interval | None:
        if self._view.folded(sink, stream) is not None:
            return None  # it would not be, had it void numbers
        account = self._view.account(sink, stream)
        if account is None or not any(day.void for day in account.days):
            return None
        runs = (run for day in account.days for run in day.void or ())
        last = max(runs, key=lambda run: run[1], default=None)
        return last if last is not None and last[1] == account.last else None

    def day_of(self, sink: str, stream: str, number: int) -> str:
        if (folded := self._view.folded(sink, stream)) is not None:
            return next((day for day, first, last in folded.spans() if first <= number <= last), "")
        account = self._view.account(sink, stream)
        days = account.days if account is not None else ()
        return next((day.day for day in days for numbers in day.sets() if number in numbers), "")

    def totals(self, sink: str) -> Mapping[Key, Sums]:
        totals = self._view.totals(sink).items()
        return {Key(*key): Sums(total.stored, total.dead, total.void) for key, total in totals}

    def lies(self, sink: str) -> Sequence[Lie]:
        return [Lie(lie.stream, f"{lie.kind}: {lie.words}") for lie in self._view.lies(sink)]

    def gaps(self, sink: str) -> Iterable[Gaps]:
        for account in self._view.accounts(sink):
            if account.days and not account.foreign and not account.lies and (holes := account.gaps()):
                who = account.stream, account.region, account.service, account.dataset
                yield Gaps(*who, account.days[0].day, account.days[-1].day, tuple(holes))
