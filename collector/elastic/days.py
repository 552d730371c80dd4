"""The days that ageing has deleted, as State keeps them. Listed before the index goes, so that nothing that comes late
can bring it back."""

from __future__ import annotations

from collections.abc import Iterator

from collector.ports import State, Table


class DeletedDays:
    """Table DELETED_DAYS: one row a dataset, region and day. Without a State, nothing was ever deleted.

    Every method raises Unavailable when State can't be reached: then nobody guesses.
    """

    def __init__(self, state: State | None) -> None:
        self._state = state

    def has(self, dataset: str, region: str, day: str) -> bool:
        """Whether this day was deleted. Asked anew each time."""
        return self._state is not None and self._state.get(Table.DELETED_DAYS, _key(dataset, region, day)) is not None

    def add(self, dataset: str, region: str, day: str, *, index: str, events: int, at: float) -> None:
        """List a day that is about to be deleted. Again is no harm."""
        if self._state is None:
            raise ValueError("days can only be deleted where a State lists them")
        doc = {"dataset": dataset, "region": region, "day": day, "index": index, "events": events, "deleted_at": at}
        self._state.put_many(Table.DELETED_DAYS, {_key(dataset, region, day): doc})

    def all(self) -> Iterator[tuple[str, str, str]]:
        """(dataset, region, day) of every deleted day: where hot ends."""
        if self._state is not None:
            for row in self._state.scan(Table.DELETED_DAYS):
                yield row.doc["dataset"], row.doc["region"], row.doc["day"]


def _key(dataset: str, region: str, day: str) -> str:
    return f"{dataset}/{region}/{day}"
