"""What a gateway counts, for Prometheus. Each app has a registry of its own, so that two in one process don't clash."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from shippers.batch import Batch

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The gateway's counters. Label values come from closed sets only: no sender can make series."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        name = "lastbeat_gateway_"
        self.batches = Counter(f"{name}batches", "Batches durable in the journal", ["dataset"], registry=registry)
        self.events = Counter(f"{name}events", "Events durable in the journal", ["dataset"], registry=registry)
        self.voided = Counter(f"{name}void_events", "Events that senders gave up", ["dataset"], registry=registry)
        self.bytes = Counter(f"{name}bytes", "Bytes of bodies durable in the journal", registry=registry)
        self.requests = Counter(f"{name}requests", "Requests by path and status", ["path", "status"], registry=registry)
        self.refused = Counter(f"{name}refused", "Requests turned away, by code", ["code"], registry=registry)
        self.canaries = Counter(f"{name}canaries", "Canaries sent, by outcome", ["outcome"], registry=registry)
        self.append_seconds = Histogram(
            f"{name}append_seconds", "How long the journal took", registry=registry, buckets=_SECONDS
        )
        self.request_seconds = Histogram(
            f"{name}request_seconds", "How long requests took", ["path"], registry=registry, buckets=_SECONDS
        )
        self.inflight_bytes = Gauge(f"{name}inflight_bytes", "Bytes of requests in memory", registry=registry)
        self.accepting = Gauge(f"{name}journal_accepting", "1 while the journal takes batches", registry=registry)
        self.accepting.set(1)

    def appended(self, batches: Sequence[Batch]) -> None:
        """Count what the journal holds now."""
        counts: Tally[str] = Tally()
        events: Tally[str] = Tally()
        size = 0
        for batch in batches:
            header = batch.header
            if header.void is not None:
                self.voided.labels(header.dataset).inc(header.count)
            else:
                events[header.dataset] += header.count
            counts[header.dataset] += 1
            size += len(batch.body)
        for dataset, count in counts.items():
            self.batches.labels(dataset).inc(count)
            self.events.labels(dataset).inc(events[dataset])
        self.bytes.inc(size)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self.registry)
