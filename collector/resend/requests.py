"""What services are asked to send again, as rows of State: written by whoever misses something, read by the gateways,
which put them into their answers and note what came of it.

Pure but for the two functions that change a row, each by compare-and-set on that one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from collector.ledger.intervals import Interval, IntervalSet
from collector.ports import Conflict, State, Table
from shippers.errors import Unavailable

from .wanted import without

LASTS_S = 3_600.0
"""For how long a service is asked: then it is gone, or it has no copies."""
MOST_OPEN = 1_000
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of one stream. `open` is still asked for, `sent` came to the journal, `lacking` its service has no
    more. Region and service tell who may have it when the process itself is dead; '' if that isn't known: anybody."""

    stream: str
    region: str
    service: str
    until: float
    open: tuple[Interval, ...] = ()
    sent: tuple[Interval, ...] = ()
    lacking: tuple[Interval, ...] = ()

    @property
    def boot(self) -> str:
        """Whose stream it is."""
        return self.stream.partition(".")[0]

    def wanting(self, numbers: Iterable[Interval]) -> Request:
        """These are wanted as well, unless something came of them already."""
        more = without(numbers, IntervalSet((*self.sent, *self.lacking)))
        return replace(self, open=tuple(IntervalSet((*self.open, *more))))

    def settled(self, sent: Iterable[Interval] = (), lacking: Iterable[Interval] = ()) -> Request:
        """Something came of some of what is open."""
        gone, given = IntervalSet(lacking), IntervalSet(sent)
        came = _within(self.open, given)
        left = without(self.open, given)
        return replace(
            self,
            open=without(left, gone),
            sent=tuple(IntervalSet((*self.sent, *came))),
            lacking=tuple(IntervalSet((*self.lacking, *_within(left, gone)))),
        )


def _within(numbers: Iterable[Interval], chosen: IntervalSet) -> tuple[Interval, ...]:
    """The numbers that are in `chosen`."""
    numbers = tuple(numbers)
    return without(numbers, IntervalSet(without(numbers, chosen)))


def of(request: Request, numbers: Iterable[Interval]) -> tuple[tuple[Interval, ...], ...]:
    """What of `numbers` was sent, is lacking and is open."""
    numbers = tuple(numbers)
    parts = request.sent, request.lacking, request.open
    return tuple(_within(numbers, IntervalSet(part)) for part in parts)


def read_open(state: State, now: float) -> Iterator[Request]:
    """Every request that something is still asked for. Raises Unavailable."""
    for row in state.scan(Table.RESENDS):
        request = from_doc(row.key, row.doc)
        if request.open and request.until > now:
            yield request


def change(state: State, stream: str, how: Callable[[Request | None], Request | None]) -> Request | None:
    """Change a stream's row; `how` is given None where there is none, and gives None to leave it as it is. Returns what
    there is now. Raises Unavailable."""
    for _ in range(_ATTEMPTS):
        row = state.get(Table.RESENDS, stream)
        before = from_doc(stream, row.doc) if row is not None else None
        after = how(before)
        if after is None or after == before:
            return before
        try:
            state.put(Table.RESENDS, stream, to_doc(after), row.version if row is not None else None)
        except Conflict:
            continue
        return after
    raise Unavailable(f"the request for {stream} is changed by others all the time")


def settle(state: State, stream: str, sent: Iterable[Interval], lacking: Iterable[Interval]) -> None:
    """Note what came of a stream's row, if there is one. Raises Unavailable."""
    sent, lacking = tuple(sent), tuple(lacking)
    change(state, stream, lambda known: known.settled(sent, lacking) if known is not None else None)


def forget_old(state: State, now: float) -> int:
    """Delete rows that nobody is asked for any more; how many are left. Raises Unavailable."""
    left = 0
    for row in list(state.scan(Table.RESENDS)):
        if from_doc(row.key, row.doc).until + LASTS_S < now:
            state.delete(Table.RESENDS, row.key)
        else:
            left += 1
    return left


def to_doc(request: Request) -> dict[str, Any]:
    """As State keeps it."""
    numbers = {name: [list(one) for one in getattr(request, name)] for name in ("open", "sent", "lacking")}
    return {"region": request.region, "service": request.service, "until": request.until, **numbers}


def from_doc(stream: str, doc: Mapping[str, Any]) -> Request:
    """As it was kept."""
    numbers = {name: tuple((int(a), int(b)) for a, b in doc.get(name, ())) for name in ("open", "sent", "lacking")}
    return Request(stream, str(doc["region"]), str(doc["service"]), float(doc["until"]), **numbers)
