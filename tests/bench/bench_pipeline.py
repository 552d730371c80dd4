"""Kafka to Elasticsearch by one indexer in its own process, beside the same bulk bodies sent straight, and rsyslog."""

from __future__ import annotations

import dataclasses
import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from urllib.parse import urlsplit

from collector.elastic import template
from collector.elastic.client import ElasticClient
from collector.journal.kafka import KafkaJournal
from collector.journal.kafka_link import make_topic
from collector.journal.kafka_link import remove_all as remove_topics
from collector.settings import ElasticSettings, KafkaSettings
from shippers.batch import Batch
from shippers.errors import LastbeatError
from tests.bench import rsyslog
from tests.bench.bench_elastic import CLOCK, batches_of, straight
from tests.bench.indexing import index
from tests.bench.report import Report
from tests.servers import elastic_settings, kafka_bootstrap, remove

EVENTS, ROUNDS = 1_000_000, 5
WARMING = 2
"""Pairs that come before those that count. A Java virtual machine goes on compiling for minutes: what Elasticsearch
takes for a million events falls by half over its first three."""
BACKLOG = 300_000
ALONE = 150_000
LIVE = 5_000
"""Events a second that go on coming while a backlog is worked off."""
INSTANCES = 12


def run(report: Report) -> None:
    _beside_straight(report, 200, 2.0, WARMING)
    _beside_straight(report, 20, 3.5)
    _catch_up(report)
    _rsyslog(report)


def _beside_straight(report: Report, size: int, limit: float, warming: int = 0) -> None:
    """Alternated, so that what else the machine does falls on both; each into an index of its own, and not before
    Elasticsearch has merged what it got before. The first `warming` pairs don't count."""
    ours: list[dict[str, float]] = []
    direct: list[float] = []
    for turn in range(warming + ROUNDS):
        settings, kafka = new_settings()
        try:
            _append(kafka, _spread(batches_of(f"own{size:04d}{turn}", size, EVENTS)))
            again = _spread(batches_of(f"raw{size:04d}{turn}", size, EVENTS), "cn-west")
            for region in ("cn-east", "cn-west"):
                _make_index(settings, region)
            for which in ("ours", "straight") if turn % 2 else ("straight", "ours"):
                _wait_merged(settings)
                if which == "ours":
                    ours.append(index(settings, kafka, EVENTS))
                else:
                    direct.append(straight(settings, again))
        finally:
            remove(settings)
            remove_topics(kafka)
    ours, direct = ours[warming:], direct[warming:]
    cpu = min(one["cpu_s"] for one in ours) / EVENTS * 1e6
    beside = f"of {ROUNDS} runs the quietest; the others {_others(one['cpu_s'] / EVENTS * 1e6 for one in ours)}"
    report.add(f"indexer, batches of {size}: its CPU a million", cpu, "s", at_most=limit, beside=beside)
    pairs = [straight_s / one["wall_s"] for straight_s, one in zip(direct, ours, strict=True)]
    wall = sum(one["wall_s"] for one in ours)
    total = EVENTS * ROUNDS
    beside = f"median of {_others(pairs)}; in all {total / wall:,.0f}/s beside {total / sum(direct):,.0f}/s"
    name = f"indexer, batches of {size}: share of straight feeding"
    report.add(name, statistics.median(pairs), "", at_least=0.95, beside=beside)
    peak = max(one["rss_mib"] for one in ours)
    report.add(f"indexer, batches of {size}: its memory at most", peak, "MiB", at_most=300)


def _catch_up(report: Report) -> None:
    settings, kafka = new_settings()
    try:
        _append(kafka, _spread(batches_of("backlog0", 200, BACKLOG)))
        stop = threading.Event()
        coming = _spread(batches_of("live0000", 200, LIVE * 60))
        live = threading.Thread(target=_go_on, args=(kafka, coming, stop), daemon=True)
        live.start()
        found = index(settings, kafka, BACKLOG)
        stop.set()
        live.join()
    finally:
        remove(settings)
        remove_topics(kafka)
    times = BACKLOG / found["wall_s"] / LIVE
    report.add("catching up, times the live rate", times, "", at_least=3, beside=f"{LIVE:,}/s come meanwhile")
    report.add("  its memory at most", found["rss_mib"], "MiB", at_most=300)


def _go_on(kafka: KafkaSettings, batches: Sequence[Batch], stop: threading.Event) -> None:
    with closing(KafkaJournal(kafka, CLOCK)) as journal:
        a_tenth = LIVE // 10 // batches[0].header.count
        for at in range(0, len(batches), a_tenth):
            if stop.wait(0.1):
                return
            journal.append(batches[at : at + a_tenth])


def _rsyslog(report: Report) -> None:
    if why := rsyslog.absent():
        print(f"rsyslog not measured: {why}")
        return
    settings, kafka = new_settings()
    client = ElasticClient(settings)
    try:
        index = _make_index(settings)
        topic = f"{kafka.prefix}.cn-east.alone"
        _produce_alone(kafka, topic, _spread(batches_of("alone000", 200, ALONE)))

        def stored() -> int:
            client.ask("POST", f"/{index}/_refresh")
            return int(client.ask("GET", f"/{index}/_count")["count"])

        port = urlsplit(settings.urls[0]).port or 9200
        try:
            found = rsyslog.feed(kafka.bootstrap, topic, port, index, ALONE, stored)
        except RuntimeError as error:
            print(f"rsyslog not measured: {error}")
            return
        beside = f"{ALONE / found['wall_s']:,.0f}/s, one JSON a record, without identities"
        report.add("rsyslog, the same way: its CPU a million", found["cpu_s"] / ALONE * 1e6, "s", beside=beside)
    finally:
        client.close()
        remove(settings)
        remove_topics(kafka)


def _make_index(settings: ElasticSettings, region: str = "cn-east") -> str:
    """Of our layout, whoever comes first."""
    day = time.strftime("%Y.%m.%d", time.gmtime(CLOCK.time()))
    index = f"{settings.prefix}-business-{region}-{day}"
    with closing(ElasticClient(settings)) as client:
        for name, wanted in template.templates(settings).items():
            client.ask("PUT", f"/_index_template/{name}", wanted)
        client.create_index(index, {"settings": template.index_settings(settings, "business", region)})
    return index


def _produce_alone(kafka: KafkaSettings, topic: str, batches: Sequence[Batch]) -> None:
    from kafka import KafkaProducer

    make_topic(kafka, topic)
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap, batch_size=1024 * 1024, linger_ms=5)) as producer:
        for batch in batches:
            for line in batch.body.splitlines():
                producer.send(topic, line)
        producer.flush()


def new_settings() -> tuple[ElasticSettings, KafkaSettings]:
    """A prefix of its own on both servers. Raises LastbeatError where they can't run."""
    settings = elastic_settings(refresh_s=5.0)
    try:
        return settings, KafkaSettings(bootstrap=kafka_bootstrap(), prefix=settings.prefix)
    except LastbeatError:
        remove(settings)
        raise


def _wait_merged(settings: ElasticSettings) -> None:
    """Until Elasticsearch has nothing to do but what comes next."""
    with closing(ElasticClient(settings)) as client:
        client.ask("POST", f"/{settings.prefix}-*/_flush")
        while client.ask("GET", f"/{settings.prefix}-*/_stats/merge")["_all"]["total"]["merges"]["current"]:
            time.sleep(0.2)


def _spread(batches: Sequence[Batch], region: str = "cn-east") -> list[Batch]:
    """From several instances, so that they fill the partitions."""
    names = [f"pay-{number:02d}" for number in range(INSTANCES)]
    return [
        Batch(dataclasses.replace(batch.header, region=region, instance=names[number % INSTANCES]), batch.body)
        for number, batch in enumerate(batches)
    ]


def _append(kafka: KafkaSettings, batches: Sequence[Batch]) -> None:
    with closing(KafkaJournal(kafka, CLOCK)) as journal:
        for at in range(0, len(batches), 100):
            journal.append(batches[at : at + 100])


def _others(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
