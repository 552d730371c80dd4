"""Paths and partitions as the watch keeps them: a path's clock with the heap of moments at which its processes must be
looked at, so that a tick costs only what is due."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from collector.ports import TopicPartition

from .processes import Process
from .sight import PathSight, Pulse


class Partition:
    """One partition of a region's beats. `next_offset` is where reading goes on; `caught_up`: read to its end."""

    __slots__ = ("caught_up", "next_offset", "pulse", "tp")

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.pulse = Pulse()
        self.next_offset = 0
        self.caught_up = False

    @property
    def region(self) -> str:
        """The region, from the topic's name `lastbeat.<region>.heartbeat`."""
        return self.tp.topic.removeprefix("lastbeat.").removesuffix(".heartbeat")


_turn = itertools.count()


class Path:
    """A partition's beats through one ingress."""

    __slots__ = ("_heap", "blind", "ingress", "live", "partition", "sight", "since")

    def __init__(self, partition: Partition, ingress: str) -> None:
        self.partition = partition
        self.ingress = ingress
        self.sight = PathSight()
        self.live = 0
        self.blind = False
        self.since = 0.0
        self._heap: list[tuple[float, int, Process]] = []

    def schedule(self, process: Process, when: float) -> None:
        """Look at a process once sighted time is past `when`. A later moment than the one scheduled needs no new
        entry: the process is looked at, and scheduled again."""
        if when < process.scheduled:
            process.scheduled = when
            heapq.heappush(self._heap, (when, next(_turn), process))

    def due(self) -> Iterator[Process]:
        """Processes whose moment has passed. What the caller schedules meanwhile comes too, if it is past."""
        heap, now = self._heap, self.sight.now
        while heap and heap[0][0] < now:
            when, _, process = heapq.heappop(heap)
            if process.path is self and process.scheduled == when:
                process.scheduled = float("inf")
                yield process
