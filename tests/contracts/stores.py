"""Every implementation of Store, for the one contract suite: a new one is one function and one line in STORES.

A maker is given an empty folder and yields a Store and a function that hands it events as they would arrive.
`batches_of` turns events into sealed batches, for stores that are fed through a journal.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from collector.elastic.client import ElasticClient
from collector.elastic.removal import remove_indices
from collector.elastic.sink import ElasticSink
from collector.elastic.store import ElasticStore
from collector.journal.local import LocalJournal
from collector.journal.memory import MemoryJournal
from collector.lake.sink import LakeSink
from collector.lake.store import LakeStore
from collector.memory import MemoryStore
from collector.ports import Event, Journal, Record, Store, TopicPartition, topic_of
from collector.settings import JournalSettings, LakeSettings
from shippers.batch import DATASETS, Batch, Header, seal
from shippers.clock import FakeClock
from tests.servers import shared_elastic_settings

NOON = 1_763_726_400.0

Add = Callable[[list[Event]], None]
Maker = Callable[[Path], AbstractContextManager[tuple[Store, Add]]]


@contextlib.contextmanager
def memory(folder: Path) -> Iterator[tuple[Store, Add]]:
    store = MemoryStore(FakeClock())

    def add(events: list[Event]) -> None:
        for event in events:
            store.add(event)

    yield store, add


@contextlib.contextmanager
def lake(folder: Path, *, settle: Callable[[int], bool], local: bool = False) -> Iterator[tuple[Store, Add]]:
    """The lake behind a journal; `settle` says after which additions the indexer moves on. With `local`, the journal
    is on the disk, and the store reads it as another process would."""
    clock = FakeClock(1_763_733_600.0)
    journal: Journal
    if local:
        journal = LocalJournal(folder / "journal", JournalSettings(), clock, writable=True)
        read_only: Journal = LocalJournal(folder / "journal", JournalSettings(), clock, writable=False)
    else:
        journal = read_only = MemoryJournal(clock)
    sink = LakeSink(folder / "lake", LakeSettings(), clock)
    store = LakeStore(folder / "lake", read_only, LakeSettings(), clock)
    indexer = journal.reader("lake", DATASETS)
    additions = itertools.count()

    def add(events: list[Event]) -> None:
        journal.append(batches_of(events))
        if settle(next(additions)):
            while records := indexer.poll(1_000_000, 0):
                assert not any(outcome.retry for outcome in sink.write(records))

    yield store, add
    store.close()
    sink.close()
    read_only.close()
    journal.close()


@contextlib.contextmanager
def elastic(_: Path) -> Iterator[tuple[Store, Add]]:
    settings, clock = shared_elastic_settings(), FakeClock(NOON)
    client = ElasticClient(settings)
    sink, store = ElasticSink(settings, clock, client=client), ElasticStore(settings, clock, client=client)
    offsets = itertools.count()

    def add(events: list[Event]) -> None:
        for batch in batches_of(events):
            offset = next(offsets)
            tp = TopicPartition(topic_of(batch.header), 0)
            outcomes = sink.write([Record(tp, offset, offset + 1, NOON, batch.header.encode(), batch.body)])
            assert [outcome for outcome in outcomes if outcome.retry or outcome.dead] == []
        client.ask("POST", f"/{settings.prefix}-*/_refresh")

    try:
        yield store, add
    finally:
        sink.close()
        remove_indices(settings)


STORES: dict[str, Maker] = {
    "elastic": elastic,
    "memory": memory,
    "lake": functools.partial(lake, settle=lambda _: True),
    "journal's tail": functools.partial(lake, settle=lambda _: False),
    "lake and tail": functools.partial(lake, settle=lambda addition: addition % 3 == 0, local=True),
}


def batches_of(events: Iterable[Event]) -> list[Batch]:
    """Seal events into batches as a shipper would: runs of consecutive numbers of one stream, region and day."""

    def run(numbered: tuple[int, Event]) -> tuple[object, ...]:
        position, event = numbered
        day = datetime.fromtimestamp(event.at, UTC).date().isoformat()
        return event.stream, event.region, day, event.dataset, event.service, event.instance, event.sequence - position

    batches = []
    for key, group in itertools.groupby(enumerate(events), run):
        run_of = [event for _, event in group]
        stream, region, day, dataset, service, instance, _ = map(str, key)
        header = Header(stream, run_of[0].sequence, 0, region, dataset, day, service, instance, 0)
        batches.append(seal(header, [line_of(event) for event in run_of]))
    return batches


def line_of(event: Event) -> bytes:
    """The event as the line of JSON that a shipper writes."""
    at = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {
        "@timestamp": at,
        "message": event.message,
        "log": {"level": event.level, "logger": event.logger},
        "service": {
            "name": event.service,
            "version": event.version,
            "environment": event.environment,
            "node": {"name": event.instance},
        },
        "cloud": {"region": event.region, "availability_zone": event.zone},
        "host": {"name": event.host},
        "process": {"pid": event.pid},
        "trace": {"id": event.trace_id},
        "span": {"id": event.span_id},
        "transaction": {"id": event.transaction_id},
        "error": {"type": event.error_type, "message": event.error_message, "stack_trace": event.error_stack},
        "labels": dict(event.labels),
        "measures": dict(event.measures),
        "event": {
            "dataset": event.dataset,
            "action": event.action,
            "outcome": event.outcome,
            "duration": event.duration_ns,
            "stream": event.stream,
            "sequence": event.sequence,
        },
    }
    return json.dumps(_present(line), separators=(",", ":"), ensure_ascii=False).encode()


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    nested = {name: _present(value) if isinstance(value, dict) else value for name, value in fields.items()}
    return {name: value for name, value in nested.items() if value not in ("", None, {})}
