"""What a store itself holds, counted there: the port that audits and rebuilding rest on, whatever the ledger believes.

`tests/contracts/test_inventory.py` holds both stores to it. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from collector.dead_letters import DeadLetter

from .intervals import Interval, IntervalSet


@dataclass(frozen=True, slots=True)
class Held:
    """What a store holds of one stream on one of its days: its lowest and highest number, and how many events. The
    numbers are without a hole if `count` is `last - first + 1`.

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

    @property
    def whole(self) -> bool:
        """Whether there is neither a hole nor a number twice between first and last."""
        return self.count == self.last - self.first + 1


class Inventory(Protocol):
    """Counts one store. From any thread; every method raises Unavailable. It reads every event of what it is asked
    about: for audits and rebuilding, not for every minute."""

    def days(self) -> list[str]:
        """The days that the store holds events of, in order."""
        ...

    def inventory(self, day: str, region: str = "") -> Iterator[Held]:
        """Every stream of one day (of all datasets; of one region, if it is named), in no order that matters."""
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
