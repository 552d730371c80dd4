"""One platform under drill, in a folder of its own: its roles by the very commands that a user runs, links that can be
cut, the senders, and the on-call's telephone.

Embedded: gateway, indexer, watch and auditor on a local journal and the lake. On a stack: the same on Kafka and
Elasticsearch, and the archiver. Boards aren't started: nothing depends on them.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

from collector.elastic.client import ElasticClient
from collector.elastic.removal import remove_all
from collector.journal import kafka_link
from collector.settings import ElasticSettings, KafkaSettings
from compose.settings import Settings, load
from compose.stack import Stack
from compose.stack.server import end_of, free_ports
from compose.supervisor import StartFailed
from shippers.clock import Clock

from .pager import Pager
from .parts import OwnProcess, Part, Server
from .proxy import Relay
from .schedule import EMBEDDED, STACK

REGION = "drill"
INTERVAL_S, GRACE_S = 1.0, 2.0
BLIND_AFTER_S = 4.0
_READY_WITHIN_S = 60.0

_COMMON = """# Written by `lastbeat drill` for the platform that it breaks.
data = {data}

[gateway]
port = {gateway}
public_url = "http://127.0.0.1:{front}"
regions = ["{region}"]

[boards]
port = {boards}

[alerts]
blind_after_s = {blind}
instance_pending_s = 3.0
flush_s = 1.0

[audit]
statement_s = 1.0
count_every_s = 5.0

[[alerts.notifiers]]
name = "on-call"
kind = "webhook"
url = "{pager}"
timeout_s = 5.0
"""
_SERVERS = """
[kafka]
bootstrap = "{kafka}"
prefix = "{prefix}"
partitions = 3
append_timeout_s = 3.0

[elastic]
urls = ["http://127.0.0.1:{elastic}"]
prefix = "{prefix}"
refresh_s = 1.0
patience_s = 2.0
timeout_s = 10.0
"""


@dataclass(slots=True)
class Site:
    """A platform to be broken. `stack`: the servers to be used and harmed; None for the embedded form.

    `entries` gives other commands to some roles, as arguments of Python: tests break the code on purpose by them. A
    context manager: entering starts all roles and waits until they serve, leaving ends everything that was started.
    """

    data: Path
    clock: Clock
    stack: Stack | None = None
    entries: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    links: dict[str, Relay] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    pager: Pager = field(default_factory=Pager)
    _opened: ExitStack = field(default_factory=ExitStack)
    _ports: dict[str, int] = field(default_factory=dict)
    prefix: str = ""
    _settings: Settings | None = None

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def form(self) -> str:
        """Which of the two forms it is."""
        return STACK if self.stack else EMBEDDED

    @property
    def settings(self) -> Settings:
        """The platform's, as its roles read them, but that both servers are asked straight and not over a link."""
        assert self._settings is not None
        return self._settings

    @property
    def config(self) -> Path:
        """The platform's settings as a file."""
        return self.data / "lastbeat.toml"

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of this form."""
        return ("gateway", "indexer", *(("archiver",) if self.stack else ()), "watch", "auditor")

    def role(self, name: str) -> OwnProcess:
        """One role as a process; `indexer-2` is a second indexer. Not started yet, if it is new."""
        if name not in self.parts:
            kind = name.partition("-")[0]
            port = self._ports.setdefault(name, free_ports([0])[0])
            own = {} if kind == "gateway" else {f"LASTBEAT_HEALTH__{kind.upper()}": str(port)}
            entry = self.entries.get(kind, ("-m", "compose"))
            command = [sys.executable, "-P", *entry, kind, "--until-stdin-closes", "--config", str(self.config)]
            process = OwnProcess(name, command, self.environment | own, self.settings.run_path / f"{name}.log")
            self._opened.callback(process.end)
            self.parts[name] = process
        found = self.parts[name]
        assert isinstance(found, OwnProcess)
        return found

    def health(self, name: str) -> str:
        """Where a role answers for itself."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def heal(self) -> None:
        """Undo everything that may have been done to roles, servers and links, whatever it was."""
        for link in self.links.values():
            link.delay_s = 0.0
            link.mend()
        for part in list(self.parts.values()):
            part.thaw()
            part.unchoke()
        for name in (*(("kafka", "elasticsearch") if self.stack else ()), *self.roles):
            self.parts[name].start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until every role serves. Raises StartFailed with the end of the log of one that doesn't."""
        deadline, waited = self.clock.monotonic() + _READY_WITHIN_S, threading.Event()
        for name in self.roles:
            while not self.serves(name):
                log = self.settings.run_path / f"{name}.log"
                if self.clock.monotonic() > deadline:
                    raise StartFailed(f"{name} does not serve in {_READY_WITHIN_S:g} s; {log}:\n{end_of(log)}")
                if not self.role(name).running:
                    self.role(name).start()  # it gave up while what it needs was away: its supervisor's part
                self.clock.wait(waited, 0.1)

    def serves(self, name: str) -> bool:
        """Whether a role answers for itself; the gateway, that it takes batches."""
        path = "/ready" if name == "gateway" else "/health"
        try:
            return httpx.get(self.health(name) + path, timeout=1.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def _set_up(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self.prefix = f"drill_{secrets.token_hex(4)}"
        self._ports["gateway"], boards = free_ports([0, 0])
        for name in ("network", "zone"):
            self.links[name] = self._opened.enter_context(Relay(self._ports["gateway"]))
        self._opened.enter_context(self.pager)
        text = _COMMON.format(
            data=json.dumps(str(self.data.absolute())), gateway=self._ports["gateway"], boards=boards, region=REGION,
            front=self.links["network"].port, blind=BLIND_AFTER_S, pager=self.pager.url,
        )  # fmt: skip
        self.config.write_text(text + (self._servers(self.stack) if self.stack else ""))
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("LASTBEAT_", "OTEL_"))
        }
        settings = load(self.config)
        if self.stack and settings.elastic and settings.kafka:
            elastic = settings.elastic.model_copy(update={"urls": (self.stack.elasticsearch,)})
            kafka = settings.kafka.model_copy(update={"bootstrap": self.stack.kafka})
            settings = settings.model_copy(update={"elastic": elastic, "kafka": kafka})
        self._settings = settings
        settings.run_path.mkdir(parents=True, exist_ok=True)
        for name in self.roles:
            self.role(name).start()
        self.wait_ready()

    def _servers(self, stack: Stack) -> str:
        stack.up()
        listens, advertised = stack.kafka_link
        self.links["kafka-link"] = self._opened.enter_context(Relay(listens, advertised))
        self.links["elastic-link"] = self._opened.enter_context(Relay(int(stack.elasticsearch.rpartition(":")[2])))
        self.parts["kafka"] = Server(stack, "kafka", self.clock)
        self.parts["elasticsearch"] = Server(stack, "elasticsearch", self.clock, self._block)
        self._opened.callback(self._remove)
        return _SERVERS.format(
            kafka=f"127.0.0.1:{advertised}", elastic=self.links["elastic-link"].port, prefix=self.prefix
        )

    def _remove(self) -> None:
        """Take this drill's topics and indices off the servers again."""
        assert self.stack is not None
        kafka_link.remove_all(KafkaSettings(bootstrap=self.stack.kafka, prefix=self.prefix))
        remove_all(ElasticSettings(urls=(self.stack.elasticsearch,), prefix=self.prefix))

    def _block(self, blocked: bool) -> None:
        """What Elasticsearch does by itself once a disk is nearly full: every index can be read and deleted only."""
        assert self.stack is not None
        client = ElasticClient(ElasticSettings(urls=(self.stack.elasticsearch,)))  # not by the link, which may be cut
        value = True if blocked else None
        path = f"/{self.prefix}-business-*,{self.prefix}-heartbeat-*/_settings?ignore_unavailable=true"
        client.ask("PUT", path, {"index.blocks.read_only_allow_delete": value})
        client.close()
