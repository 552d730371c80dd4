"""What is asked once the stores were counted: in the order that counting a system that runs rests on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from alerts.audit.settings import AuditSettings
from alerts.state.memory import MemoryState
from collector.elastic.days import DeletedDays
from collector.elastic.names import sound_days
from collector.journal.memory import MemoryJournal
from collector.ledger.view import LedgerView
from collector.ports import TopicPartition
from collector.settings import ElasticSettings
from compose.counting import after_counting, days_to_count
from compose.settings import Settings
from shippers.batch import DATASETS
from shippers.clock import FakeClock

TP = TopicPartition("lastbeat.eu.business", 0)


class Indexer(LedgerView):
    """A ledger whose owner flushes the end that `told` last while somebody waits for it, `after` so many looks."""

    def __init__(self, told: list[str], after: int) -> None:
        super().__init__(MemoryState())
        self._told, self._after = told, after

    @property
    def sinks(self) -> tuple[str, ...]:
        return ("lake",)

    def refresh(self) -> None:
        self._told.append("ledger")
        self._after -= 1

    def position(self, sink: str, tp: TopicPartition) -> int | None:
        return 1 if self._after < 0 else 0


class Days(DeletedDays):
    """Tells when it is read."""

    def __init__(self, told: list[str]) -> None:
        super().__init__(None)
        self._told = told

    def all(self) -> Iterator[tuple[str, str, str]]:
        self._told.append("days")
        yield "business", "eu", "2026-11-01"


def test_the_ledger_is_awaited_at_the_ends_and_the_days_that_went_are_read_last() -> None:
    clock, told = FakeClock(), list[str]()
    journal = MemoryJournal(clock)
    journal.append_foreign(TP, b"{}")
    later = after_counting(journal, Indexer(told, 3), Days(told), clock)
    assert told == ["ledger", "ledger", "ledger", "ledger", "days"]
    assert later.behind == {"lake": False}
    assert later.gone("elastic", "business", "eu", "2026-11-01")
    assert not later.gone("lake", "business", "eu", "2026-11-01")


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_ledger_that_does_not_come_is_not_waited_for_for_ever(dataset: str) -> None:
    """Stores hold beats as well: whoever is behind with them alone lacks nothing, either."""
    clock = FakeClock()
    journal = MemoryJournal(clock)
    journal.append_foreign(TopicPartition(f"lastbeat.eu.{dataset}", 0), b"{}")
    began = clock.monotonic()
    later = after_counting(journal, Indexer([], 1_000), Days([]), clock)
    assert later.behind == {"lake": True}
    assert clock.monotonic() - began <= 16


def test_every_day_that_elasticsearch_keeps_is_counted() -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
    settings = Settings(audit=AuditSettings(count_days=2))
    assert days_to_count(settings, now) == ["2026-11-20", "2026-11-19"]
    settings = Settings(audit=AuditSettings(count_days=2), elastic=ElasticSettings(hot_days=3))
    assert days_to_count(settings, now)[-1] == sound_days(now, 3)[0] == "2026-11-17"
