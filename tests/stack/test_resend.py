"""Getting back what a store lost, on the real Kafka and Elasticsearch: from the journal, and from the other store once
the journal has it no more. Everything is there once afterwards, and doing it again changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from collector.elastic.client import NDJSON, ElasticClient
from collector.elastic.sink import ElasticSink
from collector.journal.kafka import KafkaJournal
from collector.lake.sink import LakeSink
from collector.ports import Reader, Sink
from collector.resend.elastic import ElasticSource
from collector.resend.journal import JournalSource
from collector.resend.lake import LakeSource
from collector.resend.recovery import Recovery
from collector.settings import ElasticSettings, KafkaSettings, LakeSettings
from shippers.batch import DATASETS, Batch, Header, seal
from shippers.clock import SystemClock
from tests.lake_reading import ids_in, rows_in
from tests.servers import elastic_settings, remove

CLOCK = SystemClock()
STREAM = "resendboot01.business"


def line(number: int, stream: str, day: str) -> bytes:
    event = {
        "@timestamp": f"{day}T00:00:00.{number:06d}Z",
        "message": f'bezahlt № {number} \\ "ü" {"x" * (number % 50)}',
        "log": {"level": "INFO", "logger": "pay"},
        "service": {"name": "payment", "node": {"name": "pay-01"}},
        "cloud": {"region": "eu"},
        "labels": {"order_id": f"A{number}", "leer": "", "名": "值"},
        "measures": {"amount": number / 8, "n": float(number)},
        "event": {
            "dataset": "business",
            "action": "pay",
            "duration": number * 1_000,
            "stream": stream,
            "sequence": number,
        },
    }
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def batch(first: int, count: int, day: str, stream: str = STREAM, instance: str = "pay-01") -> Batch:
    header = Header(stream, first, 0, "eu", "business", day, "payment", instance, 0)
    return seal(header, [line(number, stream, day) for number in range(first, first + count)])


class World:
    """A journal, and both stores filled from it."""

    def __init__(self, stack: ExitStack, kafka: KafkaSettings, elastic: ElasticSettings, folder: Path) -> None:
        self.kafka, self.elastic, self.lake = kafka, elastic, folder / "lake"
        self.journal = stack.enter_context(closing(KafkaJournal(kafka, CLOCK)))
        self.client = stack.enter_context(closing(ElasticClient(elastic)))
        self.day = f"{datetime.fromtimestamp(CLOCK.time(), UTC):%Y-%m-%d}"
        self.filling: list[tuple[Reader, Sink]] = []
        for group, sink in (
            ("indexer", ElasticSink(elastic, CLOCK)),
            ("archiver", LakeSink(self.lake, LakeSettings(memory_mb=256), CLOCK)),
        ):
            stack.enter_context(closing(sink))
            self.filling.append((stack.enter_context(closing(self.journal.reader(group, DATASETS))), sink))

    def fill(self) -> list[tuple[int, int]]:
        """Both stores to the journal's end; (stored, duplicate) of each."""
        totals = []
        for reader, sink in self.filling:
            stored = duplicate = 0
            while not reader.assigned() or any(reader.lag().values()):
                records = [one for one in reader.poll(1 << 24, 1.0) if one.header]
                for outcome in sink.write(records):
                    assert (outcome.retry, outcome.dead) == (False, 0)
                    stored, duplicate = stored + outcome.stored, duplicate + outcome.duplicate
            totals.append((stored, duplicate))
        return totals

    def recovery(self, kafka: KafkaSettings | None = None) -> Recovery:
        """With another journal's settings: one that has nothing."""
        source = JournalSource(lambda: KafkaJournal(kafka or self.kafka, CLOCK), CLOCK)
        stores = {"lake": LakeSource(self.lake, CLOCK), "elastic": ElasticSource(self.client, self.elastic, CLOCK)}
        return Recovery(source, stores, None, self.journal.append, lambda _: ("eu", "payment", "pay-01"))

    def recover(self, sink: str, first: int, last: int, kafka: KafkaSettings | None = None) -> dict[str, Any]:
        found = self.recovery(kafka).recover(sink, STREAM, first, last, CLOCK.time() - 600, CLOCK.time())
        assert found.whole, found
        return dict(found.found)

    def documents(self) -> dict[str, Any]:
        """Everything in Elasticsearch, by id. A document in two indices would be seen by the counts."""
        pattern = f"/{self.elastic.prefix}-business-*"
        self.client.ask("POST", f"{pattern}/_refresh")
        hits = self.client.ask("POST", f"{pattern}/_search", {"size": 10_000})["hits"]["hits"]
        found = {hit["_id"]: hit["_source"] for hit in hits}
        assert len(found) == len(hits)
        return found

    def delete_documents(self, first: int, last: int) -> None:
        index = f"{self.elastic.prefix}-business-eu-{self.day.replace('-', '.')}"
        lines = [json.dumps({"delete": {"_index": index, "_id": f"{STREAM}:{n}"}}) for n in range(first, last + 1)]
        answer = self.client.send("POST", "/_bulk", "".join(one + "\n" for one in lines).encode(), NDJSON)
        assert answer.status == 200


@pytest.fixture
def world(kafka_settings: KafkaSettings, elasticsearch: str, tmp_path: Path) -> Iterator[World]:
    settings = elastic_settings()
    with ExitStack() as stack:
        stack.callback(remove, settings)
        made = World(stack, kafka_settings, settings, tmp_path)
        sent = [batch(first, 50, made.day) for first in range(1, 1_001, 50)]
        others = [batch(1, 20, made.day, f"otherboot{n:03d}.business", f"pay-{n}") for n in range(10)]
        for one, other in zip(sent, others * 2, strict=True):
            made.journal.append([one, other])
        made.fill()
        yield made


def rows(world: World) -> list[dict[str, Any]]:
    return sorted(rows_in(world.lake, "business").to_pylist(), key=lambda row: (row["stream"], row["sequence"]))


def test_documents_that_were_deleted_come_back_from_kafka_and_are_there_once(world: World) -> None:
    before = world.documents()
    assert len(before) == 1_200
    world.delete_documents(101, 260)
    assert len(world.documents()) == 1_040
    assert world.recover("elastic", 101, 260) == {"journal": ((101, 260),)}
    assert world.fill() == [(160, 40), (0, 200)], "whole batches were sent; all that was there was dropped"
    assert world.documents() == before
    world.recover("elastic", 101, 260)
    assert world.fill() == [(0, 200), (0, 200)]
    assert world.documents() == before
    assert len(set(ids_in(world.lake))) == len(ids_in(world.lake)) == 1_200


def test_what_kafka_has_no_more_comes_back_from_the_archive_and_the_other_way_round(world: World) -> None:
    before, stored = world.documents(), rows(world)
    empty = world.kafka.model_copy(update={"prefix": f"{world.kafka.prefix}x"})
    world.delete_documents(7, 407)
    assert world.recover("elastic", 1, 500, empty) == {"lake": ((1, 500),)}
    assert world.fill() == [(401, 99), (0, 500)]
    assert world.documents() == before, "the very same events"

    DeltaTable(world.lake / "business").delete(f"stream = '{STREAM}' AND sequence BETWEEN 300 AND 900")
    assert len(ids_in(world.lake)) == 1_200 - 601
    assert world.recover("lake", 300, 900, empty) == {"elastic": ((300, 900),)}
    assert world.fill() == [(0, 601), (601, 0)]
    assert rows(world) == stored, "the very same rows"
    world.recover("lake", 300, 900, empty)
    assert world.fill() == [(0, 601), (0, 601)]
    assert rows(world) == stored


def test_what_is_nowhere_is_left(world: World) -> None:
    found = world.recovery().recover("elastic", STREAM, 990, 1_010, CLOCK.time() - 600, CLOCK.time())
    assert (found.left, found.found) == (((1_001, 1_010),), {"journal": ((990, 1_000),)})


def test_of_an_impossible_day_too_what_was_deleted_comes_back_where_the_rest_is(world: World) -> None:
    """Though the first of the batch is what was deleted."""
    odd = batch(1, 10, "2031-01-01", "skewedboot01.business")
    world.journal.append([odd])
    assert world.fill() == [(10, 0), (10, 0)]
    before = world.documents()
    [index] = [
        one["index"]
        for one in world.client.ask("GET", f"/_cat/indices/{world.elastic.prefix}-business-eu-skewed*?format=json")
    ]
    world.client.ask("DELETE", f"/{index}/_doc/skewedboot01.business:1?refresh=true")
    world.client.ask("DELETE", f"/{index}/_doc/skewedboot01.business:2?refresh=true")
    found = world.recovery().recover("elastic", "skewedboot01.business", 1, 2, 0.0, CLOCK.time())
    assert found.whole
    assert world.fill()[0] == (2, 8)
    assert world.documents() == before
