"""Every implementation of Journal, for the one contract suite: a new one is one function and one line in JOURNALS.

A maker is given an empty folder and yields a Bench: the open journal, and what a test may do to it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from collector.foreign.journal import ForeignJournal
from collector.journal.local import LocalJournal
from collector.journal.memory import MemoryJournal
from collector.ports import Journal, Reader, Record
from collector.settings import JournalSettings
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock


@dataclass
class Bench:
    """`clock` is the journal's own, None if it can't be set; `lose_oldest` deletes records before they are read (their
    number is the implementation's affair), None if it has no way to; `reopen` closes and opens again, as a restart."""

    journal: Journal
    clock: FakeClock | None = None
    lose_oldest: Callable[[], None] | None = None
    reopen: Callable[[], Journal] | None = None


Maker = Callable[[Path], AbstractContextManager[Bench]]


@contextlib.contextmanager
def memory(folder: Path) -> Iterator[Bench]:
    clock = FakeClock()
    journal = MemoryJournal(clock)

    def lose_oldest() -> None:
        oldest = journal.records()[0]
        journal.delete_before(oldest.tp, oldest.next_offset)

    yield Bench(journal, clock, lose_oldest)
    journal.close()


@contextlib.contextmanager
def foreign(folder: Path) -> Iterator[Bench]:
    """Records of ours go through the reader of foreign ones untouched."""
    with memory(folder) as bench:
        assert isinstance(bench.journal, MemoryJournal)
        yield dataclasses.replace(bench, journal=ForeignJournal(bench.journal))


@contextlib.contextmanager
def local(folder: Path) -> Iterator[Bench]:
    clock = FakeClock()
    settings = JournalSettings(segment_bytes=4096)
    path = folder / "journal"

    def open_it() -> LocalJournal:
        return LocalJournal(path, settings, clock, writable=True)

    def lose_oldest() -> None:
        min((path / "topics").glob("*/*.segment")).unlink()

    def reopen() -> LocalJournal:
        bench.journal.close()
        bench.journal = open_it()
        return bench.journal

    bench = Bench(open_it(), clock, lose_oldest, reopen)
    yield bench
    bench.journal.close()


@contextlib.contextmanager
def local_elsewhere(folder: Path) -> Iterator[Bench]:
    """Written by one LocalJournal, read through another, as two processes do."""
    with local(folder) as bench:
        reading = LocalJournal(folder / "journal", JournalSettings(), FakeClock(), writable=False)
        writing = bench.journal

        class Both:
            append = staticmethod(writing.append)
            reader = staticmethod(reading.reader)

            def close(self) -> None:
                reading.close()

        yield Bench(Both(), bench.clock, bench.lose_oldest)
        reading.close()


JOURNALS: dict[str, Maker] = {
    "memory": memory,
    "memory, foreign records too": foreign,
    "local": local,
    "local, read elsewhere": local_elsewhere,
}


def batch(number: int = 1, *, region: str = "eu", dataset: str = "business", size: int = 100) -> Batch:
    """One batch of one line; its number tells it apart."""
    header = Header(f"contract0.{dataset}", number, 0, region, dataset, "2026-11-21", "pay", "pay-01", 0)
    return seal(header, [b'{"message":"%s"}' % (b"x" * size)])


def number_of(record: Record) -> int:
    """The number that `batch` gave it."""
    return Header.decode(record.header).first


def read(reader: Reader, count: int, max_bytes: int = 1 << 20) -> list[Record]:
    """Poll until `count` records are there; fails when they don't come."""
    records: list[Record] = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        records += reader.poll(max_bytes, 0.05)
        if len(records) >= count:
            return records
    raise AssertionError(f"{len(records)} records came, {count} were expected")
