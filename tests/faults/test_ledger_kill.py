"""The indexer's process killed again and again, at any moment: its ledger says in the end exactly what the lake has."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alerts.state.sqlite import SqliteState
from collector.journal.local import LocalJournal
from collector.lake.inventory import LakeInventory
from collector.ledger.account import Total
from collector.ledger.view import LedgerView
from collector.settings import JournalSettings
from shippers.batch import Batch, Header, seal
from shippers.clock import SystemClock

STREAM = "paybootid001.business"
CLOCK = SystemClock()
WITHIN_S = 90.0


def batch(number: int, day: str) -> Batch:
    first = number * 5 + 1
    lines = [b'{"@timestamp":"%bT12:00:00Z","n":%d}' % (day.encode(), first + i) for i in range(5)]
    if number % 7 == 3:
        lines[2] = b"no event"
    made = seal(Header(STREAM, first, 0, "cn-east", "business", day, "payment", "pay-01", 0), lines)
    return made.void("spool full") if number % 11 == 5 else made


@contextmanager
def indexer(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "LASTBEAT_DATA": str(data), "LASTBEAT_HEALTH__INDEXER": "0"}
    process = subprocess.Popen([sys.executable, "-m", "compose", "indexer"], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_after_kills_at_any_moment_the_ledger_says_what_the_lake_has(tmp_path: Path) -> None:
    day = time.strftime("%Y-%m-%d", time.gmtime(CLOCK.time()))
    chance, sent = random.Random(7), 0
    ledger = SqliteState(tmp_path / "ledger.db")
    view = LedgerView(ledger)

    def last() -> int:
        view.refresh()
        account = view.account("lake", STREAM)
        return account.last if account is not None else 0

    with (
        closing(LocalJournal(tmp_path / "journal", JournalSettings(), CLOCK, writable=True)) as journal,
        closing(ledger),
    ):
        for turn in range(2):
            with indexer(tmp_path):
                begun, before = time.monotonic(), last()
                until = chance.uniform(0.2, 2.0)
                while last() == before and time.monotonic() - begun < WITHIN_S:  # it has started, and kept something
                    journal.append([batch(sent, day), batch(max(0, sent - 3), day)])
                    sent += 1
                    time.sleep(0.05)
                while time.monotonic() - begun < until:
                    journal.append([batch(sent, day)])
                    sent += 1
                    time.sleep(0.02)
            assert last() > before, turn
        with indexer(tmp_path):
            begun = time.monotonic()
            while last() < sent * 5 and time.monotonic() - begun < WITHIN_S:
                time.sleep(0.2)
    assert view.missing("lake", STREAM, 1, sent * 5) == []
    inventory = LakeInventory(tmp_path / "lake")
    [held] = inventory.inventory(day)
    account = view.account("lake", STREAM)
    assert account is not None
    assert list(account.stored) == inventory.runs(held)
    lost = [(letter.first, letter.first + letter.count - 1) for letter in inventory.letters()]
    assert sorted([*account.dead, *account.void]) == sorted(lost)
    voids = [number for number in range(sent) if number % 11 == 5]
    dead = [number for number in range(sent) if number % 7 == 3 and number % 11 != 5]
    assert account.totals() == {day: Total(sent * 5 - len(voids) * 5 - len(dead), len(dead), len(voids) * 5)}
    assert view.lies("lake") == []
