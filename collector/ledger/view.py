"""The ledger for those who ask: the auditor, the boards' statement, the command line. It only reads.

What owners keep of their partitions is put together by stream, so that one boot id in two partitions is one account.
"""

from __future__ import annotations

from collections.abc import Iterable

from collector.ports import State, Table, TopicPartition

from .account import Account, Lie, Total
from .documents import merge_doc
from .intervals import Interval
from .ledger import Folded, Ledger, TotalKey
from .shelf import REBUILT, Reached, read, was_rebuilt


class LedgerView:
    """All sinks' ledgers as of the last `refresh`. Used by one thread."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._ledgers: dict[str, Ledger] = {}
        self._positions: dict[tuple[str, TopicPartition], Reached] = {}
        self._generations: dict[tuple[str, TopicPartition], str] = {}
        self._seen: set[str] = set()
        self._begun: dict[str, float] = {}

    def refresh(self) -> None:
        """Read what has changed. Raises Unavailable; then all is as it was."""
        # Before the ledgers: what is said to be rebuilt here is read below as it was rebuilt.
        begun = {row.key.rpartition("/")[2]: float(row.doc["at"]) for row in self._state.scan(Table.LEDGER, "done/")}
        found = read(self._state, known=self._generations)
        anew = {
            place[0] for place, kept in found.items()
            if was_rebuilt(kept.generation) and self._generations.get(place) != kept.generation
        } & self._ledgers.keys()  # fmt: skip
        if anew:
            known = {place: name for place, name in self._generations.items() if place[0] not in anew}
            found = read(self._state, known=known)
            self._forget(anew)
        seen: set[str] = set()
        for place, kept in found.items():
            ledger = self._ledgers.setdefault(place[0], Ledger())
            for doc in kept.snapshot:
                merge_doc(ledger, doc)
            for key, doc in kept.changes.items():
                if key not in self._seen:
                    merge_doc(ledger, doc)
                seen.add(key)
            if kept.at is not None:
                self._generations[place] = kept.generation
            if (reached := kept.reached) is not None and place[1].partition != REBUILT:
                self._positions[place] = max(reached, self._positions.get(place, reached))
        self._seen = seen
        self._begun |= begun

    @property
    def sinks(self) -> tuple[str, ...]:
        """Every sink that has a ledger."""
        return tuple(sorted(self._ledgers))

    def begun_at(self, sink: str) -> float:
        """When the ledger was begun, or last rebuilt: what was known of it before may hold no more; 0 for never."""
        return self._begun.get(sink, 0.0)

    def position(self, sink: str, tp: TopicPartition) -> int | None:
        """Everything of `tp` below this offset is in the ledger; None if nothing is."""
        reached = self._positions.get((sink, tp))
        return reached[1] if reached is not None else None

    def positions(self, sink: str) -> dict[TopicPartition, int]:
        """The same of every partition that it knows."""
        return {tp: at for (of, tp), (_, at) in self._positions.items() if of == sink}

    def missing(self, sink: str, stream: str, first: int, last: int) -> list[Interval]:
        """Which of these numbers the sink has not accounted for, in order."""
        return self._of(sink).missing(stream, first, last)

    def last(self, sink: str, stream: str) -> int:
        """The greatest number that is accounted for; 0 for none."""
        return self._of(sink).last(stream)

    def folded(self, sink: str, stream: str) -> Folded | None:
        """A stream that is folded, as it is; None for any other."""
        return self._of(sink).folded.get(stream)

    def account(self, sink: str, stream: str) -> Account | None:
        """One stream's account; not to be changed."""
        return self._of(sink).account(stream)

    def accounts(self, sink: str) -> Iterable[Account]:
        """The accounts of all streams but those that are folded, of which all is stored; not to be changed."""
        return self._of(sink).accounts.values()

    def streams(self, sink: str) -> list[str]:
        """Every stream that has numbers there."""
        return self._of(sink).streams()

    def totals(self, sink: str) -> dict[TotalKey, Total]:
        """What was settled, by (day, region, service, dataset)."""
        return self._of(sink).totals()

    def lies(self, sink: str) -> list[Lie]:
        """Headers that can't all be true. A stream that is in here is never balanced."""
        return self._of(sink).lies()

    def _of(self, sink: str) -> Ledger:
        return self._ledgers.get(sink) or Ledger()

    def _forget(self, sinks: set[str]) -> None:
        """What was known of these does not count any more."""
        for sink in sinks:
            del self._ledgers[sink]
        self._generations = {place: name for place, name in self._generations.items() if place[0] not in sinks}
        self._seen = {key for key in self._seen if key.split("/")[1] not in sinks}
