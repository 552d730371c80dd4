"""Stored events as batches again: the same stream and numbers, runs without a gap, each under its own day and region.

The runs need not be those that were sealed first, so a batch made here is marked `replay`: its range and its crc say
nothing about the first copy, and whoever compares copies of a stream leaves it out. What else that mark does is
harmless: a sink that holds some of the numbers as dead letters tries them again, and drops what it has stored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shippers.batch import Batch, Header, seal
from shippers.errors import BadBatch

log = logging.getLogger("lastbeat.resend")

_BATCH_EVENTS = 200
_BATCH_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Stored:
    """One event as a store has it: its number, its line, and what its batch's header said. `at` is its own time."""

    number: int
    line: bytes
    at: float
    region: str
    day: str
    service: str
    instance: str


def sealed(stream: str, events: Iterable[Stored], now: float) -> Iterator[Batch]:
    """Batches of events that come in order of their numbers. One that makes no sound batch is said and left out."""
    run: list[Stored] = []
    size = 0
    for event in events:
        if run and event.number <= run[-1].number:
            continue  # twice in the store
        if run and (not _goes_on(run[-1], event) or len(run) >= _BATCH_EVENTS or size + len(event.line) > _BATCH_BYTES):
            yield from _seal(stream, run, now)
            run, size = [], 0
        run.append(event)
        size += len(event.line)
    if run:
        yield from _seal(stream, run, now)


def _goes_on(last: Stored, event: Stored) -> bool:
    same = (last.region, last.day, last.service, last.instance) == (
        event.region, event.day, event.service, event.instance,
    )  # fmt: skip
    return same and event.number == last.number + 1


def _seal(stream: str, run: list[Stored], now: float) -> Iterator[Batch]:
    one = run[0]
    dataset = stream.rpartition(".")[2]
    age_s = round(max(0.0, now - one.at), 3) if dataset == "heartbeat" else None
    header = Header(
        stream, one.number, 0, one.region, dataset, one.day, one.service, one.instance, 0, age_s=age_s, replay=True
    )
    batch = seal(header, [event.line for event in run])
    try:
        Header.decode(batch.header.encode())
        batch.check()
    except BadBatch as error:
        if len(run) > 1:
            for event in run:
                yield from _seal(stream, [event], now)
            return
        log.warning("%s:%d is stored, but can't be sent again: %s", stream, one.number, error)
        return
    yield batch
