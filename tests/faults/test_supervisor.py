"""The platform's roles are kept up, and end with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from collector.settings import GatewaySettings
from compose.settings import HealthSettings, Settings
from compose.supervisor import StartFailed, Supervisor
from compose.wiring import open_journal
from dashboards.settings import BoardSettings
from shippers.clock import SystemClock

LONE_SUPERVISOR = """
import sys, time
from pathlib import Path
from tests.faults.test_supervisor import settings
from compose.supervisor import Supervisor
from shippers.clock import SystemClock
supervisor = Supervisor(settings(Path(sys.argv[1])), SystemClock(), roles=("gateway", "watch"))
supervisor.__enter__()
supervisor.wait_ready(30)
print(supervisor.pid("gateway"), supervisor.pid("watch"), flush=True)
time.sleep(60)
"""


def settings(data: Path) -> Settings:
    free = HealthSettings(indexer=0, watch=0, archiver=0, auditor=0)
    return Settings(data=data, gateway=GatewaySettings(port=0), boards=BoardSettings(port=0), health=free)


def eventually(good: Callable[[], bool], within_s: float = 20) -> bool:
    deadline = time.monotonic() + within_s
    while not good() and time.monotonic() < deadline:
        time.sleep(0.05)
    return good()


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_a_role_that_is_killed_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    with Supervisor(settings(tmp_path), SystemClock(), roles=("gateway",), say=said.append) as supervisor:
        supervisor.wait_ready(30)
        url = f"{supervisor.settings.gateway_url}/ready"
        first = supervisor.pid("gateway")
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: bool(said))
        assert "gateway ended (killed by SIGKILL), started again" in said[0]
        supervisor.wait_ready(30)
        assert supervisor.pid("gateway") != first
        assert httpx.get(url).is_success
    assert not is_alive(first)


def test_roles_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", LONE_SUPERVISOR, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not any(is_alive(pid) for pid in children))


def test_beside_a_gateway_that_runs_alone_none_starts_and_its_process_is_named(tmp_path: Path) -> None:
    with closing(open_journal(settings(tmp_path), writable=True)):
        second = Supervisor(settings(tmp_path), SystemClock(), roles=("gateway",), say=lambda _: None)
        with second, pytest.raises(StartFailed, match=f"process {os.getpid()} already"):
            second.wait_ready(60)
