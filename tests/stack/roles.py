"""The roles of docker-compose.yml as processes: each one's own command and environment, led to the local servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from compose.stack.server import free_ports
from tests.compose_file import ROLES, services

TOKEN = "sesame"
_VARIABLES = {
    "LASTBEAT_GATEWAY__TOKENS": f'[{{"name":"tests","token":"{TOKEN}"}}]',
    "LASTBEAT_ELASTIC__PASSWORD": "unasked",
    "GRAFANA_PASSWORD": "unused",
}
_REPOSITORY = Path(__file__).parents[2]


def eventually(good: Callable[[], bool], within_s: float, words: Callable[[], str] = lambda: "") -> None:
    """Wait until something holds. Fails with `words`."""
    deadline = time.monotonic() + within_s
    while not good():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {words()}"
        time.sleep(0.1)


@dataclass(slots=True)
class Role:
    """One service of the compose file, started as a process. `name` is unlike that of any other here."""

    name: str
    service: dict[str, Any]
    environment: dict[str, str]
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> httpx.Response:
        """What it says of itself."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5.0, trust_env=False)

    def is_healthy(self) -> bool:
        """What its own health check, as it stands in the file, says."""
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text()}"
        kind, *command = self.service["healthcheck"]["test"]
        assert kind == "CMD"
        command[-1] = command[-1].replace(f":{_PORTS[self.name.partition('-')[0]]}/", f":{self.port}/")
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0


_PORTS = {"gateway": 7411, "indexer": 7413, "watch": 7414, "archiver": 7415, "boards": 7416, "auditor": 7417}


@dataclass(slots=True)
class Roles:
    """Starts and ends them. `kafka` is host:port, `elasticsearch` a URL; everything bears `prefix`."""

    kafka: str
    elasticsearch: str
    prefix: str
    data: Path
    running: dict[str, Role] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for role in self.running.values():
            role.process.kill()
            role.process.wait()

    def start(self, *names: str) -> None:
        """Start these; `indexer-2` is a second indexer."""
        self.data.mkdir(exist_ok=True)
        found = services(_VARIABLES)
        gateway, boards, *ports = free_ports([0] * (2 + len(names)))
        for name, port in zip(names, ports, strict=True):
            kind = name.partition("-")[0]
            service = found[kind]
            port = gateway if kind == "gateway" else port
            environment = self._environment(service, gateway) | {
                "LASTBEAT_GATEWAY__PORT": str(gateway),
                "LASTBEAT_BOARDS__PORT": str(boards),
            }
            if kind != "gateway":
                environment[f"LASTBEAT_HEALTH__{kind.upper()}"] = str(port)
            log = self.data / f"{name}.log"
            with log.open("ab") as sink:
                process = subprocess.Popen(
                    service["command"], env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
                )
            self.running[name] = Role(name, service, environment, port, log, process)
        self.gateway_url, self.boards_url = f"http://127.0.0.1:{gateway}", f"http://127.0.0.1:{boards}"

    gateway_url: str = ""
    boards_url: str = ""

    def _environment(self, service: dict[str, Any], gateway: int) -> dict[str, str]:
        """The service's own, with the names that only Docker's network knows replaced by what is here."""
        here = {
            "kafka:9092": self.kafka,
            "http://elasticsearch:9200": self.elasticsearch,
            "http://gateway:7411": f"http://127.0.0.1:{gateway}",
            "0.0.0.0": "127.0.0.1",
        }
        given = {str(name): str(value) for name, value in service["environment"].items()}
        for there, local in here.items():
            given = {name: value.replace(there, local) for name, value in given.items()}
        ours = {name: value for name, value in os.environ.items() if not name.startswith("LASTBEAT_")}
        return {
            **ours,
            **given,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(_REPOSITORY),
            "LASTBEAT_DATA": str(self.data),
            "LASTBEAT_KAFKA__PREFIX": self.prefix,
            "LASTBEAT_KAFKA__PARTITIONS": "4",
            "LASTBEAT_ELASTIC__PREFIX": self.prefix,
            "LASTBEAT_ELASTIC__REFRESH_S": "1",
        }

    def wait_healthy(self, within_s: float = 60.0) -> None:
        """Until every health check succeeds."""
        for role in self.running.values():
            eventually(role.is_healthy, within_s, lambda role=role: f"{role.name}\n{role.log.read_text()}")  # type: ignore[misc]

    def stop(self, codes: Collection[int] = (0,)) -> dict[str, float]:
        """SIGTERM to all at once; how long each took. Fails for one that takes longer than ten seconds, or ends with
        another exit code than these."""
        began, took = time.monotonic(), {}
        for role in self.running.values():
            role.process.send_signal(signal.SIGTERM)
        for name, role in self.running.items():
            try:
                code = role.process.wait(max(0.1, 10.0 - (time.monotonic() - began)))
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{name} did not stop within 10 s:\n{role.log.read_text()}") from None
            assert code in codes, f"{name} ended with {code}:\n{role.log.read_text()}"
            took[name] = time.monotonic() - began
        self.running.clear()
        return took

    def logs(self) -> dict[str, str]:
        """What each has said."""
        return {path.stem: path.read_text() for path in sorted(self.data.glob("*.log"))}


ALL = (*ROLES, "indexer-2")
