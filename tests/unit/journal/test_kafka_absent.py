"""What speaks to Kafka where there is none: it waits, says why, and uses no more of the machine the longer it waits."""

from __future__ import annotations

import gc
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError

from collector.journal import kafka_link
from collector.journal.kafka import KafkaJournal
from collector.settings import KafkaSettings
from shippers.clock import SystemClock
from shippers.errors import Misconfigured, Unavailable
from tests.stack.batches import batch


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[KafkaSettings]:
    """A port that is taken and answers nobody."""
    monkeypatch.setattr(kafka_link, "REQUEST_TIMEOUT_MS", 100)
    for name in ("manager", "connection"):  # pytest keeps their records, and with them the errors and their sockets
        monkeypatch.setattr(logging.getLogger(f"kafka.net.{name}"), "disabled", True)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield KafkaSettings(bootstrap=f"127.0.0.1:{nobody.getsockname()[1]}", append_timeout_s=1.0)


def held() -> tuple[int, int]:
    """Threads and open files of this process, without what the garbage collector is about to close."""
    gc.collect()
    return threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - just their number


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells which files are open")
@pytest.mark.parametrize(
    "attempt",
    [
        lambda journal: journal.reader("elastic", ["business"]).poll(1, 0.0),
        lambda journal: journal.reader(None, ["business"]).assigned(),
        lambda journal: journal.reader("elastic", ["business"]).committed(),
        lambda journal: journal.cluster_id(),
    ],
    ids=["group", "no group", "committed", "admin"],
)
def test_attempts_that_fail_leave_nothing_open(
    attempt: Callable[[KafkaJournal], object], nowhere: KafkaSettings
) -> None:
    with closing(KafkaJournal(nowhere, SystemClock())) as journal:
        for number in range(4):
            if number == 1:
                before = held()
            with pytest.raises(Unavailable, match=nowhere.bootstrap):
                attempt(journal)
        threads, files = held()
    assert threads <= before[0]
    assert files <= before[1] + 2  # the last error and its socket may be held yet


def test_appends_that_fail_leave_nothing_open(nowhere: KafkaSettings) -> None:
    before = held()
    for _ in range(3):
        with closing(KafkaJournal(nowhere, SystemClock())) as journal, pytest.raises(Unavailable):
            journal.append([batch(1)])
    threads, files = held()
    assert threads <= before[0]
    assert files <= before[1] + 2  # the last error and its socket may be held yet


@pytest.mark.parametrize("address", ["kafka", "kafka:", "kafka:port", "a:1,", "a:1 b:2", ""])
def test_an_address_that_can_be_none_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        KafkaSettings(bootstrap=address)


@pytest.mark.parametrize("address", ["kafka:9092", "a:1,b:2", "a:1, b:2", "[::1]:9092"])
def test_addresses_are_taken(address: str) -> None:
    assert KafkaSettings(bootstrap=address).bootstrap == address


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="ca_file"):
        KafkaJournal(KafkaSettings(security="SSL", ca_file=tmp_path / "missing.pem"), SystemClock())
