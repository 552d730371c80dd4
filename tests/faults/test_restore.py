"""The README's backup and restore, played through: a service with a spool and one without go on all the time, while the
data folder is lost and put back as it was before. What can be got back is, the rest is named, and nobody is accused.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from alerts.audit.statement import Statement, read_statement
from alerts.incidents import read_incidents
from alerts.state.sqlite import SqliteState
from collector.settings import GatewaySettings
from compose.stack.server import free_ports
from compose.supervisor import Supervisor
from shippers.clock import SystemClock
from tests.faults.service_process import environment, python, wait_for
from tests.faults.test_supervisor import settings
from tests.lake_reading import ids_in

ROLES = ("gateway", "indexer", "watch", "auditor")
SERVICE = """
import logging, lastbeat, sys, time
lastbeat.init(sys.argv[1], region="cn-east", interval=1, grace=3)
log = logging.getLogger("shop")
print(lastbeat.stats().boot, flush=True)
for line in sys.stdin:
    for number in range(int(line)):
        log.info("paid %d", number)
    while lastbeat.stats().acked.get("business", 0) < lastbeat.stats().emitted["business"]:
        time.sleep(0.01)
    print("acknowledged", flush=True)
"""


class Played:
    """A platform that is stopped and started on one folder and one port, and services that don't care."""

    def __init__(self, folder: Path) -> None:
        self.data, self.backup, self.spool = folder / "data", folder / "backup", folder / "spool"
        [port] = free_ports([0])
        self.settings = settings(self.data).model_copy(update={"gateway": GatewaySettings(port=port)})
        self.services: list[tuple[subprocess.Popen[str], str]] = []
        self._up = ExitStack()

    def start(self, *roles: str) -> None:
        environ = {"LASTBEAT_AUDIT__STATEMENT_S": "0.5"}
        up = Supervisor(self.settings, SystemClock(), roles=roles or ROLES, environment=environ)
        self._up.enter_context(up).wait_ready(60)

    def stop(self) -> None:
        self._up.close()

    def service(self, name: str, **more: str) -> str:
        """A process that logs so many events for each number it is told; its stream."""
        environ = environment(LASTBEAT_URL=self.settings.gateway_url, **more)
        pipe = subprocess.PIPE
        process = subprocess.Popen([*python("", SERVICE), name], env=environ, stdin=pipe, stdout=pipe, text=True)
        assert process.stdout is not None
        self.services.append((process, f"{process.stdout.readline().strip()}.business"))
        return self.services[-1][1]

    def log(self, count: int) -> None:
        """Each service logs so many more."""
        for process, _ in self.services:
            assert process.stdin is not None
            print(count, file=process.stdin, flush=True)

    def acknowledged(self) -> None:
        """Wait until the platform has said that it has what was logged last."""
        for process, _ in self.services:
            assert process.stdout is not None
            assert process.stdout.readline() == "acknowledged\n"

    def until(self, condition: Callable[[Statement], bool]) -> Statement:
        """The first statement of which this holds."""
        held: list[Statement] = []
        with closing(SqliteState(self.data / "state.db")) as state:

            def holds() -> bool:
                found = read_statement(state)
                held.extend([found] if found is not None and condition(found) else [])
                return bool(held)

            wait_for(holds, 60)
        return held[0]

    def end(self) -> None:
        for process, _ in self.services:
            process.kill()
            process.communicate()
        self.stop()


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    made = Played(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.end()


@pytest.mark.soak
def test_after_a_restore_all_is_back_or_named_and_nobody_is_accused(played: Played) -> None:
    kept = played.service("checkout", LASTBEAT_SPOOL=str(played.spool))
    bare = played.service("payment")
    played.log(100)
    played.acknowledged()
    played.stop()
    shutil.copytree(played.data, played.backup, ignore=shutil.ignore_patterns("run"))

    played.start("gateway")
    played.log(50)
    played.acknowledged()
    played.stop()
    shutil.rmtree(played.data)
    played.log(40)  # while there is no platform
    played.backup.rename(played.data)
    played.start()
    played.log(5)

    found = played.until(lambda found: found.of("lake").stored == 2 * 195 - 50 and len(found.open) == 1)
    assert [(each.stream, each.holes) for each in found.open] == [(bare, ((101, 150),))]
    line = found.of("lake")
    assert (line.emitted, line.unaccounted, line.flight, line.tail) == (2 * 195, 50, 0, 0)
    with closing(SqliteState(played.data / "state.db")) as state:
        assert {each.kind for each in read_incidents(state)} <= {"lossy"}, "nobody is accused"
    stored = [one for one in ids_in(played.data / "lake") if ".business:" in one]
    wanted = [f"{kept}:{n}" for n in range(1, 196)] + [f"{bare}:{n}" for n in (*range(1, 101), *range(151, 196))]
    assert stored == sorted(wanted), "each once"
