"""What is to be done with each record, decided from its header, the ledger and the positions alone.

Pure: it reads nothing and writes nothing. Numbers planned in one call count as accounted for in the rest of it, so a
batch that comes twice in one write is stored once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from collector import dead_letters
from collector.dead_letters import DeadLetter
from collector.ledger.intervals import Interval
from collector.ledger.streams import StreamLedger
from collector.ports import Record, TopicPartition
from shippers.batch import Batch, Header
from shippers.errors import BadBatch


@dataclass(frozen=True, slots=True)
class Planned:
    """One record: `fresh` are the numbers whose lines are to be stored, `duplicate` counts those that are accounted
    for already, `dead` is what goes to the dead letters without being opened. `header` is None when it can't be read,
    `open` says that nothing of its numbers is settled: the batch breaks the contract. `anew` says that the lake has not
    all of it although its position is beyond: this is another journal than the one that the position was made in.
    `again` says that a sender's own batch came once more, not merely was read once more; `at_odds` that it is another
    one under the same numbers.
    """

    record: Record
    header: Header | None
    fresh: tuple[Interval, ...] = ()
    duplicate: int = 0
    dead: tuple[DeadLetter, ...] = ()
    open: bool = False
    anew: bool = False
    again: bool = False
    at_odds: bool = False


class Planner:
    """Plans one write. `ledger_for` gives the ledger that knows a header's stream, loading what it must."""

    def __init__(
        self,
        ledger_for: Callable[[Header], StreamLedger],
        positions: Mapping[TopicPartition, int | None],
        now: float,
    ) -> None:
        self._ledger_for = ledger_for
        self._positions = positions
        self._now = now
        self._planned = StreamLedger()
        self._anew: set[TopicPartition] = set()

    def plan(self, records: Iterable[Record]) -> Iterator[Planned]:
        """One answer a record, in their order, each decided when it is asked for."""
        return map(self._one, records)

    def _one(self, record: Record) -> Planned:
        try:
            header = Header.decode(record.header)
            _check_topic(header, record.tp)
        except BadBatch as error:
            return self._broken(record, None, error)
        try:
            if not record.refused and not record.checked:
                Batch(header, record.body).check()
        except BadBatch as error:
            return self._broken(record, header, error)
        return self._refused(record, header) if record.refused else self._sound(record, header)

    def _broken(self, record: Record, header: Header | None, error: BadBatch) -> Planned:
        """Its numbers stay open: what the body was is not known, and a sound copy may still come."""
        if self._is_settled(record):
            count = dead_letters.count_lines(record) if header is None else header.count
            return Planned(record, header, duplicate=count, open=True)
        letter = dead_letters.of_batch(record, header, f"{error.code}: {error}", self._now)
        return Planned(record, header, dead=(letter,), open=True)

    def _refused(self, record: Record, header: Header) -> Planned:
        """A foreign record that is no event: a dead letter, once."""
        if self._is_settled(record):
            return Planned(record, header, duplicate=header.count)
        numbers = header.stream, header.first, header.last
        if not self._ledger_for(header).missing(*numbers) or not self._planned.missing(*numbers):
            return Planned(record, header, duplicate=1)
        self._planned.add(*numbers)
        letter = dead_letters.of_line(record, header, header.first, record.body, record.refused, self._now)
        return Planned(record, header, dead=(letter,))

    def _sound(self, record: Record, header: Header) -> Planned:
        settled = self._is_settled(record)
        # A replay that is read again has had its try: what is a letter still, stays one.
        ledger = self._ledger_for(replace(header, replay=False) if settled else header)
        fresh = tuple(
            interval
            for missing in ledger.missing(header.stream, header.first, header.last)
            for interval in self._planned.missing(header.stream, *missing)
        )
        for first, last in fresh:
            self._planned.add(header.stream, first, last)
        anew = settled and bool(fresh)
        if anew:
            self._anew.add(record.tp)
        duplicate = header.count - sum(last - first + 1 for first, last in fresh)
        if header.void is None:
            again = not (fresh or settled or header.replay or record.foreign)
            return Planned(record, header, fresh, duplicate, anew=anew, again=again)
        dead = tuple(dead_letters.of_void(record, header, interval, self._now) for interval in fresh)
        return Planned(record, header, duplicate=duplicate, dead=dead, anew=anew)

    def _is_settled(self, record: Record) -> bool:
        """Whether the position says that it was written before. That is believed only of what has no numbers to know
        it by: a journal that was lost and begins anew has the same offsets for other events."""
        position = None if record.tp in self._anew else self._positions.get(record.tp)
        return position is not None and record.next_offset <= position


def at_odds(plan: Planned, now: float) -> Planned:
    """What is to be done with a batch whose numbers hold other events: all of it is a dead letter."""
    letter = dead_letters.of_batch(plan.record, plan.header, dead_letters.OTHER_CONTENT, now)
    return Planned(plan.record, plan.header, dead=(letter,), open=True, at_odds=True)


def _check_topic(header: Header, tp: TopicPartition) -> None:
    _, region, dataset = tp.topic.split(".")[:3]
    if header.dataset != dataset:
        raise BadBatch("dataset", f"dataset {header.dataset!r} in topic {tp.topic!r}")
    if header.region != region:
        raise BadBatch("region", f"region {header.region!r} in topic {tp.topic!r}")


def account(ledger: StreamLedger, plan: Planned) -> None:
    """Put the numbers that a plan settles into the ledger: what is stored, unreadable, refused or void, but no broken
    batch."""
    if plan.header is None or plan.open:
        return
    for first, last in plan.fresh:
        ledger.add(plan.header.stream, first, last)
    if plan.header.void is not None or plan.record.refused:
        ledger.add(plan.header.stream, plan.header.first, plan.header.last)
