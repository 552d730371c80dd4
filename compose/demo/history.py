"""A day of the shop's past as sealed batches: numbered streams, one region and one day a batch, oldest first.

Pure but for the random source. The lines have the very shape that the shippers give theirs (a test holds them
together), written by template because a day is half a million of them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from shippers.batch import Batch, Header, seal

from . import shape
from .past import Said, Troubles, lines_of_order
from .topology import INSTANCES, REGIONS, Instance

HOUR_S = 3_600.0
SLICE_S = 1_800.0
_MINUTE_S = 60.0
MOST_LINES = 500
ENVIRONMENT = "prod"


@dataclass(slots=True)
class _Stream:
    """What one instance has still to seal, and its next number."""

    who: Instance
    stream: str
    about: str
    next: int = 1
    waiting: list[tuple[float, str]] = field(default_factory=list)


class History:
    """The shop from `start` on, in slices. `emitted` counts the events given out so far, by
    instance; `at` is how far it has come."""

    def __init__(self, start: float, end: float, random: Random, host: str) -> None:
        self.emitted = {instance.name: 0 for instance in INSTANCES}
        self._random = random
        self.at = start
        self._troubles = Troubles.before(end)
        self._streams = {i.name: _Stream(i, _new_stream(random), _about(i, host, random)) for i in INSTANCES}
        self._seconds: dict[int, str] = {}

    def until(self, end: float) -> Iterator[list[Batch]]:
        """The batches of each slice up to `end`. What would come after `end` is given out by the next call, if any."""
        while self.at < end:
            upto = min(end, self.at + SLICE_S)
            self._live(self.at, upto)
            self.at = upto
            yield self._seal(upto)

    def _live(self, start: float, end: float) -> None:
        random, at = self._random, start
        while at < end:
            span = min(_MINUTE_S, end - at)
            for region in REGIONS:
                for _ in range(shape.poisson(random, shape.orders_per_s(at, region) * span)):
                    order, trace = f"A{random.getrandbits(40):010X}", f"{random.getrandbits(128):032x}"
                    for said in lines_of_order(random, at + span * random.random(), region, self._troubles):
                        stream = self._streams[said.who.name]
                        stream.waiting.append((said.at, self._line(said, stream, order, trace)))
            at += span
        self._seconds.clear()

    def _line(self, said: Said, stream: _Stream, order: str, trace: str) -> str:
        """One line, up to where its number will stand."""
        second = int(said.at)
        if second not in self._seconds:
            self._seconds[second] = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        labels = f'"order_id":"{order}",{said.labels}' if said.labels else f'"order_id":"{order}"'
        error = f'"error":{said.error},' if said.error else ""
        measures = f'"measures":{{{said.measures}}},' if said.measures else ""
        return (
            f'{{"@timestamp":"{self._seconds[second]}.{int((said.at - second) * 1e6):06d}Z","message":"{said.message}",'
            f'"log":{{"level":"{said.level}","logger":"{said.who.service}"}},{stream.about}'
            f'"trace":{{"id":"{trace}"}},"span":{{"id":"{self._random.getrandbits(64):016x}"}},{error}'
            f'"labels":{{{labels}}},{measures}"event":{{"dataset":"business","action":"{said.action}",'
            f'"outcome":"{said.outcome}","duration":{int(said.duration_s * 1e9)},"stream":"{stream.stream}","sequence":'
        )

    def _seal(self, before: float) -> list[Batch]:
        batches: list[Batch] = []
        for stream in self._streams.values():
            stream.waiting.sort()
            by_day: dict[str, list[str]] = defaultdict(list)
            kept: list[tuple[float, str]] = []
            for at, line in stream.waiting:
                if at < before:
                    by_day[line[15:25]].append(line)
                else:
                    kept.append((at, line))
            stream.waiting = kept
            for day, lines in by_day.items():
                begins = range(0, len(lines), MOST_LINES)
                batches += [self._batch(stream, day, lines[begin : begin + MOST_LINES]) for begin in begins]
        return batches

    def _batch(self, stream: _Stream, day: str, lines: list[str]) -> Batch:
        who, first = stream.who, stream.next
        stream.next += len(lines)
        self.emitted[who.name] += len(lines)
        header = Header(stream.stream, first, len(lines), who.region, "business", day, who.service, who.name, 0)
        return seal(header, (f"{line}{number}}}}}".encode() for number, line in enumerate(lines, first)))


def _new_stream(random: Random) -> str:
    return f"{random.getrandbits(80):020x}.business"


def _about(who: Instance, host: str, random: Random) -> str:
    """What is the same in all lines of one instance, as JSON members."""
    members = {
        "service": {
            "name": who.service,
            "version": who.version,
            "environment": ENVIRONMENT,
            "node": {"name": who.name},
        },
        "cloud": {"region": who.region, "availability_zone": who.zone},
        "host": {"name": host},
        "process": {"pid": random.randint(300, 32_000)},
    }
    return json.dumps(members, separators=(",", ":"))[1:-1] + ","
