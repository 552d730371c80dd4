"""Getting missing ranges back, put together: which sources this form of the platform has, and how what they have is
sent. For the auditor, which asks by itself, and for `lastbeat resend`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from alerts.audit.findings import Finding
from collector.ledger.view import LedgerView
from collector.resend.journal import JournalSource
from collector.resend.recovery import Recovery
from collector.resend.senders import Senders
from collector.resend.spool import SpoolSource
from collector.resend.wanted import ELASTIC, LAKE, Source, Wanted, count_of, words_of

from .settings import Settings
from .wiring import CLOCK, open_journal, open_ledger, open_sender, open_state

_JOURNAL_S = 6 * 3_600.0
"""How far before the beat that told of it the journal is searched: a sender is told as soon as it was taken in, and
says so in its next beat, unless no beat came through for long."""


@contextmanager
def open_recovery(settings: Settings) -> Iterator[Recovery]:
    """What gets missing ranges back, for the auditor and for a person: its `recover(sink, stream, first, last, since,
    until)` looks into the journal, the other store and, by asking it, the service's own spool."""
    with ExitStack() as stack:
        stores: dict[str, Source] = {}
        if not settings.elastic or settings.elastic.archive:
            from collector.resend.lake import LakeSource

            stores[LAKE] = LakeSource(settings.lake_path, CLOCK)
        if settings.elastic:
            from collector.elastic.client import ElasticClient
            from collector.resend.elastic import ElasticSource

            client = stack.enter_context(closing(ElasticClient(settings.elastic)))
            stores[ELASTIC] = ElasticSource(client, settings.elastic, CLOCK)
        state = stack.enter_context(closing(open_state(settings)))
        send = stack.enter_context(open_sender(settings))
        journal = JournalSource(partial(open_journal, settings), CLOCK)
        ledger = LedgerView(stack.enter_context(closing(open_ledger(settings))))
        yield Recovery(journal, stores, SpoolSource(state, CLOCK), send, Senders(ledger))


def recover_finding(recovery: Recovery, finding: Finding) -> tuple[Mapping[str, int], str]:
    """Try to get back what a finding lacks: how many numbers came from where, and the outcome in words."""
    now = CLOCK.time()
    found = recovery.search(
        Wanted(
            finding.stream,
            finding.holes,
            min(finding.since, now) - _JOURNAL_S,
            now,
            finding.region,
            finding.service,
            finding.instance,
        ),
        sink=finding.sink,
    )
    return {name: count_of(numbers) for name, numbers in found.found.items()}, words_of(found)
