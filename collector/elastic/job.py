"""One batch on its way into Elasticsearch: which of its events are settled, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from collector.ports import DeadLetter, Outcome, Record
from shippers.batch import Header

from .bulk import splice, splice_some


@dataclass(slots=True)
class Job:
    """A record, opened as far as needed. `pending` holds the positions of lines that aren't settled yet.

    `letters` are its events that are to become dead letters; they count as dead only once those are kept.
    """

    record: Record
    header: Header | None
    lines: Sequence[bytes] = ()
    index: str = ""
    pending: Sequence[int] = ()
    stored: int = 0
    duplicate: int = 0
    dead: int = 0
    letters: list[DeadLetter] = field(default_factory=list)

    @property
    def source(self) -> str:
        """Where it was read."""
        tp = self.record.tp
        return f"{tp.topic}/{tp.partition}/{self.record.offset}"

    @property
    def day(self) -> str:
        """The day that its header claims."""
        return self.header.day if self.header is not None else "skewed"

    @property
    def settled(self) -> bool:
        """Every event is stored, was there, or is kept as a dead letter."""
        return not self.pending and not self.letters

    def outcome(self) -> Outcome:
        """What the caller is told."""
        if not self.settled:
            return Outcome(self.record, retry=True)
        return Outcome(self.record, self.stored, self.duplicate, self.dead)

    def body(self, positions: Sequence[int]) -> bytes:
        """The bulk body for these of its lines."""
        assert self.header is not None
        if len(positions) == len(self.lines):
            return splice(self.header.stream, self.header.first, self.lines)
        return splice_some(self.header.stream, self.header.first, self.lines, positions)

    def bury(self, position: int, reason: str, at: float) -> None:
        """Make a dead letter of one line."""
        assert self.header is not None
        self.letters.append(self._letter(self.header.first + position, 1, reason, self.lines[position], at))

    def bury_whole(self, reason: str, at: float) -> None:
        """Make one dead letter of all of it."""
        header = self.header
        first, count = (header.first, header.count) if header is not None else (0, 1)
        self.letters.append(self._letter(first, count, reason, self.record.body, at))
        self.pending = ()

    def buried(self) -> None:
        """Its letters are kept."""
        self.dead += sum(letter.count for letter in self.letters)
        self.letters = []

    def _letter(self, first: int, count: int, reason: str, original: bytes, at: float) -> DeadLetter:
        header = self.header
        if header is None:
            original = self.record.header + b"\n" + original
        return DeadLetter(
            stream=header.stream if header else "",
            first=first,
            count=count,
            region=header.region if header else "",
            service=header.service if header else "",
            dataset=header.dataset if header else "",
            reason=reason,
            source=self.source,
            original=original,
            at=at,
        )


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
        return b"".join(job.body(positions) for job, positions in self.parts)

    def halves(self) -> tuple[Request, Request]:
        """The same as two requests: how the one item that spoils a whole request is found."""
        if len(self.parts) > 1:
            middle = len(self.parts) // 2
            return Request(self.index, self.parts[:middle]), Request(self.index, self.parts[middle:])
        (job, positions), middle = self.parts[0], self.count // 2
        return Request(self.index, [(job, positions[:middle])]), Request(self.index, [(job, positions[middle:])])
