"""Sets of numbers kept as intervals: numbers come in runs, so a stream of a million events is one interval.

Pure bookkeeping: it never reads or writes anything.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Interval = tuple[int, int]
"""First and last number, both included."""


class IntervalSet:
    """A set of integers kept as sorted intervals that neither overlap nor touch."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in intervals:
            self.add(first, last)

    def add(self, first: int, last: int) -> None:
        """Put in every number from `first` to `last`, both included; nothing if `last` is smaller."""
        if last < first:
            return
        if self._lasts and first == self._lasts[-1] + 1:  # the next of its stream, as nearly all are
            self._lasts[-1] = last
            return
        # Those from `low` up to but not including `high` overlap the new interval or touch it: they become one.
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def discard(self, first: int, last: int) -> None:
        """Take out every number from `first` to `last`, both included; those that aren't in here are no harm."""
        if last < first:
            return
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        if low >= high:
            return
        left = [(self._firsts[low], first - 1)] if self._firsts[low] < first else []
        right = [(last + 1, self._lasts[high - 1])] if self._lasts[high - 1] > last else []
        self._firsts[low:high] = [one for one, _ in left + right]
        self._lasts[low:high] = [one for _, one in left + right]

    def without(self, other: IntervalSet) -> IntervalSet:
        """What is in here and not in `other`."""
        return IntervalSet(gap for span in self for gap in other.missing(*span))

    def merge(self, other: IntervalSet) -> None:
        """Put in everything that `other` has."""
        for first, last in other:
            self.add(first, last)

    def missing(self, first: int, last: int) -> list[Interval]:
        """What is not in here of the numbers from `first` to `last`, in order."""
        found: list[Interval] = []
        at = first
        for i in range(bisect_left(self._lasts, first), len(self._firsts)):
            if self._firsts[i] > last:
                break
            if self._firsts[i] > at:
                found.append((at, self._firsts[i] - 1))
            at = self._lasts[i] + 1
        if at <= last:
            found.append((at, last))
        return found

    @property
    def pieces(self) -> int:
        """How many intervals."""
        return len(self._firsts)

    def gaps(self) -> list[Interval]:
        """The holes between the smallest and the largest number."""
        return [(last + 1, first - 1) for last, first in zip(self._lasts, self._firsts[1:], strict=False)]

    def __contains__(self, number: int) -> bool:
        i = bisect_left(self._lasts, number)
        return i < len(self._firsts) and self._firsts[i] <= number

    def __iter__(self) -> Iterator[Interval]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        """How many numbers are in here, not how many intervals."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntervalSet):
            return NotImplemented
        return self._firsts == other._firsts and self._lasts == other._lasts

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"IntervalSet({list(self)!r})"
