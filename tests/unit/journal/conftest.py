from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.journal.local import LocalJournal
from collector.settings import JournalSettings
from shippers.clock import FakeClock

Open = Callable[..., LocalJournal]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def open_journal(path: Path, clock: FakeClock) -> Iterator[Open]:
    """Opens the journal in `path` for writing; settings as keywords. Everything is closed in the end."""
    opened: list[LocalJournal] = []

    def open_it(**settings: object) -> LocalJournal:
        journal = LocalJournal(path, JournalSettings(**{"segment_bytes": 4096, **settings}), clock, writable=True)
        opened.append(journal)
        return journal

    yield open_it
    for journal in opened:
        journal.close()
