"""The journal on a real Kafka: batches of 200 events of 450 bytes in, and out again, beside one event a record."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path

from collector.journal.kafka import KafkaJournal
from collector.settings import KafkaSettings
from compose.stack import Stack
from shippers.batch import Batch, Header, seal
from shippers.clock import SystemClock
from shippers.errors import LastbeatError
from tests.bench.report import Report

EVENTS, COUNT, SIZE = 1_000_000, 200, 450
ALONE = 50_000


def run(report: Report) -> None:
    """Start an empty stack, measure, and take it away again."""
    data = Path(tempfile.mkdtemp(prefix="lastbeat-stack-"))
    data.chmod(0o755)
    stack = Stack(data, SystemClock())
    try:
        stack.up("kafka")
        _measure(report, stack.kafka)
    except LastbeatError as error:
        print(f"not measured: {error}")
    finally:
        stack.reset()
        shutil.rmtree(stack.home, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)


def _measure(report: Report, bootstrap: str) -> None:
    line = b'{"message":"%s"}' % (b"x" * (SIZE - 14))
    alone = _produce_alone(bootstrap, line)
    with closing(KafkaJournal(KafkaSettings(bootstrap=bootstrap), SystemClock())) as journal:
        journal.append(_batches(line, 16, 0))
        groups = [_batches(line, 100, group) for group in range(1, EVENTS // COUNT // 100 + 1)]
        wall, cpu = time.perf_counter(), time.process_time()
        for batches in groups:
            journal.append(batches)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        beside = f"one event a record: {alone[0]:,.0f}/s, {alone[1]:.1f} CPU-s a million"
        report.add("batches to Kafka, acknowledged", EVENTS / wall, "events/s", at_least=200_000, beside=beside)
        report.add("  its CPU", cpu / EVENTS * 1e6, "CPU-s/M", at_most=3.0)
        with closing(journal.reader("bench", ["business"])) as reader:
            reader.assigned()
            read, wall, cpu = 0, time.perf_counter(), time.process_time()
            while read < EVENTS + 16 * COUNT:
                read += COUNT * len(reader.poll(8 * 1024 * 1024, 1.0))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        report.add("batches from Kafka", read / wall, "events/s", at_least=200_000)
        report.add(
            "  its CPU", cpu / read * 1e6, "CPU-s/M", at_most=3.0, beside="rsyslog's imkafka + omelasticsearch: 9.2"
        )


def _batches(line: bytes, count: int, group: int) -> list[Batch]:
    header = Header("benchmark.business", 1, 0, "bench", "business", "2026-11-21", "pay", "pay-01", 0)
    batch = seal(header, [line] * COUNT)
    return [
        Batch(
            Header(
                f"bench{group:03}{n:03}.business", 1, COUNT, "bench", "business", "2026-11-21", "pay", f"pay-{n}",
                batch.header.crc,
            ),
            batch.body,
        )
        for n in range(count)
    ]  # fmt: skip


def _produce_alone(bootstrap: str, line: bytes) -> tuple[float, float]:
    """How fast, and at what CPU, the same client sends one event a record: events/s, CPU-s a million."""
    from kafka import KafkaAdminClient, KafkaProducer

    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics({"alone": {"num_partitions": 6, "replication_factor": 1}}, wait_for_metadata=True)
    with closing(KafkaProducer(bootstrap_servers=bootstrap, batch_size=1024 * 1024, linger_ms=5)) as producer:
        producer.send("alone", line).get(10)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(ALONE):
            producer.send("alone", line)
        producer.flush()
        return ALONE / (time.perf_counter() - wall), (time.process_time() - cpu) / ALONE * 1e6
