"""Plain JSON that somebody produces to Kafka, on the real servers: in the store once, however often it is read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from collector.elastic.client import ElasticClient
from collector.elastic.dead import ElasticDeadLetters
from collector.elastic.sink import ElasticSink
from collector.elastic.store import ElasticStore
from collector.foreign.journal import ForeignJournal
from collector.foreign.stream import is_foreign
from collector.indexer import Indexer
from collector.journal.kafka import KafkaJournal
from collector.ports import Page, TopicPartition, Where
from collector.settings import ElasticSettings, KafkaSettings
from shippers.batch import Header, seal
from shippers.clock import SystemClock
from tests.servers import elastic_settings, remove

CLOCK = SystemClock()
COUNT = 500


@pytest.fixture
def settings() -> Iterator[ElasticSettings]:
    settings = elastic_settings(refresh_s=3_600)
    yield settings
    remove(settings)


def produce(kafka: KafkaSettings, now: float) -> None:
    """Half of the records from one service, half from another, and six that are no events."""
    from kafka import KafkaProducer

    topic = f"{kafka.prefix}.cn-east.business"
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        sent = []
        for number in range(COUNT):
            doc = {
                "ts": now - number,
                "level": "warn",
                "app": f"app-{number % 2}",
                "msg": f"paid {number}",
                "n": number,
            }
            sent.append(producer.send(topic, json.dumps(doc).encode(), partition=number % 2))
            if number % 200 == 7:
                sent.append(producer.send(topic, b'{"msg": cut off', partition=0))
                sent.append(producer.send(topic, None, key=b"gone", partition=1))
        for future in sent:
            future.get(10)


def index(journal: ForeignJournal, settings: ElasticSettings, kafka: KafkaSettings, group: str) -> Indexer:
    """Read everything that is there as `group`, and settle it."""
    with closing(journal.reader(group, ["business"])) as reader, closing(ElasticSink(settings, CLOCK)) as sink:
        indexer = Indexer(reader, sink, CLOCK, flush_s=0.2)
        until = CLOCK.monotonic() + 60
        while sum((indexer.counters.stored, indexer.counters.duplicate, indexer.counters.dead)) < COUNT + 6 + 20:
            assert CLOCK.monotonic() < until, indexer.counters
            indexer.step()
        stop = threading.Event()
        stop.set()
        indexer.run(stop)
        places = {TopicPartition("lastbeat.cn-east.business", number) for number in range(kafka.partitions)}
        lag = reader.lag()
        assert all(lag[place] == 0 for place in places)
    return indexer


def test_a_strangers_json_is_in_elasticsearch_once_also_after_it_was_read_again(
    journal: KafkaJournal, kafka_settings: KafkaSettings, settings: ElasticSettings
) -> None:
    now = CLOCK.time()
    day = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
    header = Header("paybootid001.business", 1, 0, "cn-east", "business", day, "payment", "pay-01", 0)
    stamp = day + "T00:00:00Z"
    journal.append(
        [seal(header, [json.dumps({"@timestamp": stamp, "message": f"own {n}"}).encode() for n in range(20)])]
    )
    produce(kafka_settings, now)
    foreign = ForeignJournal(journal)
    first = index(foreign, settings, kafka_settings, "one").counters
    assert (first.stored, first.duplicate, first.dead) == (COUNT + 20, 0, 6)
    again = index(foreign, settings, kafka_settings, "another").counters
    assert (again.stored, again.duplicate, again.dead) == (0, COUNT + 20 + 6, 0)

    client = ElasticClient(settings)
    client.ask("POST", f"/{settings.prefix}-*/_refresh")
    letters = [letter for _, letter in ElasticDeadLetters(client, settings)]
    assert sorted(letter.original for letter in letters) == [b""] * 3 + [b'{"msg": cut off'] * 3
    assert {letter.reason.partition(":")[0] for letter in letters} == {"a tombstone", "not JSON"}
    client.close()
    with closing(ElasticStore(settings, CLOCK)) as store:
        where = Where(now - COUNT - 1, now + 1, services=("app-0", "app-1"))
        counts = store.volume(where, 3_600, "service").series
        assert {name: sum(each) for name, each in counts.items()} == {"app-0": COUNT // 2, "app-1": COUNT // 2}
        newest = store.search(where, Page(1)).events[0]
    assert (newest.message, newest.level, newest.service, newest.region) == ("paid 0", "WARNING", "app-0", "cn-east")
    assert newest.measures == {"n": 0.0}
    assert is_foreign(newest.stream)
    assert newest.at == pytest.approx(now, abs=0.001)
