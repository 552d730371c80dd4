"""What the ledger has of one day, for counting it against what the stores hold."""

from __future__ import annotations

from collections.abc import Mapping

from collector.ledger.account import Account
from collector.ledger.intervals import IntervalSet
from collector.ledger.view import LedgerView

from .counting import Booked, Books, Place


def books_of(view: LedgerView) -> Books:
    """Answers from what `view` has read. It looks at every stream: for counting, not for every minute."""

    def booked(sink: str, day: str, region: str) -> Mapping[Place, Booked]:
        found: dict[Place, Booked] = {}
        for stream in view.streams(sink):
            account = view.account(sink, stream)
            if account is not None and region in ("", account.region) and (one := _of(account, day)) is not None:
                found[account.dataset, account.region, stream] = one
        return found

    return booked


def _of(account: Account, day: str) -> Booked | None:
    for each in account.days:
        if each.day == day:
            other = IntervalSet(each.dead or ())
            other.merge(IntervalSet(each.void or ()))
            return Booked(each.stored, other)
    return None
