"""Roles with their code broken on purpose, started as `python mutants.py <name> <role> …`: what a drill must find.

Each breaks one promise that the indexer or the auditor rests on, and nothing else. Nobody but the drill's tests runs
this.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from collector import indexer
from collector.holding import Hold, Write
from collector.indexer import Indexer
from collector.ports import Outcome
from shippers.errors import LastbeatError


def commit_first() -> None:
    """The offset is committed before the bulk: whoever is killed in between has lost what he held."""
    begin = Indexer._begin

    def mutant(self: Any, **how: Any) -> None:
        begin(self, **how)
        for record in self._writes[-1].hold.records:
            self._done[record.tp] = max(record.next_offset, self._done.get(record.tp, 0))
        self._commit()

    indexer.lowest = lambda _records: {}  # type: ignore[attr-defined]
    Indexer._begin = mutant  # type: ignore[method-assign]


def drop_one_retry() -> None:
    """What the store turned away is not tried again, once; nor a whole write of which it took nothing."""
    settle = Indexer._settle_one
    dropped: list[object] = []

    def mutant(self: Any, write: Write) -> None:
        if not dropped:
            if isinstance(write.future.exception(), LastbeatError):
                dropped.append(write)
                write = replace(write, hold=Hold())
            elif any(outcome.retry for outcome in write.future.result()):
                dropped.append(write)
                future: Future[list[Outcome]] = Future()
                future.set_result([replace(outcome, retry=False) for outcome in write.future.result()])
                write = replace(write, future=future)
        settle(self, write)

    Indexer._settle_one = mutant  # type: ignore[method-assign]


def ignore_item_errors() -> None:
    """A bulk request that was answered is taken for stored, whatever its items say."""
    from collector.elastic import rounds

    rounds.read = lambda _answer, _count: None  # type: ignore[attr-defined]


def get_nothing_back() -> None:
    """What is lost is found, and stays so: else it would be back before anybody else could look."""
    from alerts.audit.auditor import Auditor

    Auditor.recover_step = lambda _self: None  # type: ignore[method-assign]


def see_no_hole() -> None:
    """The auditor takes every number up to the last for stored."""
    from alerts.audit.accounts import LedgerAccounts

    LedgerAccounts.missing = lambda _self, _sink, _stream, _first, _last: []  # type: ignore[method-assign]


def see_a_hole() -> None:
    """The auditor takes one number of every stream, once it is durable, for missing."""
    from alerts.audit.accounts import LedgerAccounts

    missing = LedgerAccounts.missing

    def mutant(self: Any, sink: str, stream: str, first: int, last: int) -> list[tuple[int, int]]:
        return sorted([*missing(self, sink, stream, first, last), *([(7, 7)] if first <= 7 <= last else [])])

    LedgerAccounts.missing = mutant  # type: ignore[method-assign]


MUTANTS = {
    mutant.__name__: mutant
    for mutant in (commit_first, drop_one_retry, ignore_item_errors, get_nothing_back, see_no_hole, see_a_hole)
}

if __name__ == "__main__":
    from compose.__main__ import main

    MUTANTS[sys.argv.pop(1)]()
    main()
