"""Ninety seconds of trouble on the real processes: nobody healthy is accused, and who died meanwhile is found.

Four platforms run side by side, each with a gateway, a watch and four services that beat every two seconds. Each goes
through one fault, during which one service is killed; the four faults overlap, so the whole takes about two minutes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from alerts.fleet import read_fleet
from alerts.incidents import Incident, read_incidents
from alerts.state.sqlite import SqliteState
from collector.settings import GatewaySettings
from compose.settings import HealthSettings, Settings
from compose.supervisor import Supervisor
from dashboards.settings import BoardSettings
from shippers.clock import SystemClock

FAULT_S = 90.0
ANY_PORT = HealthSettings(indexer=0, watch=0, archiver=0)
INTERVAL_S, GRACE_S = 2.0, 3.0
SERVICES = ("shop", "order", "payment", "channel")
SERVICE = f"""
import sys, time, lastbeat
name, url = sys.argv[1:]
lastbeat.init(name, url=url, region="cn-east", interval={INTERVAL_S}, grace={GRACE_S})
time.sleep(900)
"""


class Proxy:
    """A TCP relay on loopback that can be cut: open connections are reset, new ones are taken and left unanswered."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[socket.socket] = []
        self._lock = threading.Lock()
        self.is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        with self._lock:
            self.is_cut = True
            for one in self._pairs:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._pairs.clear()

    def mend(self) -> None:
        self.cut()
        self.is_cut = False

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                with self._lock:
                    self._pairs.append(near)
                    if self.is_cut:
                        continue
                    far = socket.create_connection(("127.0.0.1", self._target))
                    self._pairs.append(far)
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._relay, args=(source, target), daemon=True).start()

    @staticmethod
    def _relay(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class World:
    """One platform with its services, and what its watch has said."""

    def __init__(self, data: Path, supervisor: Supervisor, url: str | None = None) -> None:
        self.supervisor = supervisor
        self.url = url or supervisor.settings.gateway_url
        self.state = SqliteState(data / "state.db")
        self.services = {name: self._start(name) for name in SERVICES}

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", SERVICE, name, self.url])

    def kill(self, name: str) -> None:
        self.services[name].kill()
        self.services[name].wait()

    def incidents(self, *kinds: str) -> list[Incident]:
        return [incident for incident in read_incidents(self.state) if incident.kind in kinds]

    def wait_for(self, what: str, good: Callable[[], bool], within_s: float) -> float:
        """Wait until `good`; the seconds that it took."""
        start = time.monotonic()
        while not good():
            assert time.monotonic() - start < within_s, f"not within {within_s:.0f} s: {what}; {self.told()}"
            time.sleep(0.1)
        return time.monotonic() - start

    def told(self) -> list[str]:
        return [f"{incident.kind} {incident.status}: {incident.summary}" for incident in read_incidents(self.state)]

    def settle(self) -> None:
        self.wait_for(
            "all services seen", lambda: {row.service for row in read_fleet(self.state).services} >= set(SERVICES), 30
        )
        time.sleep(2 * INTERVAL_S)

    def close(self) -> None:
        for process in self.services.values():
            process.kill()
            process.wait()
        self.state.close()


@contextlib.contextmanager
def world(data: Path) -> Iterator[tuple[World, Proxy]]:
    settings = Settings(
        data=data, gateway=GatewaySettings(port=0, regions=("cn-east",)), boards=BoardSettings(port=0), health=ANY_PORT
    )
    environment = {"LASTBEAT_GATEWAY__REGIONS": '["cn-east"]'}
    supervisor = Supervisor(settings, SystemClock(), roles=("gateway", "watch"), environment=environment)
    with supervisor:
        supervisor.wait_ready(60)
        proxy = Proxy(supervisor.settings.gateway.port)
        here = World(data, supervisor, proxy.url)
        try:
            here.settle()
            yield here, proxy
        finally:
            here.close()
            proxy.close()


def frozen_gateway(data: Path) -> None:
    with world(data) as (here, _):
        gateway = here.supervisor.pid("gateway")
        os.kill(gateway, signal.SIGSTOP)
        here.kill("payment")
        time.sleep(FAULT_S)
        os.kill(gateway, signal.SIGCONT)
        the_dead_and_only_the_dead_is_paged(here)


def refusing_journal(data: Path) -> None:
    with world(data) as (here, _):
        gateway = here.supervisor.pid("gateway")
        limits = resource.prlimit(gateway, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway, resource.RLIMIT_FSIZE, (1, limits[1]))  # as a full disk: every write fails
        here.kill("payment")
        time.sleep(FAULT_S)
        assert httpx.get(f"{here.supervisor.settings.gateway_url}/beat/probe?region=cn-east").status_code == 503
        resource.prlimit(gateway, resource.RLIMIT_FSIZE, limits)
        the_dead_and_only_the_dead_is_paged(here)


def killed_watch(data: Path) -> None:
    with world(data) as (here, _):
        role = here.supervisor._running["watch"]
        role.pause_s = FAULT_S
        os.kill(here.supervisor.pid("watch"), signal.SIGKILL)
        here.kill("payment")
        time.sleep(FAULT_S)
        the_dead_and_only_the_dead_is_paged(here)


def cut_network(data: Path) -> None:
    with world(data) as (here, proxy):
        proxy.cut()
        here.kill("payment")
        time.sleep(FAULT_S)
        assert len(here.incidents("blind", "unreachable")) == 1, here.told()
        proxy.mend()
        the_dead_and_only_the_dead_is_paged(here)


def the_dead_and_only_the_dead_is_paged(here: World) -> None:
    took = here.wait_for("payment is paged", lambda: bool(here.incidents("down")), 20)
    print(f"paged {took:.1f} s after sight's return")
    time.sleep(3 * (INTERVAL_S + GRACE_S))
    assert [incident.service for incident in here.incidents("down", "instance")] == ["payment"], here.told()
    assert len(here.incidents("blind", "unreachable")) <= 1, here.told()


@pytest.mark.timeout(400)
def test_ninety_seconds_of_trouble_accuse_nobody_and_hide_nobody(tmp_path: Path) -> None:
    faults = (frozen_gateway, refusing_journal, killed_watch, cut_network)
    with ThreadPoolExecutor(len(faults)) as pool:
        runs = {fault.__name__: pool.submit(fault, tmp_path / fault.__name__) for fault in faults}
    failed = {name: str(run.exception()) for name, run in runs.items() if run.exception()}
    assert not failed, failed
