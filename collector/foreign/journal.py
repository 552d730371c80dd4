"""A journal whose readers bring foreign records as batches: for every reader that stores or shows events.

Appending is the inner journal's. The watch reads the inner one: a stranger's record is never a beat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from collector.ports import Journal, Reader, Record, TopicPartition
from shippers.batch import Batch

from .seal import Sealer


class ClusterJournal(Journal, Protocol):
    """A journal that others write to as well, and that has a name of its own in all the world."""

    def cluster_id(self) -> str:
        """That name; the first part of a foreign record's identity. Raises Unavailable."""
        ...


class ForeignJournal:
    """See Journal."""

    def __init__(self, inner: ClusterJournal) -> None:
        self._inner = inner

    def append(self, batches: Sequence[Batch]) -> None:
        """See Journal.append."""
        self._inner.append(batches)

    def reader(self, group: str | None, datasets: Sequence[str]) -> Reader:
        """See Journal.reader. A run of foreign records comes as one record, from the offset of its first."""
        return ForeignReader(self._inner.reader(group, datasets), self._inner)

    def close(self) -> None:
        """See Journal.close."""
        self._inner.close()


class ForeignReader:
    """See Reader. All but `poll` is the inner reader's."""

    def __init__(self, inner: Reader, journal: ClusterJournal) -> None:
        self._inner, self._journal = inner, journal
        self._sealer: Sealer | None = None

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        """See Reader.poll. The cluster is asked for its name first: what is read has moved the reader on."""
        if self._sealer is None:
            self._sealer = Sealer(self._journal.cluster_id())
        return self._sealer.seal(self._inner.poll(max_bytes, timeout_s))

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """See Reader.seek."""
        self._inner.seek(tp, offset)

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Reader.commit."""
        self._inner.commit(positions)

    def committed(self) -> Mapping[TopicPartition, int]:
        """See Reader.committed."""
        return self._inner.committed()

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        """See Reader.pause."""
        self._inner.pause(tps)

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        """See Reader.resume."""
        self._inner.resume(tps)

    def assigned(self) -> set[TopicPartition]:
        """See Reader.assigned."""
        return self._inner.assigned()

    def lag(self) -> dict[TopicPartition, int]:
        """See Reader.lag."""
        return self._inner.lag()

    def offsets_at(self, at: float, instance: str = "") -> dict[TopicPartition, int]:
        """See Reader.offsets_at."""
        return self._inner.offsets_at(at, instance)

    def ends(self) -> dict[TopicPartition, int]:
        """See Reader.ends."""
        return self._inner.ends()

    def close(self) -> None:
        """See Reader.close."""
        self._inner.close()
