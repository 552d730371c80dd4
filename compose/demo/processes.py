"""Starts and ends the shop's processes. They end with this one, even if it is killed: see `child`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from . import tally
from .history import ENVIRONMENT
from .topology import INSTANCES, Instance
from .wire import post

INTERVAL_S = 1.0
GRACE_S = 3.0
_STOP_WITHIN_S = 15.0
_LOAD = "load"


@dataclass(slots=True)
class Processes:
    """The shop and its customers. `folder` takes their logs and tallies; `gateway` is where they ship to.

    A context manager: entering starts nothing, leaving ends whatever still runs.
    """

    folder: Path
    gateway: str
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _addresses: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every instance, then the customers.

        This process opens the sockets that they listen on, so that all addresses are known before anybody runs; it
        keeps none of them, so that nobody answers for the dead.
        """
        sockets = {instance.name: socket.create_server(("127.0.0.1", 0)) for instance in INSTANCES}
        self._addresses = {name: f"127.0.0.1:{opened.getsockname()[1]}" for name, opened in sockets.items()}
        for instance in INSTANCES:
            with sockets[instance.name] as opened:
                self._start(instance.name, ["service", instance.name, str(opened.fileno())], _of(instance), opened)
        self._start(_LOAD, ["load"], {})

    def ail(self, instance: Instance) -> None:
        """Let an instance fall ill (see `ailment`)."""
        post(self._addresses[instance.name], "/ail", {}, timeout_s=5.0)

    def kill(self, instance: Instance) -> None:
        """SIGKILL: no goodbye, no flush."""
        child = self._children[instance.name]
        child.send_signal(signal.SIGKILL)
        child.wait()

    def gone(self) -> list[str]:
        """Those that ended by themselves or were killed, as `name (exit code)`."""
        ended = ((name, child.poll()) for name, child in self._children.items())
        return [f"{name} ({code})" for name, code in ended if code is not None]

    def stop(self) -> list[str]:
        """End all, customers first, so that no order is cut; returns those that had to be killed for it."""
        late: list[str] = []
        if _LOAD in self._children:
            late += _end({_LOAD: self._children.pop(_LOAD)})
        late += _end(self._children)
        self._children.clear()
        return late

    def emitted(self) -> dict[str, int]:
        """How often each instance has called its logger, by its own count."""
        return {instance.name: tally.read(self._tally(instance.name)) for instance in INSTANCES}

    def orders(self) -> int:
        """How many orders the customers have sent."""
        return tally.read(self._tally(_LOAD))

    def _tally(self, name: str) -> Path:
        return self.folder / f"{name}.count"

    def _start(self, name: str, arguments: list[str], own: dict[str, str], opened: socket.socket | None = None) -> None:
        module, *rest = arguments
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("LASTBEAT_", "OTEL_"))}
        environment |= own | {
            "LASTBEAT_URL": self.gateway,
            "LASTBEAT_INTERVAL": str(INTERVAL_S),
            "LASTBEAT_GRACE": str(GRACE_S),
            "SHOP_PEERS": json.dumps(self._addresses),
            "SHOP_TALLY": str(self._tally(name)),
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            self._children[name] = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.{module}", *rest],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[opened.fileno()] if opened else [],
                start_new_session=True,
            )


def _of(instance: Instance) -> dict[str, str]:
    """What an operator would set for this instance."""
    return {
        "LASTBEAT_REGION": instance.region,
        "LASTBEAT_ZONE": instance.zone,
        "LASTBEAT_VERSION": instance.version,
        "LASTBEAT_INSTANCE": instance.name,
        "LASTBEAT_ENVIRONMENT": ENVIRONMENT,
    }


def _end(children: dict[str, subprocess.Popen[bytes]]) -> list[str]:
    """Ask all to end, then wait for each; kill, and name, who doesn't."""
    late: list[str] = []
    for child in children.values():
        if child.stdin:
            child.stdin.close()
    for name, child in children.items():
        try:
            child.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            late.append(name)
            child.kill()
            child.wait()
    return late
