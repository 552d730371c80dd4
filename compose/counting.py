"""Counting the stores, put together: which there are in this form of the platform, and what they are held against. For
the auditor, `lastbeat audit --day`, and the ageing of Elasticsearch's days.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta

from alerts.audit.booked import books_of
from alerts.audit.counting import Counted, count, unproven
from alerts.audit.said import AUDITED
from alerts.audit.statement import Difference
from alerts.audit.summing import behind
from collector.elastic.days import DeletedDays
from collector.ledger.view import LedgerView

from .settings import Settings
from .wiring import CLOCK, open_inventories, open_journal, open_ledger, open_state

log = logging.getLogger("lastbeat.audit")

_MOST_SAID = 20


def count_hot_days(settings: Settings) -> tuple[tuple[str, ...], tuple[Difference, ...]]:
    """Count the days that are hot: them, and every difference. Raises Unavailable."""
    counted = count_stores(settings, days_to_count(settings))
    return counted.days, tuple(counted.differences)


def days_to_count(settings: Settings) -> list[str]:
    """The days that are hot, the newest first: as many as [audit] count_days says."""
    today = datetime.fromtimestamp(CLOCK.time(), UTC).date()
    return [(today - timedelta(days=ago)).isoformat() for ago in range(settings.audit.count_days)]


def count_stores(settings: Settings, days: Sequence[str], region: str = "") -> Counted:
    """Count these days in every store, and hold them to each other and to the ledger. Raises Unavailable."""
    with ExitStack() as stack:
        journal = stack.enter_context(closing(open_journal(settings)))
        ends = stack.enter_context(closing(journal.reader(None, AUDITED))).ends()
        view = LedgerView(stack.enter_context(closing(open_ledger(settings))))
        view.refresh()
        late = {sink: bool(number) for sink, number in behind(view, view.sinks, ends).items()}
        gone = {("elastic", *day) for day in DeletedDays(stack.enter_context(closing(open_state(settings)))).all()}
        today = datetime.fromtimestamp(CLOCK.time(), UTC).date().isoformat()
        stores = open_inventories(settings)
        return count(days, region, stores, books_of(view), lambda *day: day in gone, late, today)


def is_archived(settings: Settings, dataset: str, region: str, day: str, events: int) -> bool:
    """Whether every number that Elasticsearch has of a day, or had by its ledger, is in the archive too; says which
    are not. As many events would prove nothing: they may be others."""
    stores = open_inventories(settings)
    if "lake" not in stores:
        return events == 0
    with closing(open_ledger(settings)) as kept:
        view = LedgerView(kept)
        view.refresh()
        left = unproven(dataset, region, day, stores["elastic"], stores["lake"], books_of(view), ("elastic", "lake"))
    for each in left[:_MOST_SAID]:
        log.warning("%s of %s in %s is kept, its archive is not whole: %s: %s", day, dataset, region, each.stream,
                    each.words)  # fmt: skip
    return not left
