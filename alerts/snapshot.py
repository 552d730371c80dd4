"""What a restarted watch needs: the roster as documents, and back. Pure; the keeper reads and writes them.

A process's part stands in its instance's row of the fleet; offsets, pulses and the paths' clocks are one document.
Rows may be newer than that document: what is then read again changes nothing, as beats have numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from collector.ports import TopicPartition

from .beat import Info
from .fleet import InstanceRow
from .processes import Instance, Process
from .roster import Outage, Roster
from .scopes import Scope
from .sight import Gateway
from .staleness import Policy, Verdict

VERSION = 1


def clocks_doc(roster: Roster) -> dict[str, Any]:
    """Where reading goes on, and every clock as it stood there."""
    return {
        "v": VERSION,
        "partitions": [
            {
                "topic": each.tp.topic,
                "partition": each.tp.partition,
                "next_offset": each.next_offset,
                "pulse": each.pulse.now,
                "gaps": each.pulse.gaps,
                "last_at": _finite(each.pulse.last_at),
            }
            for each in roster.partitions.values()
        ],
        "paths": [
            {
                "topic": each.partition.tp.topic,
                "partition": each.partition.tp.partition,
                "ingress": each.ingress,
                "blind": each.blind,
                "since": _finite(each.since),
                "now": each.sight.now,
                "low": _finite(each.sight.low),
                "gaps": each.sight.gaps,
                "returned_at": _finite(each.sight.returned_at),
                "returned_pulse": _finite(each.sight.returned_pulse),
                "moved_at": _finite(each.sight.moved_at),
                "missed_s": each.sight.missed_s,
                "gateways": {
                    name: [held.last_at, held.pulse, held.gaps, held.since, held.silent_s, held.moved]
                    for name, held in each.sight.gateways.items()
                },
            }
            for each in roster.paths.values()
        ],
        "outages": [
            {
                "scope": each.scope,
                "whole": each.whole,
                "age_s": each.age_s,
                "pulses": [[tp.topic, tp.partition, pulse] for tp, pulse in each.pulses.items()],
            }
            for each in roster.outages.values()
        ],
        "returns": [
            [scope.key, each.tp.topic, each.tp.partition, scope.returned[1]]
            for scope in roster.scopes.values()
            for each in roster.partitions.values()
            if scope.returned is not None and scope.returned[0] is each.pulse
        ],
    }


def restore_clocks(roster: Roster, doc: Mapping[str, Any]) -> None:
    """The clocks of an empty roster, as the document has them. Raises ValueError for a document of another version."""
    if doc["v"] != VERSION:
        raise ValueError(f"snapshot of version {doc['v']}")
    for each in doc["partitions"]:
        partition = roster.partition(TopicPartition(each["topic"], each["partition"]))
        partition.next_offset = each["next_offset"]
        partition.pulse.now, partition.pulse.gaps = each["pulse"], each["gaps"]
        partition.pulse.last_at = _or(each["last_at"], math.nan)
    for each in doc["paths"]:
        path = roster.path(roster.partition(TopicPartition(each["topic"], each["partition"])), each["ingress"])
        path.blind, path.since = each["blind"], _or(each["since"], 0.0)
        sight = path.sight
        sight.now, sight.missed_s = each["now"], each["missed_s"]
        sight.low, sight.gaps = _or(each["low"], math.nan), each["gaps"]
        sight.returned_at = _or(each["returned_at"], -math.inf)
        sight.returned_pulse = _or(each["returned_pulse"], -math.inf)
        sight.moved_at = _or(each["moved_at"], -math.inf)
        sight.gateways = {name: Gateway(*held) for name, held in each["gateways"].items()}
    for each in doc["outages"]:
        pulses = {TopicPartition(topic, partition): pulse for topic, partition, pulse in each["pulses"]}
        roster.outages[each["scope"]] = Outage(each["scope"], each["whole"], each["age_s"], pulses)
    for key, topic, number, at in doc["returns"]:
        scope = roster.scopes.setdefault(key, Scope(key))
        scope.come_back(roster.partition(TopicPartition(topic, number)).pulse, at)


def instance_doc(instance: Instance) -> dict[str, Any]:
    """The watch's own part of an instance's row."""
    return {
        "first_at": instance.first_at,
        "restart_times": instance.restart_times,
        "heir_of": instance.heir_of,
        "why": instance.why,
        "processes": [_process_doc(each) for each in instance.processes.values()],
    }


def _process_doc(process: Process) -> dict[str, Any]:
    tp = process.path.partition.tp
    return {
        "boot": process.boot,
        "number": process.number,
        "offset": process.offset,
        "last": process.last,
        "first_at": process.first_at,
        "started_at": process.started_at,
        "born": process.born,
        "started_pulse": process.started_pulse,
        "heard": process.heard,
        "pulse": process.pulse,
        "floor": _finite(process.floor),
        "path": [tp.topic, tp.partition, process.path.ingress],
        "policy": [process.policy.interval_s, process.policy.grace_s],
        "zone": process.info.zone,
        "version": process.info.version,
        "verdict": process.verdict.value,
        "via": process.via,
        "judged": process.judged,
        "released": process.released,
        "replaced": process.replaced,
        "succeeds": process.succeeds,
        "outage": process.outage,
    }


_KEPT_AS_THEY_ARE = (
    "number", "offset", "last", "first_at", "started_at", "born", "started_pulse", "heard", "pulse", "via", "judged",
    "released",
)  # fmt: skip


def restore_instance(roster: Roster, row: InstanceRow, doc: Mapping[str, Any], service_first_at: float | None) -> None:
    """An instance and its processes into a roster whose clocks are restored."""
    instance = roster.add_instance(row.region, row.service, row.instance, doc["first_at"])
    if service_first_at is not None:
        instance.service.first_at = service_first_at
    instance.restarts = row.restarts
    instance.restart_times = list(doc["restart_times"])
    instance.heir_of = doc["heir_of"]
    instance.why = doc["why"]
    for each in doc["processes"]:
        _restore_process(roster, instance, row, each)
    instance.since = row.since


def _restore_process(roster: Roster, instance: Instance, row: InstanceRow, doc: Mapping[str, Any]) -> None:
    topic, number, ingress = doc["path"]
    path = roster.path(roster.partition(TopicPartition(topic, number)), ingress)
    is_shown = doc["boot"] == row.boot
    info = Info(
        version=doc["version"],
        environment=row.environment,
        zone=doc["zone"],
        host=row.host,
        pid=row.pid if is_shown else None,
        cpu_percent=row.cpu_percent if is_shown else None,
        memory_bytes=row.memory_bytes if is_shown else None,
        queue_events=row.queue_events if is_shown else 0,
        spool_bytes=row.spool_bytes if is_shown else 0,
        dropped=row.dropped if is_shown else 0,
        streams=row.streams if is_shown else {},
    )
    process = Process(instance, doc["boot"], path, Policy(*doc["policy"]), info)
    for name in _KEPT_AS_THEY_ARE:
        setattr(process, name, doc[name])
    process.replaced, process.succeeds = doc["replaced"], doc["succeeds"]
    process.floor = _or(doc["floor"], -math.inf)
    process.scopes = roster.scopes_of(process, info.zone)
    instance.processes[process.boot] = process
    roster.turn(process, Verdict(doc["verdict"]))
    outage = roster.outages.get(doc["outage"] or "")
    if outage is not None and process.verdict is Verdict.UNREACHABLE:
        process.outage = outage.scope
        outage.members.add(process)
    elif process.verdict is Verdict.UNREACHABLE:  # of an outage that ended, or began, after the clocks were kept
        roster.release(process)
    if process.judged:
        for scope in process.scopes:
            scope.hear(path.partition.pulse, process.pulse)
    if process.live:  # looked at as soon as its partition is read to the end
        path.schedule(process, process.heard)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
