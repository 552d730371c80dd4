"""Beats from anything with curl: `/beat/<service>?interval=5m`. The gateway seals what a shipper would have sealed.

A source (region, service, instance) is one boot for as long as this process lives, its numbers without a gap: a beat
that the journal refused is sent again, unchanged, ahead of the next one.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shippers.batch import Batch, Header, seal
from shippers.clock import Clock
from shippers.errors import BadBatch, LastbeatError, Unavailable

DEFAULT_INTERVAL_S = 60.0
_LEAST_GRACE_S = 20.0
_MAX_SECONDS = 31 * 86_400.0
_MAX_REASON = 200
_MAX_UNSENT = 100
_MAX_SOURCES = 10_000
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(s|m|h|d)?", re.ASCII)
_UNIT_S = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_KNOWN = ("region", "instance", "interval", "grace", "state", "reason")


class BadQuery(LastbeatError):
    """A parameter of /beat that can't be. `parameter` is its name."""

    permanent = True

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Beat:
    """What a caller of /beat said, checked and completed."""

    region: str
    service: str
    instance: str
    interval_s: float = DEFAULT_INTERVAL_S
    grace_s: float = DEFAULT_INTERVAL_S / 2
    state: str = "up"
    reason: str = ""

    def header(self, boot: str = "0" * 8, number: int = 1, at: float = 0.0) -> Header:
        """The header of this beat's batch, but for the crc."""
        day = datetime.fromtimestamp(at, UTC).date().isoformat()
        return Header(f"{boot}.heartbeat", number, 1, self.region, "heartbeat", day, self.service, self.instance, 0)


def read_beat(service: str, query: Iterable[tuple[str, str]], default_region: str) -> Beat:
    """Understand a request to /beat. A name that isn't known is an error too: a misspelt `interval` that was ignored
    would end in a false alarm. Raises BadQuery."""
    given: dict[str, str] = {}
    for name, value in query:
        if name not in _KNOWN:
            raise BadQuery(name[:40], f"there is no such parameter; known are {', '.join(_KNOWN)}")
        if name in given:
            raise BadQuery(name, "given twice")
        given[name] = value
    interval_s = _seconds("interval", given["interval"], 1.0) if "interval" in given else DEFAULT_INTERVAL_S
    grace_s = _seconds("grace", given["grace"], 0.0) if "grace" in given else max(_LEAST_GRACE_S, interval_s / 2)
    state = given.get("state", "up")
    if state not in ("up", "stopping"):
        raise BadQuery("state", f"{state[:40]!r} is neither up nor stopping")
    reason = given.get("reason", "")
    if len(reason) > _MAX_REASON or not reason.isprintable():
        raise BadQuery("reason", f"must be at most {_MAX_REASON} printable characters")
    beat = Beat(
        given.get("region", default_region), service, given.get("instance", service), interval_s, grace_s, state, reason
    )
    try:
        Header.decode(beat.header().encode())
    except BadBatch as error:
        parameter = error.code if error.code in ("region", "service", "instance") else "service"
        raise BadQuery(parameter, str(error)[:300]) from None
    except UnicodeEncodeError:
        raise BadQuery("service", "must be letters, digits and . _ : @ + -") from None
    return beat


def _seconds(name: str, text: str, least: float) -> float:
    found = _DURATION.fullmatch(text)
    if not found:
        raise BadQuery(name, f"{text[:40]!r} is no duration: give seconds, or 90s, 5m, 1h, 1d")
    seconds = float(found[1]) * _UNIT_S[found[2]]
    if not (math.isfinite(seconds) and least <= seconds <= _MAX_SECONDS):
        raise BadQuery(name, f"{text[:40]!r} is out of bounds: {least:g} seconds to 31 days")
    return seconds


@dataclass(slots=True)
class _Source:
    boot: str
    began: float
    number: int = 0
    unsent: list[tuple[Batch, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Beats:
    """Seals beats and has them appended, in order a source. `send` may block: called on worker threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sources: OrderedDict[tuple[str, str, str], _Source] = OrderedDict()

    def send(self, beat: Beat, append: Callable[[Sequence[Batch]], None]) -> int:
        """Seal a beat, append it behind those of its source that were refused before; returns its number.

        Raises what `append` raises; then the beat is kept for the next call, up to a hundred of a source.
        """
        source = self._source(beat)
        with source.lock:
            if len(source.unsent) >= _MAX_UNSENT:
                self._flush(source, append)
            source.unsent.append((self._sealed(source, beat), self._clock.monotonic()))
            source.number += 1
            self._flush(source, append)
            return source.number

    def _flush(self, source: _Source, append: Callable[[Sequence[Batch]], None]) -> None:
        now = self._clock.monotonic()
        append([_aged(batch, now - sealed_at) for batch, sealed_at in source.unsent])
        source.unsent.clear()

    def _source(self, beat: Beat) -> _Source:
        key = beat.region, beat.service, beat.instance
        with self._lock:
            source = self._sources.get(key)
            if source is None:
                self._make_room()
                source = self._sources[key] = _Source(secrets.token_hex(8), self._clock.monotonic())
            self._sources.move_to_end(key)
        return source

    def _make_room(self) -> None:
        if len(self._sources) < _MAX_SOURCES:
            return
        for key, source in self._sources.items():
            if not source.unsent and not source.lock.locked():
                del self._sources[key]  # the one that was silent for longest: if it comes back, it is a new boot
                return
        raise Unavailable(f"more than {_MAX_SOURCES} sources of beats are waiting for the journal", retry_after_s=5)

    def _sealed(self, source: _Source, beat: Beat) -> Batch:
        at, number = self._clock.time(), source.number + 1
        header = beat.header(source.boot, number, at)
        heartbeat: dict[str, Any] = {"interval_s": beat.interval_s, "grace_s": beat.grace_s, "state": beat.state}
        if beat.reason:
            heartbeat["reason"] = beat.reason
        heartbeat["uptime_s"] = round(self._clock.monotonic() - source.began, 3)
        heartbeat["datasets"] = {}
        event = {
            "@timestamp": rfc3339(at),
            "service": {"name": beat.service, "node": {"name": beat.instance}},
            "cloud": {"region": beat.region},
            "heartbeat": heartbeat,
            "event": {"dataset": "heartbeat", "stream": header.stream, "sequence": number},
        }
        return seal(header, [json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()])


def _aged(batch: Batch, age_s: float) -> Batch:
    return Batch(dataclasses.replace(batch.header, age_s=round(age_s, 3)), batch.body)


def rfc3339(at: float) -> str:
    """A time as lastbeat writes it: UTC, microseconds, Z."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
