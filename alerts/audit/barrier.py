"""When a round's beats may be judged: once a sink was read past everything that lay in the journal after them.

A beat says that its events are durable, so they lie below the ends taken after it was read, whatever any clock says.
Pure: no I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from collector.ports import TopicPartition

MAX_KEPT = 64

Position = Callable[[TopicPartition], int | None]
"""Up to where a sink's ledger has accounted for a partition; None if it knows nothing of it."""


class Barriers:
    """The ends of all data partitions as they stood after each round. Of too many, which is when a sink lags for long,
    some go: then beats are judged by a later one."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, dict[str, list[tuple[int, int]]]]] = deque()

    def add(self, round_: int, ends: Mapping[TopicPartition, int]) -> None:
        """All beats of rounds up to this one were read before these ends were asked for."""
        topics: dict[str, list[tuple[int, int]]] = {}
        for tp, end in ends.items():
            topics.setdefault(tp.topic, []).append((tp.partition, end))
        if self._kept and self._kept[-1][1] == topics:
            self._kept.pop()  # nothing was appended since: the newer one says more, and is as easily passed
        self._kept.append((round_, topics))
        if len(self._kept) > MAX_KEPT:
            self._thin(round_)

    def end(self, tp: TopicPartition) -> int | None:
        """Where a partition ended when it was last asked; None if it wasn't there."""
        topics = self._kept[-1][1] if self._kept else {}
        return dict(topics.get(tp.topic, ())).get(tp.partition)

    def passed(self, topic: str, position: Position) -> int:
        """The newest round whose beats a sink can be held to in `topic`; -1 for none.

        A topic that wasn't there yet holds nothing that a beat could have spoken of, and is never passed.
        """
        for round_, topics in reversed(self._kept):
            ends = topics.get(topic)
            if ends and all(_reaches(position(TopicPartition(topic, number)), end) for number, end in ends):
                return round_
        return -1

    def _thin(self, now: int) -> None:
        """Let one go where they stand closest for their age, so that the old are kept as well as the new."""
        rounds = [round_ for round_, _ in self._kept]
        closest = min(range(1, len(rounds) - 1), key=lambda i: (rounds[i + 1] - rounds[i - 1]) / (now + 1 - rounds[i]))
        del self._kept[closest]


def _reaches(position: int | None, end: int) -> bool:
    return end == 0 or (position is not None and position >= end)
