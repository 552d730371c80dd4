"""Who sent a stream, as the ledger knows it: which partition its batches are in, whose spool may have them, and which
service stands in a header that is made anew.
"""

from __future__ import annotations

import logging

from collector.ledger.account import SEVERAL
from collector.ledger.view import LedgerView
from shippers.errors import LastbeatError

log = logging.getLogger("lastbeat.resend")


class Senders:
    """Looks into a view of its own, refreshed only for a stream that it doesn't know yet."""

    def __init__(self, view: LedgerView) -> None:
        self._view = view

    def __call__(self, stream: str) -> tuple[str, str, str]:
        """Region, service and instance; '' for what isn't known. A ledger that can't be read knows nothing."""
        found = self._known(stream)
        if found is None:
            try:
                self._view.refresh()
            except LastbeatError as error:
                log.warning("the ledger can't be asked who sent %s: %s", stream, error)
            found = self._known(stream)
        return found or ("", "", "")

    def _known(self, stream: str) -> tuple[str, str, str] | None:
        for sink in self._view.sinks:
            account = self._view.account(sink, stream)
            if account is not None and account.service and SEVERAL not in (account.service, account.instance):
                return account.region, account.service, account.instance
        return None
