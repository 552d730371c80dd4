"""Which segments may go: those that every group has read, if they are too old or the journal is too big.

Pure. What is unread is never chosen: then the journal refuses appends instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A segment: [base, end) of a topic. Below `read_below` everything of the topic was read."""

    topic: str
    base: int
    end: int
    last_at: float
    read_below: int


def choose(candidates: Sequence[Candidate], total_bytes: int, max_bytes: int, older_than: float) -> list[Candidate]:
    """What to delete, the oldest first; of each topic always a run from its beginning."""
    chosen: list[Candidate] = []
    kept: set[str] = set()
    for candidate in sorted(candidates, key=lambda c: (c.last_at, c.topic, c.base)):
        if candidate.topic in kept:
            continue
        too_much = total_bytes > max_bytes
        if candidate.end <= candidate.read_below and (too_much or candidate.last_at < older_than):
            chosen.append(candidate)
            total_bytes -= candidate.end - candidate.base
        else:
            kept.add(candidate.topic)
    return chosen
