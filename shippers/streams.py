"""Numbers: consecutive per stream, given at the moment a batch is sealed, and what of them is known to be durable.

Used by one thread (logs), read by any. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .batch import Batch, Header, seal
from .event import Line, number_line
from .identity import Identity


@dataclass(frozen=True, slots=True)
class Progress:
    """One dataset's stream: the last number given, and the number up to which all are durable, without a gap."""

    last: int = 0
    acked: int = 0


class Streams:
    """The streams of one boot of one process."""

    def __init__(self, boot: str, identity: Identity) -> None:
        self.boot = boot
        self._identity = identity
        self._progress: dict[str, Progress] = {}

    def progress(self) -> dict[str, Progress]:
        """Where each dataset's stream stands."""
        return dict(self._progress)

    def seal(self, lines: Iterable[Line]) -> list[Batch]:
        """Number lines and build their batches, one for each dataset and day among them, in order of appearance."""
        groups: dict[tuple[str, str], list[bytes]] = {}
        for dataset, day, data in lines:
            groups.setdefault((dataset, day), []).append(data)
        return [self._seal(dataset, day, group) for (dataset, day), group in groups.items()]

    def _seal(self, dataset: str, day: str, lines: Sequence[bytes]) -> Batch:
        now = self._progress.get(dataset, Progress())
        stream, first = f"{self.boot}.{dataset}", now.last + 1
        me = self._identity
        header = Header(stream, first, len(lines), me.region, dataset, day, me.service, me.instance, 0)
        batch = seal(header, [number_line(line, stream, first + index) for index, line in enumerate(lines)])
        self._progress[dataset] = Progress(batch.header.last, now.acked)
        return batch

    def ack(self, batches: Iterable[Batch]) -> None:
        """Batches of these streams are durable (or their numbers accounted for as void). In order per dataset."""
        for batch in batches:
            header = batch.header
            now = self._progress[header.dataset]
            if header.first == now.acked + 1:
                self._progress[header.dataset] = Progress(now.last, header.last)
