"""What the watch reads of a journal's record: a beat of one process, or a gateway's canary.

Nobody believes a body about who sent it, and nothing in it can do more than be refused: wrong types, NaN, absurd
numbers and endless texts are clamped or raise BadBeat, which is counted.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from collector.ports import Record
from shippers.errors import LastbeatError

MAX_BODY_BYTES = 256 * 1024
MAX_REFUSED = 1_000
MAX_DATASETS = 16
MAX_REASONS = 16
INTERVAL_S, GRACE_S = 10.0, 20.0
"""What a beat that doesn't say is held to."""
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.2, 86_400.0

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_NAME = re.compile(r"[\w.:@+-]{1,128}")
_BOOT = re.compile(r"[a-z0-9]{8,40}")
_NOTHING: Mapping[str, Any] = {}


class BadBeat(LastbeatError):
    """A record on a heartbeat topic that is neither a beat nor a canary."""

    permanent = True


class Info(NamedTuple):
    """What a beat says for the boards."""

    version: str
    environment: str
    zone: str
    host: str
    pid: int | None
    cpu_percent: float | None
    memory_bytes: int | None
    queue_events: int
    spool_bytes: int
    dropped: int
    streams: Mapping[str, Mapping[str, int]]
    reasons: Mapping[str, Mapping[str, int]] = {}
    """Why events of each dataset were dropped before they had a number, with their counts."""
    spooled: bool | None = None
    """Whether what it can't send waits on disk; None: it doesn't say."""


class Beat(NamedTuple):
    """One beat. `number` counts up within a boot; `at` is when the journal received it, less the age it carried."""

    region: str
    service: str
    instance: str
    boot: str
    number: int
    at: float
    age_s: float
    via: str
    ingress: str
    interval_s: float
    grace_s: float
    stopping: bool
    reason: str
    uptime_s: float
    info: Info


class Canary(NamedTuple):
    """A gateway's proof that it can be seen; `refused` maps `<region>/<service>/<instance>` to the refusal's code."""

    gateway: str
    ingress: str
    refused: Mapping[str, str]


def read(record: Record) -> Beat | Canary:
    """Read one record of a heartbeat topic. Raises BadBeat, and nothing else, whatever the bytes are."""
    header = _object(record.header, "header")
    if header.get("dataset") != "heartbeat" or header.get("void") is not None:
        raise BadBeat("not a heartbeat, or a void one")
    ingress, via = _text(header.get("ingress")), _text(header.get("via"))
    if len(record.body) > MAX_BODY_BYTES:
        raise BadBeat(f"body of {len(record.body)} bytes")
    body = _object(record.body, "body")
    if header.get("canary") is True:
        return Canary(via or _text(header.get("instance")), ingress, _refused(body.get("refused")))
    return _beat(record, header, body, via, ingress)


def _beat(record: Record, header: Mapping[str, Any], body: Mapping[str, Any], via: str, ingress: str) -> Beat:
    region, service, instance = header.get("region"), header.get("service"), header.get("instance")
    stream, number = header.get("stream"), header.get("first")
    if not (isinstance(region, str) and isinstance(service, str) and isinstance(instance, str)):
        raise BadBeat("region, service or instance is not text")
    if not isinstance(stream, str) or not _good_names(region, service, instance):
        raise BadBeat("region, service, instance or stream is not a name")
    boot = stream.partition(".")[0]
    if type(number) is not int or not 0 < number <= 2**62 or not _BOOT.fullmatch(boot):
        raise BadBeat("the beat has no number, or its boot no name")
    said = _mapping(body.get("heartbeat"))
    age_s = _number(header.get("age_s"), 0.0, 1e9, 0.0)
    return Beat(
        region=region,
        service=service,
        instance=instance,
        boot=boot,
        number=number,
        at=record.appended_at - age_s,
        age_s=age_s,
        via=via,
        ingress=ingress,
        interval_s=_number(said.get("interval_s"), MIN_INTERVAL_S, MAX_INTERVAL_S, INTERVAL_S),
        grace_s=_number(said.get("grace_s"), 0.0, MAX_INTERVAL_S, GRACE_S),
        stopping=said.get("state") == "stopping",
        reason=_text(said.get("reason")),
        uptime_s=_number(said.get("uptime_s"), 0.0, 1e9, 0.0),
        info=_info(body, said),
    )


def _info(body: Mapping[str, Any], said: Mapping[str, Any]) -> Info:
    service, cloud = _mapping(body.get("service")), _mapping(body.get("cloud"))
    streams, reasons = _streams(_mapping(said.get("datasets")))
    spooled = said.get("spool")
    cpu, memory = said.get("cpu_percent"), said.get("memory_bytes")
    pid = _mapping(body.get("process")).get("pid")
    return Info(
        version=_text(service.get("version")),
        environment=_text(service.get("environment")),
        zone=_text(cloud.get("availability_zone")),
        host=_text(_mapping(body.get("host")).get("name")),
        pid=None if pid is None else _whole(pid),
        cpu_percent=None if cpu is None else _number(cpu, 0.0, 1e6, 0.0),
        memory_bytes=None if memory is None else _whole(memory),
        queue_events=_whole(said.get("queue_events")),
        spool_bytes=_whole(said.get("spool_bytes")),
        dropped=sum(stream["dropped"] for stream in streams.values()),
        streams=streams,
        reasons=reasons,
        spooled=spooled if isinstance(spooled, bool) else None,
    )


def _streams(datasets: Mapping[str, Any]) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    streams: dict[str, dict[str, int]] = {}
    reasons: dict[str, dict[str, int]] = {}
    for name, said in list(datasets.items())[:MAX_DATASETS]:
        one = _mapping(said)
        lost = 0
        if dropped := _mapping(one.get("dropped")):
            reasons[name[:64]] = why = _reasons(dropped)
            lost = sum(why.values())
        streams[name[:64]] = {"last": _whole(one.get("last")), "acked": _whole(one.get("acked")), "dropped": lost}
    return streams, reasons


def _reasons(dropped: Mapping[str, Any]) -> dict[str, int]:
    """The counts by reason; what is beyond the first few reasons counts as another one."""
    why: dict[str, int] = {}
    for name, number in dropped.items():
        reason = name[:64] if len(why) < MAX_REASONS else "other"
        why[reason] = min(why.get(reason, 0) + _whole(number), 2**62)
    return why


def _refused(value: Any) -> Mapping[str, str]:
    if not value or not isinstance(value, dict):
        return {}
    return {key[:300]: _text(code) for key, code in list(value.items())[:MAX_REFUSED]}


def _object(raw: bytes, what: str) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadBeat(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadBeat(f"{what} is not a JSON object")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


def _text(value: Any) -> str:
    return value[:128] if isinstance(value, str) else ""


def _number(value: Any, low: float, high: float, default: float) -> float:
    kind = type(value)
    if kind is not float and kind is not int:
        return default
    if not low <= value <= high:
        return default if kind is float and math.isnan(value) else float(low if value < low else high)
    return float(value)


def _whole(value: Any) -> int:
    if type(value) is int:
        return value if 0 <= value <= 2**62 else 0
    return int(_number(value, 0, 2**62, 0))


@functools.lru_cache(maxsize=200_000)
def _good_names(region: str, service: str, instance: str) -> bool:
    return bool(_REGION.fullmatch(region) and _NAME.fullmatch(service) and _NAME.fullmatch(instance))
