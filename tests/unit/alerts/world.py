"""A small world for the watch: a journal whose times are the fake clock's, raw, and beats and canaries to put in it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alerts.fleet import InstanceRow, ServiceRow, read_fleet
from alerts.incidents import Incident, read_incidents
from alerts.notify.scripted import ScriptedNotifier
from alerts.settings import AlertSettings
from alerts.state.memory import MemoryState
from alerts.watch import Watch
from collector.ports import Gap, Record, State, TopicPartition
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock
from shippers.errors import Unavailable

SERVICES = ("shop", "order", "payment", "ship", "stock", "mail")


class RawJournal:
    """A journal that stamps whatever the wall clock says, back or forth, as brokers do."""

    def __init__(self, clock: FakeClock, partitions: int = 1) -> None:
        self.clock = clock
        self.partitions = partitions
        self.logs: dict[TopicPartition, list[Record]] = defaultdict(list)

    def append(self, *batches: Batch) -> None:
        for batch in batches:
            header = batch.header
            numbers = range(self.partitions) if header.canary else [sum(header.instance.encode()) % self.partitions]
            for number in numbers:
                self.put(TopicPartition(f"lastbeat.{header.region}.heartbeat", number), header.encode(), batch.body)

    def put(self, tp: TopicPartition, header: bytes, body: bytes) -> None:
        log = self.logs[tp]
        log.append(Record(tp, len(log), len(log) + 1, self.clock.time(), header, body))


class RawReader:
    """Reads a RawJournal; `lagging` partitions stop one record before the end, `down` can't be read at all."""

    def __init__(self, journal: RawJournal) -> None:
        self.journal = journal
        self.at: dict[TopicPartition, int] = defaultdict(int)
        self.lagging = False
        self.down = False
        self.gaps: list[Gap] = []

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        if self.down:
            raise Unavailable("the journal's disk is gone")
        if self.gaps:
            gap = self.gaps.pop()
            self.at[gap.tp] = gap.found
            raise gap
        records = []
        for tp, log in self.journal.logs.items():
            end = max(self.at[tp], len(log) - self.lagging)
            records += log[self.at[tp] : end]
            self.at[tp] = end
        return records

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.at[tp] = offset

    def lag(self) -> dict[TopicPartition, int]:
        return {tp: len(log) - self.at[tp] for tp, log in self.journal.logs.items()}

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        raise AssertionError("the watch keeps its own positions")

    def pause(self, tps: Any) -> None: ...

    def resume(self, tps: Any) -> None: ...

    def assigned(self) -> set[TopicPartition]:
        return set(self.journal.logs)

    def close(self) -> None: ...


def canary(
    gateway: str = "gw-1",
    *,
    region: str = "cn-east",
    ingress: str = "default",
    refused: Mapping[str, str] | None = None,
) -> Batch:
    """One gateway's canary."""
    header = Header(
        "canary00.heartbeat", 1, 1, region, "heartbeat", "2026-11-21", "lastbeat", gateway, 0,
        via=gateway, ingress=ingress, canary=True,
    )  # fmt: skip
    return seal(header, [json.dumps({"refused": refused or {}}).encode()])


def beat(
    service: str,
    number: int,
    *,
    region: str = "cn-east",
    instance: str = "",
    boot: str = "",
    via: str = "gw-1",
    ingress: str = "default",
    age_s: float | None = None,
    interval_s: Any = 10.0,
    grace_s: Any = 20.0,
    state: str = "up",
    zone: str = "",
    uptime_s: float = 0.0,
    **more: Any,
) -> Batch:
    """One beat."""
    instance = instance or f"{service}-1"
    boot = boot or (service.replace("-", "") + "00000000")
    header = Header(
        f"{boot}.heartbeat", number, 1, region, "heartbeat", "2026-11-21", service, instance, 0,
        age_s=age_s, via=via, ingress=ingress,
    )  # fmt: skip
    said = {"interval_s": interval_s, "grace_s": grace_s, "state": state, "uptime_s": uptime_s, **more}
    body = {"service": {"name": service, "version": "1.4.2"}, "heartbeat": said}
    if zone:
        body["cloud"] = {"availability_zone": zone}
    return seal(header, [json.dumps(body).encode()])


class World:
    """A watch over a raw journal. Services in `beating` beat by themselves as time goes on."""

    def __init__(self, tmp_path: Path, *, partitions: int = 1, state: State | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.journal = RawJournal(self.clock, partitions)
        self.state = state or MemoryState()
        self.settings = AlertSettings(outbox=tmp_path / "outbox.jsonl", **settings)
        self.pager = ScriptedNotifier()
        self.gateways: dict[str, dict[str, Any]] = {"gw-1": {}}
        self.beating: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, str] = {}
        self.cut: set[str] = set()
        self._numbers: dict[str, int] = defaultdict(int)
        self._beat_at: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        """A new watch on the same state, as after a crash: nothing of the old one is kept that it had not written."""
        self.reader = RawReader(self.journal)
        names = {each.name: self.pager for each in self.settings.notifiers}
        self.watch = Watch(self.reader, self.state, self.settings, self.clock, names)

    def start(self, *services: str, **what: Any) -> None:
        """Let services beat from now on; a name started again is a new boot if `boot` says so."""
        for i, service in enumerate(services):
            self.beating[service] = what
            self._numbers[service + what.get("boot", "")] = 0
            self._beat_at[service] = self.clock.monotonic() + i * 0.25

    def kill(self, *services: str) -> None:
        for service in services:
            self.beating.pop(service)

    def run(self, seconds: float, *, seen: bool = True, watching: bool = True) -> None:
        """Let time pass in quarters of a second. Not `seen`: the journal takes nothing; not `watching`: no steps."""
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)
            if seen:
                self._emit()
            if watching:
                self.step()

    def _emit(self) -> None:
        if round(self.clock.monotonic() * 4) % 4 == 0:
            for name, where in self.gateways.items():
                self.journal.append(canary(name, refused=self.refused, **where))
        for service, what in self.beating.items():
            interval_s = what.get("interval_s", 10.0)
            if self.clock.monotonic() >= self._beat_at[service]:
                late_s = self.clock.monotonic() - self._beat_at[service]
                self._beat_at[service] += interval_s * (1 + late_s // interval_s)
                self.say(service)

    def say(self, service: str, **more: Any) -> None:
        """One beat of a beating service, now; lost on the way if the service is cut off."""
        what = {**self.beating[service], **more}
        key = service + what.get("boot", "")
        self._numbers[key] += 1
        if service not in self.cut:
            self.journal.append(beat(service, self._numbers[key], **what))

    def run_instances(self, seconds: int, *names: str) -> None:
        """Let time pass in which these instances of the service `web` beat each ten seconds."""
        for _ in range(seconds // 10):
            for name in names:
                self._numbers["web"] += 1
                boot = f"{name.replace('-', '')}0000000"
                self.journal.append(beat("web", self._numbers["web"], instance=name, boot=boot))
            self.run(10)

    def step(self) -> None:
        self.watch.step()
        self.watch.deliver()

    # --- what is known ---

    def incidents(self, *kinds: str) -> list[Incident]:
        return [each for each in read_incidents(self.state) if each.kind in kinds or not kinds]

    def open(self, *kinds: str) -> list[Incident]:
        return [each for each in self.incidents(*kinds) if each.is_open]

    def told(self) -> list[str]:
        return [f"{message.kind} {message.service or message.region}: {message.turn}" for message in self.pager.sent]

    def service(self, name: str) -> ServiceRow:
        return next(row for row in read_fleet(self.state).services if row.service == name)

    def instance(self, name: str) -> InstanceRow:
        return next(row for row in read_fleet(self.state).instances if row.instance == name)
