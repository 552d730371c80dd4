"""Batches that no sound shipper makes, sent straight to the gateway: its answers say what became of each request.

A request without an answer is sent again, the same bytes, until there is one. What was taken must be stored or be a
dead letter, line by line, and harm nobody else; what was refused must be nowhere.
"""

from __future__ import annotations

import dataclasses
import http.client
import threading
from collections.abc import Sequence
from random import Random

from shippers.batch import MEDIA_TYPE, Batch, Header, pack, seal
from shippers.clock import Clock

from .reckoning import Run

_TIMEOUT_S = 3.0
_PAUSE_S = 0.3
_WITHIN_S = 90.0
SERVICE = "drill-poison"
STOLEN = "another.business"
"""The stream that one line claims to be of. Elasticsearch, whose documents are the lines, is told by the counting of
stores to have more there than it should."""


class Poisoner:
    """Sends poison, and remembers what was taken. Called by several threads."""

    def __init__(self, port: int, region: str, clock: Clock, day: str) -> None:
        self._port, self._region, self._clock, self._day = port, region, clock, day
        self._lock = threading.Lock()
        self.runs: list[Run] = []
        """Each stream that was tried; `intent` is 0 for what was refused. The name is the stream."""
        self.wrong: list[str] = []
        """Answers that should not have come, in words."""

    @property
    def streams(self) -> set[str]:
        """Every stream that was tried, or claimed."""
        with self._lock:
            return {run.name for run in self.runs} | ({STOLEN} if self.runs else set())

    def send(self, number: int) -> None:
        """One batch of hostile lines, and a few whose headers lie. Returns when all were answered."""
        chance = Random(number)
        stem = "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(10))
        good = self._batch(f"{stem}0000.business", _lines)
        self._expect(good, taken=True)
        lies = {
            "crc": dataclasses.replace(good.header, crc=good.header.crc ^ 1),
            "count": dataclasses.replace(good.header, count=good.header.count + 1),
            "canary": dataclasses.replace(good.header, canary=True),
            "day": dataclasses.replace(good.header, day="2026-13-45"),
            "blank": None,
        }
        for index, (name, header) in enumerate(lies.items(), 1):
            stream = f"{stem}000{index}.business"
            if header is None:
                batch = seal(dataclasses.replace(good.header, stream=stream), [b'{"a":1}', b"   ", b'{"b":2}'])
            else:
                batch = Batch(dataclasses.replace(header, stream=stream), good.body)
            self._expect(batch, taken=False, why=name)

    def _batch(self, stream: str, lines: Sequence[bytes]) -> Batch:
        header = Header(stream, 1, len(lines), self._region, "business", self._day, SERVICE, f"{SERVICE}-1", 0)
        stamped = [
            line.replace(b"TIME", self._day.encode() + b"T00:00:01Z").replace(b"STREAM", stream.encode())
            for line in lines
        ]
        return seal(header, stamped)

    def _expect(self, batch: Batch, *, taken: bool, why: str = "") -> None:
        status = self._answered(batch)
        count = batch.header.count if status == 200 else 0
        with self._lock:
            self.runs.append(Run(batch.header.stream, count, count, poison=True, service=SERVICE))
            if (status == 200) is not taken:
                self.wrong.append(f"poison {why or 'lines'}: the gateway answered {status}")

    def _answered(self, batch: Batch) -> int:
        body = pack(batch.header.encode(), batch.body)
        deadline, waited = self._clock.monotonic() + _WITHIN_S, threading.Event()
        while self._clock.monotonic() < deadline:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)
            try:
                connection.request("POST", "/v1/batches", body, {"content-type": MEDIA_TYPE})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 503:
                    return answer.status
            except (OSError, http.client.HTTPException):
                pass  # it is down or frozen: it is asked again
            finally:
                connection.close()
            self._clock.wait(waited, _PAUSE_S)
        return 0


_EVENT = b'"event":{"dataset":"business","stream":"STREAM","sequence":%d}'
_lines: tuple[bytes, ...] = tuple(
    line.replace(b"EVENT", _EVENT % number)
    for number, line in enumerate(
        (
            b'{"@timestamp":"TIME","message":"sound","log":{"level":"INFO"},EVENT}',
            b"not JSON at all",
            b'{"@timestamp":"TIME","message":"cut off",',
            b'{"@timestamp":"TIME","message":"NaN","measures":{"a":NaN,"b":Infinity},EVENT}',
            b'{"@timestamp":"TIME","message":"huge","labels":{"text":"' + b"x" * 600_000 + b'"},EVENT}',
            b'{"@timestamp":"TIME","message":"names","labels":{"a.b":{"c":[1]},"":"empty","_id":"mine"},EVENT}',
            b'{"@timestamp":"TIME","message":"types","service":[1,2],"host":"text","process":{"pid":"no"},EVENT}',
            b'{"message":"no time",EVENT}',
            b'{"@timestamp":"yesterday","message":"no such time",EVENT}',
            b'{"@timestamp":"TIME","message":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b",EVENT}",
            b'{"@timestamp":"TIME","message":"twice","message":"twice","event":"text"}',
            b'{"@timestamp":"TIME","message":"\xff\xfe not UTF-8",EVENT}',
            b'{"@timestamp":"TIME","message":"stolen","event":{"stream":"%b","sequence":1}}' % STOLEN.encode(),
            b"[1,2,3]",
            b'"text"',
            b'{"@timestamp":"TIME","message":"' + b"\\u0000" * 20 + b'",EVENT}',
            b'{"@timestamp":"TIME","message":"last and sound",EVENT}',
        ),
        1,
    )
)
