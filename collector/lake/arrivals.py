"""Where a live view is in the order of arrival: a position in each partition of the journal, as an opaque cursor.

Positions outlive processes and don't depend on the lake, so a cursor stays good whatever is moved meanwhile. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from collector.ports import TopicPartition

from .tail import Chunk

Place = tuple[int, int]
"""An offset, and the number from which on the record's events are still to come (0: all of them)."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far each partition was shown; one that isn't named came into being later: from its start."""

    places: Mapping[TopicPartition, Place]

    def place(self, tp: TopicPartition) -> Place:
        """Where `tp` goes on."""
        return self.places.get(tp, (0, 0))

    def encode(self) -> str:
        """As text."""
        return json.dumps([[*tp, *place] for tp, place in sorted(self.places.items())], separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Raises ValueError for what `encode` did not make."""
        try:
            return cls(
                {
                    TopicPartition(str(topic), int(partition)): (int(offset), int(sequence))
                    for topic, partition, offset, sequence in json.loads(text)
                }
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a cursor of this store: {text[:80]!r}") from error


def behind(cursor: Cursor, chunks: Sequence[Chunk]) -> list[Chunk]:
    """The chunks' parts that are still to be shown, in their order."""
    parts = []
    for chunk in chunks:
        offset, sequence = cursor.place(chunk.tp)
        if chunk.end > offset:
            parts.append(Chunk(chunk.tp, max(chunk.first, offset), chunk.end, chunk.since(offset, sequence)))
    return parts


def numbered(parts: Sequence[Chunk]) -> pa.Table | None:
    """All parts' rows with `arrival`, their number in order; None if there are none."""
    if not parts:
        return None
    rows = pa.concat_tables([part.rows for part in parts])
    return rows.append_column("arrival", pa.array(np.arange(rows.num_rows)))


def moved(cursor: Cursor, parts: Sequence[Chunk], ends: Mapping[TopicPartition, int], shown: int | None) -> Cursor:
    """The cursor once the first `shown` rows of `parts` are passed; None: all, so it stands at the journal's `ends`."""
    if shown is None:
        return Cursor({tp: (end, 0) for tp, end in ends.items()})
    places = {tp: cursor.place(tp) for tp in ends}
    stopped: set[TopicPartition] = set()
    left = shown
    for part in parts:
        if part.tp in stopped:
            continue
        if left >= part.rows.num_rows:
            places[part.tp] = (part.end, 0)
        else:
            stopped.add(part.tp)
            row = part.rows.slice(max(left, 0), 1)
            places[part.tp] = (row["offset"][0].as_py(), row["sequence"][0].as_py())
        left -= part.rows.num_rows
    return Cursor(places)
