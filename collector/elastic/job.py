"""One batch on its way into Elasticsearch: which of its events are settled, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from collector import dead_letters
from collector.dead_letters import DeadLetter
from collector.ledger.intervals import Interval, IntervalSet
from collector.ports import Outcome, Record
from shippers.batch import Header

from .bulk import prove, splice, splice_some


@dataclass(slots=True)
class Job:
    """A record, opened as far as needed. `pending` holds the positions of lines that aren't settled yet.

    `letters` are its events that are to become dead letters; they count as dead only once those are kept.
    `unproven` marks a void batch of which it isn't known yet whether some of its events are here all the same.
    `lost` are the numbers that the dead letters hold, `void` those of them that are there as void. A `broken` batch
    settles no numbers. `again` are the positions of lines that were there already, as long as nobody has looked whether
    they are the same; they count as duplicates. `at_odds` says that they were not.
    """

    record: Record
    header: Header | None
    index: str = ""
    pending: Sequence[int] = ()
    stored: int = 0
    duplicate: int = 0
    dead: int = 0
    letters: list[DeadLetter] = field(default_factory=list)
    unproven: bool = False
    lost: tuple[Interval, ...] = ()
    void: tuple[Interval, ...] = ()
    broken: bool = False
    again: list[int] = field(default_factory=list)
    at_odds: bool = False
    _lines: Sequence[bytes] = ()

    @property
    def lines(self) -> Sequence[bytes]:
        """Its lines, taken apart only once somebody has to look at one."""
        if not self._lines:
            self._lines = self.record.body.split(b"\n")[:-1]
        return self._lines

    @property
    def settled(self) -> bool:
        """Every event is stored, was there, or is kept as a dead letter."""
        return not self.pending and not self.letters and not self.unproven

    @property
    def begun(self) -> bool:
        """Some of its events are settled, or are to be dead letters."""
        return bool(self.stored or self.duplicate or self.dead or self.letters)

    def park(self) -> None:
        """Let go of the body until the record comes again."""
        self._lines, self.record = (), dataclasses.replace(self.record, body=b"")

    def resume(self, record: Record) -> None:
        """Go on with what is pending: its record came again."""
        self.record = record
        if self.pending or self.again:
            assert self.header is not None
            prove(self.header, record.body)

    def outcome(self) -> Outcome:
        """What the caller is told."""
        if not self.settled:
            return Outcome(self.record, retry=True)
        if self.broken:
            return Outcome(self.record, self.stored, self.duplicate, self.dead)
        lost = tuple(IntervalSet(self.lost)) if self.lost else ()
        void = tuple(IntervalSet(self.void)) if self.void else ()
        odd = self.header if self.at_odds else None
        header = None if odd and not self.stored and not lost else self.header  # then it settles nothing itself
        return Outcome(self.record, self.stored, self.duplicate, self.dead, False, header, lost, void, odd)

    def body(self, positions: Sequence[int]) -> tuple[bytes, ...]:
        """The bulk body for these of its lines, in parts."""
        header = self.header
        assert header is not None
        if len(positions) == header.count:
            return splice(header.stream, header.first, header.count, self.record.body)
        return (splice_some(header.stream, header.first, self.lines, positions),)

    def bury(self, position: int, reason: str) -> None:
        """Make a dead letter of one line."""
        assert self.header is not None
        number, line = self.header.first + position, self.lines[position]
        known = dead_letters.why_unreadable(line)
        reason = f"{known} ({reason})" if known else reason
        letter = dead_letters.of_line(self.record, self.header, number, line, reason, self.record.appended_at)
        self.letters.append(letter)

    def bury_refused(self) -> None:
        """Make a dead letter of a foreign record that is no event."""
        header = self.header
        assert header is not None
        record = self.record
        letter = dead_letters.of_line(record, header, header.first, record.body, record.refused, record.appended_at)
        self.letters.append(letter)

    def bury_broken(self, reason: str) -> None:
        """Make one dead letter of a batch that breaks the contract. Its numbers stay open: a sound copy may come."""
        letter = dead_letters.of_batch(self.record, self.header, reason, self.record.appended_at)
        self.letters.append(letter)
        self.pending, self.broken = (), True

    def bury_late(self, reason: str) -> None:
        """Make one dead letter of a sound batch that comes too late."""
        header = self.header
        assert header is not None
        letter = dead_letters.of_batch(self.record, header, "", self.record.appended_at)
        self.letters.append(dataclasses.replace(letter, reason=reason))
        self.pending = ()

    def bury_used(self) -> None:
        """Make one dead letter of those lines whose numbers were there already, for they hold other events."""
        header = self.header
        assert header is not None
        letter = dead_letters.of_batch(self.record, header, dead_letters.OTHER_CONTENT, self.record.appended_at)
        count = len(self.again)
        if count < header.count:
            positions = sorted(self.again)
            original = b"".join([self.lines[position] + b"\n" for position in positions])
            letter = dataclasses.replace(letter, first=header.first + positions[0], count=count, original=original)
        self.letters.append(letter)
        self.duplicate -= count
        self.again, self.at_odds = [], True

    def bury_void(self, numbers: Interval) -> None:
        """Keep the numbers of a void batch; those that aren't in `numbers` are accounted for already."""
        header = self.header
        assert header is not None
        self.letters.append(dead_letters.of_void(self.record, header, numbers, self.record.appended_at))

    def buried(self, fresh: Sequence[bool]) -> None:
        """Its letters are kept; those that aren't `fresh` were there before."""
        for letter, new in zip(self.letters, fresh, strict=True):
            numbers = (letter.first, letter.first + letter.count - 1)
            if not dead_letters.has_used_numbers(letter):
                self.lost += (numbers,)
            if dead_letters.is_void(letter):
                self.void += (numbers,)
            if new:
                self.dead += letter.count
            else:
                self.duplicate += letter.count
        self.letters = []


@dataclass(frozen=True, slots=True)
class Request:
    """One bulk request: parts of jobs that go to one index, in the order of its items."""

    index: str
    parts: Sequence[tuple[Job, Sequence[int]]]

    @property
    def count(self) -> int:
        """How many items it has."""
        return sum(len(positions) for _, positions in self.parts)

    def body(self) -> bytes:
        """Its bytes."""
        return b"".join([part for job, positions in self.parts for part in job.body(positions)])

    def halves(self) -> tuple[Request, Request]:
        """The same as two requests: how the one item that spoils a whole request is found."""
        if len(self.parts) > 1:
            middle = len(self.parts) // 2
            return Request(self.index, self.parts[:middle]), Request(self.index, self.parts[middle:])
        (job, positions), middle = self.parts[0], self.count // 2
        return Request(self.index, [(job, positions[:middle])]), Request(self.index, [(job, positions[middle:])])
