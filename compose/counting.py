"""Counting the stores, put together: which there are in this form of the platform, and what they are held against. For
the auditor, `lastbeat audit --day`, and the ageing of Elasticsearch's days.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from functools import partial

from alerts.audit.booked import books_of
from alerts.audit.counting import Counted, Later, count
from alerts.audit.proving import Proof, Proofs, no_archive, prove
from alerts.audit.statement import Difference
from alerts.audit.summing import behind
from collector.elastic.days import DeletedDays
from collector.ledger.view import LedgerView
from collector.ports import Journal
from shippers.batch import DATASETS
from shippers.clock import Clock

from .settings import Settings
from .wiring import CLOCK, open_inventories, open_journal, open_ledger, open_state

_PATIENCE_S, _LOOK_EVERY_S = 15.0, 0.5
_NEVER = threading.Event()


def count_hot_days(
    settings: Settings, again: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[Difference, ...]]:
    """Count the days that are hot, and `again` those of which something was lacking: them, the stores, and every
    difference, also of the old days that are to go. Raises Unavailable."""
    hot = days_to_count(settings, CLOCK.time())
    counted = count_stores(settings, [*hot, *(day for day in again if day not in hot)])
    stores = tuple(sorted({sink for sink, _ in counted.events}))
    return counted.days, stores, (*counted.differences, *count_old_days(settings))


def days_to_count(settings: Settings, now: float) -> list[str]:
    """The days that are hot, the newest first: as many as [audit] count_days says, and all that Elasticsearch keeps."""
    today = datetime.fromtimestamp(now, UTC).date()
    number = settings.audit.count_days
    if settings.elastic:
        number = max(number, settings.elastic.hot_days + 1)  # today is one more
    return [(today - timedelta(days=ago)).isoformat() for ago in range(number)]


def count_stores(settings: Settings, days: Sequence[str], region: str = "") -> Counted:
    """Count these days in every store, and hold them to each other and to the ledger. Raises Unavailable."""
    with ExitStack() as stack:
        journal = stack.enter_context(closing(open_journal(settings)))
        view = LedgerView(stack.enter_context(closing(open_ledger(settings))))
        view.refresh()
        state = stack.enter_context(closing(open_state(settings)))
        later = partial(after_counting, journal, view, DeletedDays(state), CLOCK)
        return count(days, region, open_inventories(settings), books_of(view), later)


def after_counting(journal: Journal, view: LedgerView, deleted: DeletedDays, clock: Clock) -> Later:
    """What is known now, in the order that counting rests on: the journal's ends, of everything that stores keep, the
    ledger behind them, for which a moment is waited, and which days have been deleted. Raises Unavailable."""
    with closing(journal.reader(None, DATASETS)) as reader:
        ends = reader.ends()
    until = clock.monotonic() + _PATIENCE_S
    while True:
        view.refresh()
        late = {sink: bool(number) for sink, number in behind(view, view.sinks, ends).items()}
        if not any(late.values()) or clock.wait(_NEVER, _LOOK_EVERY_S) or clock.monotonic() >= until:
            break
    gone = {("elastic", *day) for day in deleted.all()}
    return Later(books_of(view), late, lambda *day: day in gone)


def count_old_days(settings: Settings) -> list[Difference]:
    """Prove what ageing asks about, all with one reading of the ledger: every difference. Raises Unavailable."""
    stores = open_inventories(settings)
    if "elastic" not in stores:
        return []
    with closing(open_ledger(settings)) as kept, closing(open_state(settings)) as state:
        view = LedgerView(kept)

        def count_one(dataset: str, region: str, day: str) -> Proof:
            if not view.sinks:
                view.refresh()
            names = "elastic", "lake"
            return prove(dataset, region, day, stores["elastic"], stores["lake"], books_of(view), names)

        way = count_one if "lake" in stores else no_archive(settings.lake_path)
        return Proofs(state, CLOCK).answer(way, DeletedDays(state).all())
