"""Every implementation of Sink, for the one contract suite: a new one is one function and one line in SINKS.

A maker is given an empty folder and yields a Kept: the sink, and what can be asked of what it keeps. `reopened` gives
the sink as a new process finds it, or None where nothing outlives one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from collector.dead_letters import DeadLetter, DeadLetters
from collector.elastic.client import ElasticClient
from collector.elastic.dead import ElasticDeadLetters
from collector.elastic.names import event_patterns
from collector.elastic.removal import remove_indices
from collector.elastic.sink import ElasticSink
from collector.lake.dead import LakeDeadLetters, dead_letters_in
from collector.lake.sink import LakeSink
from collector.ports import Sink
from collector.scripted import ScriptedSink
from collector.settings import LakeSettings
from shippers.clock import FakeClock
from tests.lake_reading import ids_in
from tests.servers import shared_elastic_settings

START = 1_763_733_600.0  # 2025-11-21 14:00 UTC


@dataclass
class Kept:
    """A sink, and ways to look behind it."""

    sink: Sink
    ids: Callable[[], list[str]]
    dead: Callable[[], list[DeadLetter]]
    reopened: Callable[[], Sink | None]
    letters: DeadLetters
    clock: FakeClock


@contextlib.contextmanager
def scripted(_: Path) -> Iterator[Kept]:
    sink = ScriptedSink()
    clock = FakeClock(START)
    yield Kept(sink, lambda: sorted(sink.events), lambda: list(sink.dead), lambda: None, sink, clock)


@contextlib.contextmanager
def lake(folder: Path) -> Iterator[Kept]:
    clock = FakeClock(START)
    with contextlib.ExitStack() as stack:

        def opened() -> LakeSink:
            sink = LakeSink(folder / "lake", LakeSettings(), clock)
            stack.callback(sink.close)
            return sink

        letters = LakeDeadLetters(folder / "lake", clock)
        yield Kept(
            opened(), lambda: ids_in(folder / "lake"), lambda: dead_letters_in(folder / "lake"), opened, letters, clock
        )


@contextlib.contextmanager
def elastic(_: Path) -> Iterator[Kept]:
    settings = shared_elastic_settings()
    client = ElasticClient(settings)
    clock = FakeClock(START)
    with contextlib.ExitStack() as stack:
        stack.callback(remove_indices, settings)
        stack.callback(client.close)

        def opened() -> ElasticSink:
            sink = ElasticSink(settings, clock)
            stack.callback(sink.close)
            return sink

        def ids() -> list[str]:
            indices = ",".join(event_patterns(settings.prefix))
            client.ask("POST", f"/{indices}/_refresh")
            hits = client.ask("POST", f"/{indices}/_search", {"size": 10_000, "_source": False})["hits"]["hits"]
            return sorted(hit["_id"] for hit in hits)

        letters = ElasticDeadLetters(client, settings)
        yield Kept(opened(), ids, lambda: [letter for _, letter in letters], opened, letters, clock)


SINKS: dict[str, Callable[[Path], AbstractContextManager[Kept]]] = {
    "elastic": elastic,
    "lake": lake,
    "scripted": scripted,
}
