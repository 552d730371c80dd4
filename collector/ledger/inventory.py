"""What a store itself holds, counted there: the port that audits and rebuilding rest on, whatever the ledger believes.

`tests/contracts/test_inventory.py` holds both stores to it. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from collector.dead_letters import DeadLetter

from .intervals import Interval, IntervalSet


@dataclass(frozen=True, slots=True)
class Held:
    """What a store holds of one stream on one of its days: its lowest and highest number, and how many events. The
    numbers are without a hole if there are `last - first + 1`, and `different` as many: of 1, 1, 4 and 4 there are two.
    A store that can't count these says their sum and the sum of their squares, `total` and `squares`, which are to be
    those of the series; without any of these the count alone is taken for it.

    `day` is `yyyy-mm-dd`, or begins with `skewed` where the store put days that no sound clock gives. `service` and
    `instance` are what the events say; `several`, where they contradict each other.
    """

    dataset: str
    region: str
    day: str
    stream: str
    first: int
    last: int
    count: int
    service: str = ""
    instance: str = ""
    total: int | None = field(default=None, compare=False)
    squares: int | None = field(default=None, compare=False)
    different: int | None = field(default=None, compare=False)

    @property
    def whole(self) -> bool:
        """Whether there is neither a hole nor a number twice between first and last."""
        series = is_series(self.first, self.last, self.count, self.total, self.squares)
        return series and self.different in (None, self.count)


def is_series(first: int, last: int, count: int, total: int | None, squares: int | None) -> bool:
    """Whether as many numbers with these sums are those from `first` to `last`, as far as that can be told."""
    return (
        count == last - first + 1
        and total in (None, (first + last) * count // 2)
        and squares in (None, _squares(last) - _squares(first - 1))
    )


def _squares(last: int) -> int:
    return last * (last + 1) * (2 * last + 1) // 6


class Inventory(Protocol):
    """Counts one store. From any thread; every method raises Unavailable. It reads every event of what it is asked
    about: for audits and rebuilding, not for every minute."""

    def days(self) -> list[str]:
        """The days that the store holds events of, in order."""
        ...

    def inventory(self, day: str, region: str = "", *, senders: bool = False) -> Iterator[Held]:
        """Every stream of one day (of all datasets; of one region, if it is named), in no order that matters. `service`
        and `instance` may be '' without `senders`: to know them may cost more than all the counting."""
        ...

    def runs(self, held: Held) -> list[Interval]:
        """The runs of consecutive numbers that the store holds of a stream on a day, in order."""
        ...

    def identified(self, dataset: str, region: str, stream: str, numbers: IntervalSet) -> IntervalSet:
        """Which of these numbers are there by their identity, of whatever day, though counting did not see them: a line
        that says another stream than its header does is counted under that."""
        ...

    def letters(self) -> Iterator[DeadLetter]:
        """The dead letters that settle numbers, void ones among them, without their original bytes; not those of whole
        batches that break the contract."""
        ...
