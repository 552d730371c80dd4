"""The memory of which numbers the lake has, read from the tables' files when a partition is first asked about.

A batch sent again bears the same header, so it can only be under its own day, under `skewed`, or among the dead
letters; nothing else needs to be read to know it, however long the lake's past is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from collector.dead_letters import VOID, WHOLE_BATCH, DeadLetter, is_void
from collector.ledger.intervals import Interval, IntervalSet
from collector.ledger.streams import StreamLedger
from shippers.batch import Header

from .files import DataFile, read_files
from .plan import Planned, account
from .schema import DEAD, SKEWED


class Lost(NamedTuple):
    """Which of a header's numbers the lake has no rows of: the `dead` are in its letters, the `void` ones among them as
    such; of the `unknown` it has nothing at all."""

    dead: tuple[Interval, ...]
    void: tuple[Interval, ...]
    unknown: tuple[Interval, ...]


class Ledgers:
    """One ledger over all tables, filled partition by partition. `files_of` gives a table's folder and its files."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, files_of: Callable[[str], tuple[Path, Sequence[DataFile]]]
    ) -> None:
        self._con = con
        self._files_of = files_of
        self.clear()

    def clear(self) -> None:
        """Forget everything; it is read again when it is asked for."""
        self._ledger, self._stored = StreamLedger(), StreamLedger()
        self._letters, self._void = StreamLedger(), StreamLedger()
        self._loaded: set[tuple[str, str]] = set()

    def knowing(self, header: Header) -> StreamLedger:
        """The ledger, with everything in it that the lake has of this header's stream and day; for a replay, without
        the dead letters."""
        for key in ((header.dataset, header.day), (header.dataset, SKEWED), (DEAD, "")):
            if key not in self._loaded:
                self._load(*key)
                self._loaded.add(key)
        return self._stored if header.replay else self._ledger

    def lost(self, header: Header) -> Lost:
        """What became of those of a header's numbers that aren't stored."""
        self.knowing(header)
        absent = self._stored.missing(header.stream, header.first, header.last)
        if not absent:
            return Lost((), (), ())
        unknown = IntervalSet(gap for span in absent for gap in self._letters.missing(header.stream, *span))
        dead = IntervalSet(absent).without(unknown)
        alive = IntervalSet(gap for span in dead for gap in self._void.missing(header.stream, *span))
        return Lost(tuple(dead), tuple(dead.without(alive)), tuple(unknown))

    def settle(self, plan: Planned, dead: Sequence[DeadLetter]) -> None:
        """Account for what was committed of a plan: its rows and its dead letters."""
        account(self._ledger, plan)
        if plan.header is None or plan.open:
            return
        for letter in dead:
            self._letters.add(plan.header.stream, letter.first, letter.first + letter.count - 1)
            if is_void(letter):
                self._void.add(plan.header.stream, letter.first, letter.first + letter.count - 1)
        buried = IntervalSet((letter.first, letter.first + letter.count - 1) for letter in dead)
        for fresh in plan.fresh:
            for first, last in buried.missing(*fresh):
                self._stored.add(plan.header.stream, first, last)

    def _load(self, table: str, date: str) -> None:
        root, every = self._files_of(table)
        files = [file for file in every if not date or file.date == date]
        if not files:
            return
        source = read_files(root, files)
        if table == DEAD:
            for stream, first, last, reason in self._con.execute(
                f"SELECT stream, first, first + count - 1, left(reason, {len(VOID)}) "
                f"FROM {source} WHERE NOT starts_with(reason, '{WHOLE_BATCH}')"
            ).fetchall():
                self._ledger.add(stream, first, last)
                self._letters.add(stream, first, last)
                if reason == VOID:
                    self._void.add(stream, first, last)
            return
        for stream, first, last in runs(self._con, source):
            self._ledger.add(stream, first, last)
            self._stored.add(stream, first, last)


BITS = "bit_or(1::UBIGINT << (sequence & 63)::UBIGINT) AS bits"
BY_64 = "stream, sequence >> 6"
DIFFERENT = "sum(bit_count(bits))"
"""How many different numbers a stream has is counted exactly, one bit each: first by 64 numbers, then by stream."""


def runs(con: duckdb.DuckDBPyConnection, source: str) -> list[tuple[str, int, int]]:
    """The runs of consecutive numbers of each stream in `source`: stream, first, last."""
    streams = con.execute(
        f"SELECT stream, min(first), max(last), {DIFFERENT} FROM "
        f"(SELECT stream, min(sequence) AS first, max(sequence) AS last, {BITS} FROM {source} GROUP BY {BY_64}) "
        "GROUP BY stream"
    ).fetchall()
    whole = [(stream, first, last) for stream, first, last, different in streams if different == last - first + 1]
    broken = [stream for stream, first, last, different in streams if different != last - first + 1]
    if not broken:
        return whole
    # Numbers less their rank are the same all through a run.
    return (
        whole
        + con.execute(
            "SELECT stream, min(sequence), max(sequence) FROM (SELECT stream, sequence, "
            "sequence - row_number() OVER (PARTITION BY stream ORDER BY sequence) AS run "
            f"FROM (SELECT DISTINCT stream, sequence FROM {source} WHERE stream IN (SELECT unnest($streams)))) "
            "GROUP BY stream, run",
            {"streams": broken},
        ).fetchall()
    )
