"""Which numbers of which stream are accounted for, and no more than that: what makes a batch that is sent twice be
stored once. It never reads or writes anything; whoever loads it from a store says so there.
"""

from __future__ import annotations

from .intervals import Interval, IntervalSet


class StreamLedger:
    """An interval set for each stream: what makes a batch that is sent twice be stored once."""

    __slots__ = ("_streams",)

    def __init__(self) -> None:
        self._streams: dict[str, IntervalSet] = {}

    def add(self, stream: str, first: int, last: int) -> None:
        """Account for these numbers of `stream`."""
        self._streams.setdefault(stream, IntervalSet()).add(first, last)

    def merge(self, other: StreamLedger) -> None:
        """Account for everything that `other` accounts for."""
        for stream, numbers in other._streams.items():
            self._streams.setdefault(stream, IntervalSet()).merge(numbers)

    def missing(self, stream: str, first: int, last: int) -> list[Interval]:
        """Which of these numbers of `stream` are not accounted for yet, in order."""
        numbers = self._streams.get(stream)
        return numbers.missing(first, last) if numbers is not None else ([(first, last)] if first <= last else [])

    def numbers(self, stream: str) -> IntervalSet:
        """What is accounted for of `stream`: a copy."""
        return IntervalSet(self._streams.get(stream, ()))

    def streams(self) -> list[str]:
        """Every stream that has numbers in here."""
        return list(self._streams)
