"""The whole embedded platform as processes, and losses made on purpose: a batch taken out of the journal, and a tail
that SIGKILL cut off. Each is named with its exact range within two beats and five seconds, by auditor and watch.

Seen to fail with the auditor's barrier never passed, and with void batches counted as stored.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from alerts.audit.findings import read_findings
from alerts.audit.statement import read_statement
from alerts.incidents import read_incidents
from alerts.state.sqlite import SqliteState
from collector.journal.local import LocalJournal
from collector.ports import Gap, Record
from collector.settings import JournalSettings
from compose.supervisor import Supervisor
from shippers.batch import Header
from shippers.clock import SystemClock
from tests.faults.service_process import environment, python, wait_for
from tests.faults.test_supervisor import settings

INTERVAL_S, ALLOWED_S = 2.0, 5.0
START = f"""
import logging, lastbeat, os, signal, sys, time
lastbeat.init("checkout", region="cn-east", interval={INTERVAL_S})
log = logging.getLogger("shop")
def say(count):
    for number in range(count):
        log.info("paid %d", number)
    while lastbeat.stats().acked.get("business", 0) < lastbeat.stats().emitted["business"]:
        time.sleep(0.01)
    print(lastbeat.stats().boot, flush=True)
"""


class Platform:
    """Gateway, indexer, watch and auditor, each a process, and a service that may be stopped, or made to die."""

    def __init__(self, data: Path, supervisor: Supervisor) -> None:
        self.data, self.supervisor = data, supervisor
        self.state = SqliteState(data / "state.db")
        self.services: list[subprocess.Popen[str]] = []

    def service(self, script: str, **more: str) -> subprocess.Popen[str]:
        environ = environment(LASTBEAT_URL=self.supervisor.settings.gateway_url, **more)
        process = subprocess.Popen(
            python(START, script), env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.services.append(process)
        return process

    def records(self) -> list[Record]:
        found: list[Record] = []
        with closing(LocalJournal(self.data / "journal", JournalSettings(), SystemClock(), writable=False)) as journal:
            reader = journal.reader(None, ["business"])
            while True:
                try:
                    some = reader.poll(1 << 24, 0)
                except Gap:
                    continue
                if not some:
                    return found
                found += some

    def take_out(self, record: Record) -> None:
        """Damage it where it lies: it is no record any more."""
        folder = self.data / "journal" / "topics" / record.tp.topic
        segment = max(path for path in folder.glob("*.segment") if int(path.stem) <= record.offset)
        with segment.open("r+b") as file:
            file.seek(record.next_offset - int(segment.stem) - len(record.body) // 2)
            file.write(b"\0" * 8)

    def lost(self) -> dict[str, tuple[tuple[int, int], ...]]:
        return {each.stream: each.holes for each in read_findings(self.state) if each.ended_at is None}


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    environ = {"LASTBEAT_AUDIT__STATEMENT_S": "1", "LASTBEAT_JOURNAL__SEGMENT_BYTES": "67108864"}
    roles = ("gateway", "indexer", "watch", "auditor")
    with Supervisor(settings(tmp_path), SystemClock(), roles=roles, environment=environ) as supervisor:
        supervisor.wait_ready(60)
        made = Platform(tmp_path, supervisor)
        yield made
        for process in made.services:
            process.kill()
            process.communicate()
        made.state.close()


def within(seconds: float, condition: Callable[[], object]) -> None:
    began = time.monotonic()
    wait_for(condition, seconds)
    assert time.monotonic() - began <= seconds


def test_a_batch_taken_out_of_the_journal_is_named_and_told(platform: Platform) -> None:
    service = platform.service("""
        say(150); sys.stdin.readline()
        for count in (70, 80, 90): say(count)
        time.sleep(120)
        """)
    assert service.stdout is not None
    assert service.stdin is not None
    stream = f"{service.stdout.readline().strip()}.business"
    wait_for(lambda: (found := read_statement(platform.state)) and found.of("lake").stored == 150, 20)
    os.kill(platform.supervisor.pid("indexer"), signal.SIGSTOP)
    service.stdin.write("\n")
    service.stdin.flush()
    for _ in range(3):
        service.stdout.readline()
    [victim] = [each for each in platform.records() if Header.decode(each.header).first == 221]
    platform.take_out(victim)
    os.kill(platform.supervisor.pid("indexer"), signal.SIGCONT)
    within(2 * INTERVAL_S + ALLOWED_S, lambda: platform.lost() == {stream: ((221, 300),)})
    wait_for(lambda: any(each.kind == "lossy" for each in read_incidents(platform.state)), 10)
    [incident] = [each for each in read_incidents(platform.state) if each.kind == "lossy"]
    assert "221–300" in incident.why
    statement = read_statement(platform.state)
    assert statement is not None
    assert (statement.of("lake").unaccounted, statement.of("lake").emitted) == (80, 390)


def test_what_a_kill_cut_off_is_named_once_its_heir_has_said_it(platform: Platform) -> None:
    spool = {"LASTBEAT_SPOOL": str(platform.data / "spool")}
    script = "say(100); [log.info('cut %d', n) for n in range(37)]; os.kill(os.getpid(), signal.SIGKILL)"
    dead = platform.service(script, **spool)
    assert dead.stdout is not None
    stream = f"{dead.stdout.readline().strip()}.business"
    dead.wait(10)
    platform.service("say(1); time.sleep(120)", **spool)

    def named() -> bool:
        statement = read_statement(platform.state)
        tails = statement.head.tails if statement is not None else ()
        return [(each.stream, each.ranges) for each in tails if each.counted] == [(stream, ((101, 137),))]

    within(2 * INTERVAL_S + ALLOWED_S, named)
    assert platform.lost() == {}
    statement = read_statement(platform.state)
    assert statement is not None
    assert statement.of("lake").void == 37
