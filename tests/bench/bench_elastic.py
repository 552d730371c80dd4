"""Elasticsearch: the CPU that feeding it takes, and how long it takes to answer."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

from alerts.state.memory import MemoryState
from collector.elastic.bulk import splice
from collector.elastic.client import NDJSON, Answer, ElasticClient
from collector.elastic.inventory import ElasticInventory
from collector.elastic.outcomes import FILTER
from collector.elastic.sink import ElasticSink
from collector.elastic.store import ElasticStore
from collector.ports import Page, Record, TopicPartition, Where
from collector.settings import ElasticSettings
from shippers.batch import Batch, Header, seal
from shippers.clock import SystemClock
from tests.bench.bench_audit import counted_against
from tests.bench.full_day import book, load
from tests.bench.report import Report
from tests.servers import elastic_settings, remove

CLOCK = SystemClock()
EVENTS = 200_000
ASKED_OF = int(os.environ.get("LASTBEAT_BENCH_EVENTS", "1000000"))
"""Events that the questions are asked of; the limits are for 20 million."""
WRITE_BYTES = 32 * 1024**2
TP = TopicPartition("lastbeat.cn-east.business", 0)


class InstantClient(ElasticClient):
    """An Elasticsearch that takes everything in no time: what is left is our own CPU, without the socket's."""

    def send(
        self, method: str, path: str, body: bytes | None = None, media: str = NDJSON, *, timeout_s: float | None = None
    ) -> Answer:
        del timeout_s
        if "_bulk" not in path or body is None:
            return Answer(404 if "skewed" in path else 200, b"{}")
        items = b",".join([b'{"create":{"status":201}}'] * (body.count(b"\n") // 2))
        return Answer(200, b'{"errors":false,"items":[' + items + b"]}")


def run(report: Report) -> None:
    settings = elastic_settings(refresh_s=5.0)
    try:
        _feed(report, settings)
    finally:
        remove(settings)
    settings = elastic_settings(refresh_s=5.0)
    try:
        load(settings, _today(), ASKED_OF)
        ask(report, settings)
        audit(report, settings, ASKED_OF)
    finally:
        remove(settings)


def _feed(report: Report, settings: ElasticSettings) -> None:
    for size, limit in ((200, 2.0), (20, 3.5)):
        records = [_record(n, batch) for n, batch in enumerate(batches_of(f"own{size:05d}", size))]
        sink = ElasticSink(settings, CLOCK, client=InstantClient(settings))
        cpu_s = _written(sink, records)
        report.add(f"sink alone, batches of {size}: CPU a million", cpu_s / EVENTS * 1e6, "s", beside="no server")
        sink.close()
        sink = ElasticSink(settings, CLOCK)
        sink.write([_record(0, next(iter(batches_of("warmup00", 1, 1))))])
        cpu_s = _written(sink, records)
        beside = "rsyslog, read while designing, with its Kafka side: 9.2"
        report.add(f"sink, batches of {size}: CPU a million", cpu_s / EVENTS * 1e6, "s", at_most=limit, beside=beside)
        sink.close()


def ask(report: Report, settings: ElasticSettings) -> None:
    """The boards' questions about the day that `load` stored: the median of five, with Elasticsearch's cache of
    answers emptied before each."""
    store, client = ElasticStore(settings, CLOCK), ElasticClient(settings)
    midnight = CLOCK.time() // 86_400 * 86_400
    day = Where(midnight, midnight + 86_400)
    count = sum(store.volume(day, 86_400).series[""])
    beside = f"over {count / 1e6:.1f} M events; the limit is for 20 M"

    def fleet(day: Where) -> None:
        store.volume(day, 86_400, "application")
        store.volume(replace(day, errors=True), 86_400, "application")

    def order(day: Where) -> None:
        assert store.search(replace(day, ids=("A777",)), Page(50)).events

    part = Where(midnight + 11_240, midnight + 85_800)  # as boards ask: not all of what an index holds
    questions: list[tuple[str, float, Callable[[], object]]] = [
        ("fleet: 24 h volume and errors by application", 0.3, lambda: fleet(day)),
        ("the same of 20.7 h of the day", 0.3, lambda: fleet(part)),
        ("24 h volume by service, 5 min", 1.0, lambda: store.volume(day, 300, "service")),
        ("the same of 20.7 h of the day", 1.0, lambda: store.volume(part, 300, "service")),
        ("24 h latency heat map, 12 min", 1.5, lambda: store.latency(day, 720)),
        ("the same of 20.7 h of the day", 1.5, lambda: store.latency(part, 720)),
        ("24 h latency by service, 1 h", 1.5, lambda: store.latency(day, 3_600, "service")),
        ("search by order id", 0.5, lambda: order(day)),
        ("search by a word", 1.0, lambda: store.search(replace(day, text="a777"), Page(50))),
    ]
    for what, limit, question in questions:
        times = []
        for _ in range(6):
            client.ask("POST", f"/{settings.prefix}-*/_cache/clear?request=true")
            started = time.perf_counter()
            question()
            times.append(time.perf_counter() - started)
        first, *others = times
        words = f"{beside}; the first time {first:.2f} s"
        report.add(what, statistics.median(others), "s", at_most=limit, beside=words)
    client.close()
    store.close()


def audit(report: Report, settings: ElasticSettings, events: int) -> None:
    """The day that `load` stored counted against a ledger that has all of it: the median of three, as `ask`'s."""
    state = MemoryState()
    book(state, "elastic", _today(), events, CLOCK)
    with closing(ElasticClient(settings)) as client:
        times = []
        for _ in range(3):
            client.ask("POST", f"/{settings.prefix}-*/_cache/clear?request=true")
            counted, spent = counted_against(state, "elastic", ElasticInventory(client, settings))
            assert counted == events
            times.append(spent)
    words = f"over {events / 1e6:.1f} M events of one stream; the limit is for 10 M"
    report.add("audit of the day against the ledger", statistics.median(times), "s", at_most=10, beside=words)


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(CLOCK.time()))


def _written(sink: ElasticSink, records: Sequence[Record]) -> float:
    """CPU seconds."""
    cpu = time.process_time()
    part: list[Record] = []
    size = 0
    for record in records:
        part.append(record)
        size += len(record.body)
        if size >= WRITE_BYTES:
            assert not any(outcome.retry for outcome in sink.write(part))
            part, size = [], 0
    if part:
        assert not any(outcome.retry for outcome in sink.write(part))
    return time.process_time() - cpu


def straight(settings: ElasticSettings, batches: Sequence[Batch]) -> float:
    """The same bulk bodies, built before the clock starts, with as many requests under way."""
    from concurrent.futures import ThreadPoolExecutor

    client = ElasticClient(settings)
    bodies: list[bytes] = []
    parts: list[bytes] = []
    size = 0
    for batch in batches:
        parts += splice(batch.header.stream, batch.header.first, batch.header.count, batch.body)
        size += len(batch.body)
        if size >= settings.request_bytes:
            bodies.append(b"".join(parts))
            parts, size = [], 0
    bodies.append(b"".join(parts))
    header = batches[0].header
    index = f"{settings.prefix}-business-{header.region}-{header.day.replace('-', '.')}"
    started = time.perf_counter()
    with ThreadPoolExecutor(settings.in_flight) as pool:
        answers = list(pool.map(lambda body: client.send("POST", f"/{index}/_bulk?{FILTER}", body, NDJSON), bodies))
    took_s = time.perf_counter() - started
    assert all(answer.status == 200 for answer in answers)
    client.close()
    return took_s


def _record(offset: int, batch: Batch) -> Record:
    return Record(TP, offset, offset + 1, CLOCK.time(), batch.header.encode(), batch.body)


def batches_of(boot: str, size: int, events: int = EVENTS) -> list[Batch]:
    """450-byte events of one day, spread over its 24 hours."""
    random_ = random.Random(boot)
    day = time.strftime("%Y-%m-%d", time.gmtime(CLOCK.time()))
    found = []
    for first in range(1, events + 1, size):
        header = Header(f"{boot}.business", first, 0, "cn-east", "business", day, "payment", "pay-01", 0)
        numbers = range(first, min(first + size, events + 1))
        found.append(seal(header, [_line(boot, number, day, events, random_) for number in numbers]))
    return found


def _line(boot: str, number: int, day: str, events: int, random_: random.Random) -> bytes:
    second = number * 86_399 // events
    at = f"{day}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{random_.randrange(10**6):06d}Z"
    service = random_.choice(("shop", "order", "payment", "risk", "ledger"))
    duration = int(random_.lognormvariate(17, 0.8))
    return (
        f'{{"@timestamp":"{at}","message":"paid order A{number}","log":{{"level":"INFO","logger":"pay"}},'
        f'"service":{{"name":"{service}","version":"1.4.2","environment":"prod","node":{{"name":"{service}-01"}}}},'
        f'"cloud":{{"region":"cn-east","availability_zone":"cn-east-a"}},"host":{{"name":"h1"}},'
        f'"process":{{"pid":4711}},"trace":{{"id":"{random_.getrandbits(64):016x}"}},'
        f'"labels":{{"order_id":"A{number}"}},"measures":{{"amount":12.5}},"event":{{"dataset":"business",'
        f'"action":"pay","outcome":"success","duration":{duration},"stream":"{boot}.business","sequence":{number}}}}}'
    ).encode()
