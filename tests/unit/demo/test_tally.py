"""The demo's own count: of every log call but the product's, readable while it grows."""

from __future__ import annotations

import logging
from pathlib import Path

from compose.demo.tally import LogTally, Tally, read


def test_a_count_is_read_from_outside_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "count"
    assert read(path) == 0
    tally = Tally(path)
    assert read(path) == 0
    tally.add()
    tally.add(41)
    assert read(path) == 42


def test_every_log_call_counts_but_the_products_own(tmp_path: Path) -> None:
    handler = LogTally(tmp_path / "count")
    for name in ("payment", "lastbeat.sender", "urllib3", "lastbeat"):
        handler.handle(logging.makeLogRecord({"name": name, "levelno": logging.INFO, "msg": "x"}))
    assert read(tmp_path / "count") == 2
