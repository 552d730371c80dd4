"""ScriptedSink: a sink for tests of what feeds one. It keeps events in memory, and fails as it is told to.

A fault is a value: `script` takes what the next writes shall do, one each. Without one, a write behaves as the port
says, down to dead letters and batches that come twice.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from shippers.batch import Batch, Header
from shippers.errors import BadBatch, LastbeatError

from . import dead_letters
from .dead_letters import Among, DeadLetter
from .ledger.intervals import IntervalSet
from .ledger.streams import StreamLedger
from .ports import Outcome, Record, TopicPartition


@dataclass(frozen=True, slots=True)
class Retry:
    """Settle all but these, which are to be written again; an index is a record's place in the write."""

    indexes: Collection[int]


Step = LastbeatError | Retry | None
"""What one write does: raises; leaves some of its records unsettled; or, with None, just works."""


class ScriptedSink:
    """See the port Sink. `events` are the lines stored, by `<stream>:<number>`; `dead` are the dead letters."""

    lanes = 1

    def __init__(self, *steps: Step, keeps_positions: bool = True) -> None:
        self.events: dict[str, bytes] = {}
        self.dead: list[DeadLetter] = []
        self.writes: list[tuple[Record, ...]] = []
        self.closed = False
        self._steps: deque[Step] = deque(steps)
        self._ledger = StreamLedger()
        self._positions: dict[TopicPartition, int] | None = {} if keeps_positions else None

    def script(self, *steps: Step) -> None:
        """Let the next writes do these, one each."""
        self._steps.extend(steps)

    def write(self, records: Sequence[Record]) -> list[Outcome]:
        """See Sink.write."""
        self.writes.append(tuple(records))
        step = self._steps.popleft() if self._steps else None
        if isinstance(step, LastbeatError):
            raise step
        retried = step.indexes if isinstance(step, Retry) else ()
        held = {record.tp for i, record in enumerate(records) if i in retried}
        outcomes = []
        for i, record in enumerate(records):
            outcome = Outcome(record, retry=True) if i in retried else self._settle(record)
            outcomes.append(outcome)
            if self._positions is not None and record.tp not in held:
                anew = self._is_settled(record) and outcome.stored + outcome.dead > 0
                reached = 0 if anew else self._positions.get(record.tp, 0)
                self._positions[record.tp] = max(record.next_offset, reached)
        return outcomes

    def positions(self) -> Mapping[TopicPartition, int] | None:
        """See Sink.positions."""
        return None if self._positions is None else dict(self._positions)

    def close(self) -> None:
        """See Sink.close."""
        self.closed = True

    # Its dead letters, as the port DeadLetters has them.

    def find(self, among: Among, limit: int) -> list[DeadLetter]:
        """See DeadLetters.find."""
        newest = {dead_letters.id_of(letter): letter for letter in self.dead}
        found = [letter for letter in reversed(newest.values()) if dead_letters.is_among(letter, among)]
        return [dataclasses.replace(letter, original=b"") for letter in found[:limit]]

    def get(self, id: str) -> DeadLetter | None:
        """See DeadLetters.get."""
        named = {dead_letters.id_of(letter): letter for letter in self.dead}
        return named.get(id) or named.get(dead_letters.void_id(id))

    def stored(self, header: Header) -> int:
        """See DeadLetters.stored."""
        return sum(f"{header.stream}:{number}" in self.events for number in range(header.first, header.last + 1))

    def drop(self, letters: Sequence[DeadLetter]) -> None:
        """See DeadLetters.drop."""
        gone = {(dead_letters.id_of(letter), letter.source) for letter in letters}
        self.dead = [letter for letter in self.dead if (dead_letters.id_of(letter), letter.source) not in gone]

    def _is_settled(self, record: Record) -> bool:
        return self._positions is not None and record.next_offset <= self._positions.get(record.tp, 0)

    def _settle(self, record: Record) -> Outcome:
        try:
            header = Header.decode(record.header)
            if not record.refused:
                Batch(header, record.body).check()
        except BadBatch as error:
            if self._is_settled(record):
                return Outcome(record, duplicate=dead_letters.count_lines(record))
            return self._bury(record, f"{error.code}: {error}")
        if self._is_at_odds(record, header):
            return dataclasses.replace(self._bury(record, dead_letters.OTHER_CONTENT), at_odds=header)
        return self._with_numbers(self._store(record, header), header)

    def _is_at_odds(self, record: Record, header: Header) -> bool:
        """Whether a sender's own batch comes under numbers that all are there, with other lines."""
        if header.replay or header.void is not None or record.foreign or record.refused or self._is_settled(record):
            return False
        if self._ledger.missing(header.stream, header.first, header.last):
            return False
        said = {f"{header.stream}:{header.first + i}": line for i, line in enumerate(record.body.split(b"\n")[:-1])}
        return any(self.events.get(id_, line) != line for id_, line in said.items())

    def _with_numbers(self, outcome: Outcome, header: Header) -> Outcome:
        """What is in the store, and what is among the dead letters, is seen there."""
        here = [f"{header.stream}:{number}" in self.events for number in range(header.first, header.last + 1)]
        dead = IntervalSet((header.first + i, header.first + i) for i, stored in enumerate(here) if not stored)
        void = IntervalSet()
        for letter in self.dead:
            if letter.stream == header.stream and dead_letters.is_void(letter):
                void.merge(dead.without(dead.without(IntervalSet([(letter.first, letter.first + letter.count - 1)]))))
        return dataclasses.replace(outcome, header=header, dead_numbers=tuple(dead), void_numbers=tuple(void))

    def _store(self, record: Record, header: Header) -> Outcome:
        outcome = Outcome(record)
        lines = [record.body] if record.refused else record.body.split(b"\n")
        fresh = self._ledger.missing(header.stream, header.first, header.last)
        if header.replay and not self._is_settled(record):
            numbers = range(header.first, header.last + 1)
            fresh = [(number, number) for number in numbers if f"{header.stream}:{number}" not in self.events]
        for first, last in fresh:
            self._ledger.add(header.stream, first, last)
            if header.void is not None:
                self.dead.append(dead_letters.of_void(record, header, (first, last), record.appended_at))
                outcome = dataclasses.replace(outcome, dead=outcome.dead + last - first + 1)
                continue
            for number in range(first, last + 1):
                outcome = self._keep(outcome, header, number, lines[number - header.first])
        return dataclasses.replace(outcome, duplicate=header.count - outcome.stored - outcome.dead)

    def _keep(self, outcome: Outcome, header: Header, number: int, line: bytes) -> Outcome:
        record = outcome.record
        why = record.refused or dead_letters.why_unreadable(line)
        if why:
            self.dead.append(dead_letters.of_line(record, header, number, line, why, record.appended_at))
            return dataclasses.replace(outcome, dead=outcome.dead + 1)
        self.events[f"{header.stream}:{number}"] = line
        return dataclasses.replace(outcome, stored=outcome.stored + 1)

    def _bury(self, record: Record, reason: str) -> Outcome:
        try:
            header: Header | None = Header.decode(record.header)
        except BadBatch:
            header = None
        letter = dead_letters.of_batch(record, header, reason, record.appended_at)
        self.dead.append(letter)
        return Outcome(record, dead=letter.count)
