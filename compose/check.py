"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How one thing is. Only BAD makes the exit code 1."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing: how it is, in words, and what to do about it ('' if nothing)."""

    name: str
    grade: Grade
    words: str
    todo: str = ""
