"""A journal that lost what it had acknowledged: the services' own spools have it, are asked in the gateway's answers,
and send it again. Real processes throughout."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from alerts.audit.findings import Finding, read_findings
from alerts.state.sqlite import SqliteState
from collector.journal.local import LocalJournal
from collector.ledger.intervals import IntervalSet
from collector.settings import JournalSettings
from compose.stack.server import free_ports
from shippers.batch import DATASETS, Batch, Header
from shippers.clock import SystemClock
from tests.faults.service_process import environment, python, wait_for
from tests.lake_reading import ids_in

SERVICE = """
import logging, lastbeat, sys, time
lastbeat.init("checkout", region="cn-east", interval=1)
log = logging.getLogger("shop")
for number in range(int(sys.argv[1])):
    log.info("paid %d", number)
print(lastbeat.stats().boot, flush=True)
time.sleep(120)
"""


class Platform:
    """A gateway as a process, on a folder of its own, and other roles beside it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        port, indexer, auditor = free_ports([0] * 3)
        self.url = f"http://127.0.0.1:{port}"
        self.settings = {
            "LASTBEAT_DATA": str(data / "data"),
            "LASTBEAT_GATEWAY__PORT": str(port),
            "LASTBEAT_HEALTH__INDEXER": str(indexer),
            "LASTBEAT_HEALTH__AUDITOR": str(auditor),
        }
        self.roles: dict[str, subprocess.Popen[bytes]] = {}
        self.services: list[subprocess.Popen[str]] = []

    def start(self, *roles: str) -> None:
        for role in roles:
            command = [sys.executable, "-P", "-m", "compose", role]
            with (self.data / f"{role}.log").open("ab") as log:
                self.roles[role] = subprocess.Popen(command, env=environment(**self.settings), stdout=log, stderr=log)
        wait_for(self.answers, 30)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=1.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def without_gateway(self, change: Callable[[Path], None]) -> None:
        """Change the journal in its folder while nobody writes it."""
        self.roles["gateway"].terminate()
        assert self.roles["gateway"].wait(15) == 0
        change(self.data / "data" / "journal")
        self.start("gateway")

    def service(self, events: int) -> tuple[subprocess.Popen[str], str]:
        """A process that has sent so many events, and its boot."""
        settings = environment(LASTBEAT_URL=self.url, LASTBEAT_SPOOL=str(self.data / "spool"))
        process = subprocess.Popen([*python("", SERVICE), str(events)], env=settings, stdout=subprocess.PIPE, text=True)
        self.services.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    def numbers(self, stream: str) -> list[tuple[int, int]]:
        """What the journal has of a stream."""
        found = IntervalSet()
        with closing(
            LocalJournal(self.data / "data" / "journal", JournalSettings(), SystemClock(), writable=False)
        ) as one:
            reader = one.reader(None, ["business"])
            while records := reader.poll(1 << 24, 0):
                for header in (Header.decode(record.header) for record in records):
                    if header.stream == stream and header.void is None:
                        found.add(header.first, header.last)
        return list(found)

    def resend(self, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-P", "-m", "compose", "resend", *arguments]
        run = subprocess.run(
            command, env=environment(**self.settings), capture_output=True, text=True, timeout=90, check=False
        )
        return run.returncode, run.stdout + run.stderr

    def end(self) -> None:
        for process in (*self.services, *self.roles.values()):
            process.kill()
            process.communicate()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path)
    try:
        made.start("gateway")
        yield made
    finally:
        made.end()


@pytest.mark.soak
def test_the_spool_gives_back_what_the_journal_lost(platform: Platform) -> None:
    """Of a process that lives, and of one that was killed, by its heir; what is nowhere is said to be nowhere."""
    living, boot = platform.service(3_000)
    killed, dead = platform.service(1_000)
    stream, gone = f"{boot}.business", f"{dead}.business"
    wait_for(lambda: platform.numbers(stream) == [(1, 3_000)] and platform.numbers(gone) == [(1, 1_000)])
    platform.without_gateway(shutil.rmtree)
    assert platform.numbers(stream) == []

    code, said = platform.resend(stream, "401-1000", "--wait", "40")
    [(first, last)] = platform.numbers(stream)
    assert (code, 1 < first <= 401, 1_000 <= last < 1_500) == (0, True, True), said  # whole batches
    assert "spool" in said
    assert "401–1000, sent again" in said
    code, said = platform.resend(stream, "2901-3100", "--wait", "40")
    assert (code, platform.numbers(stream)[-1][1]) == (1, 3_000), said
    assert "3001–3100: its service has them no more" in said.replace("\n", " ")

    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    heir, _ = platform.service(1)
    wait_for(
        lambda: not (platform.data / "spool" / dead).is_dir() or (platform.data / "spool" / dead / "sent").exists(), 20
    )
    code, said = platform.resend(gone, "1-1000", "--wait", "40")
    assert (code, platform.numbers(gone)) == (0, [(1, 1_000)]), said
    assert living.poll() is heir.poll() is None


def test_what_was_taken_out_of_the_journal_is_found_named_and_got_back_by_itself(platform: Platform) -> None:
    """Nobody does anything: the auditor finds the hole, the gateway asks the service, its spool has the batch."""
    _, boot = platform.service(3_000)
    stream = f"{boot}.business"
    wait_for(lambda: platform.numbers(stream) == [(1, 3_000)], 20)
    taken: list[tuple[int, int]] = []

    def take_one_out(path: Path) -> None:
        kept, before = [], path.rename(path.with_name("before"))
        with closing(LocalJournal(before, JournalSettings(), SystemClock(), writable=False)) as journal:
            reader = journal.reader(None, DATASETS)
            while records := reader.poll(1 << 24, 0):
                kept += [Batch(Header.decode(record.header), record.body) for record in records]
        mine = [one for one in kept if one.header.stream == stream]
        gone = mine[len(mine) // 2]
        taken.append((gone.header.first, gone.header.last))
        with closing(LocalJournal(path, JournalSettings(), SystemClock(), writable=True)) as journal:
            journal.append([one for one in kept if one is not gone])

    platform.without_gateway(take_one_out)
    platform.start("indexer", "auditor")
    with closing(SqliteState(platform.data / "data" / "state.db")) as state:

        def finding() -> Finding | None:
            return next((one for one in read_findings(state) if one.stream == stream), None)

        wait_for(lambda: (found := finding()) is not None and found.ended_at is not None, 60)
        found = finding()
    assert found is not None
    assert list(found.found) == taken, "the exact range"
    assert "spool" in found.sources or "asked of its service" in found.tried, found
    ids = [one for one in ids_in(platform.data / "data" / "lake") if one.startswith(stream)]
    assert sorted(int(one.rpartition(":")[2]) for one in ids) == list(range(1, 3_001)), "each once"
