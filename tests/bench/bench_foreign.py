"""Foreign records, one JSON object each, from a real Kafka into a real Elasticsearch: how many a second on one core."""

from __future__ import annotations

import json
import random
import time
from contextlib import closing

from collector.foreign.seal import Sealer
from collector.journal.kafka_link import make_topic
from collector.journal.kafka_link import remove_all as remove_topics
from collector.ports import Record, TopicPartition
from collector.settings import KafkaSettings
from shippers.clock import SystemClock
from shippers.errors import LastbeatError
from tests.bench.bench_pipeline import new_settings
from tests.bench.indexing import index
from tests.bench.report import Report
from tests.servers import remove

CLOCK = SystemClock()
RECORDS, ROUNDS = 150_000, 4


def run(report: Report) -> None:
    bodies = _bodies()
    _alone(report, bodies)
    rounds = []
    for _ in range(1 + ROUNDS):
        try:
            settings, kafka = new_settings()
        except LastbeatError as error:
            print(f"not measured: {error}")
            return
        try:
            produced_s = _produce(kafka, bodies)
            found = index(settings, kafka, RECORDS)
        finally:
            remove(settings)
            remove_topics(kafka)
        rounds.append((found["cpu_s"], found["wall_s"], produced_s))
    (cpu_s, wall_s, produced_s), *others = sorted(rounds[1:])  # during the first the servers compile
    beside = (
        f"of {ROUNDS} runs the quietest; the others {', '.join(f'{RECORDS / each[0]:,.0f}' for each in others)}; "
        f"wall {RECORDS / wall_s:,.0f}/s; the same client produces them at {RECORDS / produced_s:,.0f}/s"
    )
    name = "foreign records, Kafka to Elasticsearch, a core"
    report.add(name, RECORDS / cpu_s, "records/s", at_least=25_000, beside=beside)


def _alone(report: Report, bodies: list[bytes]) -> None:
    """What parsing, normalising and sealing take, beside parsing alone."""
    tp = TopicPartition("lastbeat.cn-east.business", 0)
    records = [Record(tp, n, n + 1, CLOCK.time(), b"", body) for n, body in enumerate(bodies[:50_000])]
    cpu = time.process_time()
    for record in records:
        json.loads(record.body)
    parse_s = time.process_time() - cpu
    sealer, cpu = Sealer("bench"), time.process_time()
    for start in range(0, len(records), 200):
        sealer.seal(records[start : start + 200])
    cpu = time.process_time() - cpu
    beside = f"json.loads alone: {parse_s / len(records) * 1e6:.1f}"
    report.add("foreign record: parse, normalise, seal", cpu / len(records) * 1e6, "µs CPU", beside=beside)


def _produce(kafka: KafkaSettings, bodies: list[bytes]) -> float:
    """Seconds."""
    from kafka import KafkaProducer

    topic = f"{kafka.prefix}.cn-east.business"
    make_topic(kafka, topic)
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap, batch_size=1024 * 1024, linger_ms=5)) as producer:
        producer.partitions_for(topic)
        wall = time.perf_counter()
        for number, body in enumerate(bodies):
            producer.send(topic, body, partition=number // 500 % 3)
        producer.flush()
        return time.perf_counter() - wall


def _bodies() -> list[bytes]:
    """Records of 450 bytes from four services, interleaved, as log libraries write them."""
    random_, now = random.Random(7), CLOCK.time()
    return [_body(number, now, random_) for number in range(RECORDS)]


def _body(number: int, now: float, random_: random.Random) -> bytes:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - 60 + number // 5_000))
    doc = {
        "timestamp": f"{at}.{random_.randrange(10**6):06d}Z",
        "level": random_.choice(("info", "info", "info", "warn", "error")),
        "service": random_.choice(("shop", "order", "payment", "risk")),
        "logger": "pay.api",
        "host": f"pay-{number % 7:02d}",
        "message": f"paid order A{number} of user {random_.randrange(10**6)} by card, settled with the channel",
        "trace_id": f"{random_.getrandbits(128):032x}",
        "duration_ms": round(random_.lognormvariate(4, 0.8), 2),
        "order_id": f"A{number}",
        "channel": "wechat",
        "amount": round(random_.uniform(1, 900), 2),
        "items": random_.randrange(1, 9),
        "note": "delivered by hand to the person named on the order",
    }
    return json.dumps(doc).encode()
