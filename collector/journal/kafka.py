"""The journal on Kafka: one record a batch, acknowledged by all replicas before `append` returns.

Value = body, header `lastbeat` = the batch's header, key = instance, so an instance's batches stay in order. What may
be under way is bounded in bytes, and every wait is bounded in time: a broker that is gone or hangs costs a caller
seconds, never its thread. It deletes nothing; retention is the topics' own.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from collector.ports import JournalFull, topic_of
from collector.settings import KafkaSettings
from shippers.batch import Batch
from shippers.clock import Clock
from shippers.errors import Unavailable

from .kafka_link import (
    HEADER,
    MAX_RECORD_BYTES,
    REQUEST_TIMEOUT_MS,
    Names,
    build,
    connected_admin,
    make_topic,
    need_files,
    need_libraries,
    reachable,
    topics_own,
)
from .kafka_reader import KafkaReader

log = logging.getLogger("lastbeat.journal")

_RECORD_OVERHEAD_BYTES = 512
_REFUSE_S = 1.0
_REFUSE_TOPIC_S = 5.0
_PRODUCER_BATCH_BYTES = 1024 * 1024
_PACKED_WITH = "lz4"
"""What reading costs is above all moving bytes: packed, they are a sixth to a tenth. Lines of JSON take 0.25 CPU-s a
million to pack and save every reader 1.5."""


class KafkaJournal:
    """Keeps batches in the topics `<prefix>.<region>.<dataset>`, which it makes when they are first needed.

    Nothing is connected before the first append, and a forked child connects anew: it may be built before a fork.
    """

    def __init__(self, settings: KafkaSettings, clock: Clock) -> None:
        """Raises Misconfigured without one of the libraries, or a file that the settings name."""
        need_libraries()
        need_files(settings)
        self._settings, self._clock = settings, clock
        self._names = Names(settings.prefix)
        self._room = _Room(settings.max_pending_bytes, clock)
        self._lock = threading.Lock()
        self._producer: _Producer | None = None
        self._refuse_until = 0.0
        self._refused: dict[str, _TopicRefused] = {}
        self._closed = False
        _renew_in_child(self)

    def append(self, batches: Sequence[Batch]) -> None:
        """See Journal.append. When it raises, some may have been kept, or may yet be: the sink drops repeats."""
        if not batches:
            return
        deadline = self._clock.monotonic() + self._settings.append_timeout_s
        if self._clock.monotonic() < self._refuse_until:
            raise Unavailable(f"Kafka at {self._settings.bootstrap} did not answer just now", retry_after_s=_REFUSE_S)
        self._turn_away(batches)
        size = sum(len(batch.body) + _RECORD_OVERHEAD_BYTES for batch in batches)
        with self._room.taken(size, deadline):
            producer = self._connected(deadline)
            try:
                with reachable("append", self._settings):
                    producer.append(batches, deadline)
            except _TopicRefused as error:  # the brokers are well, and all other topics may be: they go on
                self._refused[error.topic] = error
                raise
            except Unavailable:
                self._give_up(producer)
                raise

    def reader(self, group: str | None, datasets: Sequence[str]) -> KafkaReader:
        """See Journal.reader. Readers of a group share the partitions; one without a group reads them all.

        It connects when it is first used, so this never fails; and joins its group then, so that whoever only wants to
        know what is `committed` takes no partition from anybody. A group holds back no retention: Kafka knows none.
        """
        return KafkaReader(self._settings, self._names, self._clock, group, datasets)

    def cluster_id(self) -> str:
        """The cluster's own name for itself: the first part of a foreign record's identity. Raises Unavailable."""
        with reachable("ask for the cluster's id", self._settings):
            admin = connected_admin(self._settings)
            try:
                return str(admin.describe_cluster()["cluster_id"])
            finally:
                admin.close()

    def close(self) -> None:
        """See Journal.close. What was appended is durable already."""
        with self._lock:
            self._closed = True
            producer, self._producer = self._producer, None
        if producer:
            producer.close()

    def _turn_away(self, batches: Sequence[Batch]) -> None:
        """Of a topic that was refused just now the brokers aren't asked again at once."""
        if not self._refused:
            return
        now = self._clock.monotonic()
        self._refused = {topic: error for topic, error in self._refused.items() if error.at + _REFUSE_TOPIC_S > now}
        for batch in batches:
            if error := self._refused.get(self._names.topic(topic_of(batch.header))):
                raise Unavailable(str(error), retry_after_s=_REFUSE_TOPIC_S)

    def _connected(self, deadline: float) -> _Producer:
        if not self._lock.acquire(timeout=max(0.0, deadline - self._clock.monotonic())):
            raise Unavailable(f"Kafka at {self._settings.bootstrap} can't be reached", retry_after_s=_REFUSE_S)
        try:
            if self._closed:
                raise Unavailable("the journal is closed")
            if self._producer is None:
                if self._clock.monotonic() < self._refuse_until:
                    raise Unavailable(f"Kafka at {self._settings.bootstrap} can't be reached", retry_after_s=_REFUSE_S)
                with reachable("connect", self._settings):
                    self._producer = _Producer(self._settings, self._names, self._clock)
            return self._producer
        except Unavailable:
            self._refuse_until = self._clock.monotonic() + _REFUSE_S
            raise
        finally:
            self._lock.release()

    def _give_up(self, producer: _Producer) -> None:
        """After a failure, begin anew: what that producer still holds must not be sent behind its sender's back."""
        with self._lock:
            self._refuse_until = self._clock.monotonic() + _REFUSE_S
            if self._producer is not producer:
                return
            self._producer = None
        threading.Thread(target=producer.close, name="lastbeat-kafka-close", daemon=True).start()

    def _after_fork(self) -> None:
        """In a forked child: the parent's connections are the parent's."""
        self._lock = threading.Lock()
        self._room = _Room(self._settings.max_pending_bytes, self._clock)
        self._refuse_until = 0.0
        if self._producer:
            self._producer.abandon()
        self._producer = None


class _TopicRefused(Unavailable):
    """The brokers answered, and will not have this one topic: it may not be written to, or not be made."""

    def __init__(self, topic: str, error: Exception, at: float) -> None:
        why = str(error).partition("\n")[0] or type(error).__name__
        words = f"Kafka takes nothing for topic {topic}: {why}; others go on; make it, or allow our user to write to it"
        super().__init__(words, retry_after_s=_REFUSE_TOPIC_S)
        self.topic, self.at = topic, at


class _Producer:
    """One kafka-python producer, and which topics it has seen to."""

    def __init__(self, settings: KafkaSettings, names: Names, clock: Clock) -> None:
        from kafka import KafkaProducer

        self._settings, self._names, self._clock = settings, names, clock
        self._lock = threading.Lock()
        self._partitions: dict[str, list[int]] = {}
        self._failed = False
        timeout_ms = int(settings.append_timeout_s * 1000)
        self._client: Any = build(
            KafkaProducer, settings,
            acks="all", enable_idempotence=True, batch_size=_PRODUCER_BATCH_BYTES, max_request_size=MAX_RECORD_BYTES,
            max_block_ms=min(REQUEST_TIMEOUT_MS, timeout_ms), delivery_timeout_ms=timeout_ms,
            request_timeout_ms=min(REQUEST_TIMEOUT_MS, timeout_ms), allow_auto_create_topics=False,
            compression_type=_PACKED_WITH, metrics_enabled=False,
        )  # fmt: skip

    def append(self, batches: Sequence[Batch], deadline: float) -> None:
        """Send, and wait until every one is acknowledged. Raises KafkaError, or Unavailable if it was given up."""
        futures: list[tuple[str, Any]] = []
        try:
            for batch in batches:
                topic = self._names.topic(topic_of(batch.header))
                with self._own_trouble(topic):
                    futures += [(topic, future) for future in self._send(topic, batch)]
        except RuntimeError as error:  # so kafka-python says that its loop was closed, here on another caller's failure
            if not self._failed:
                raise
            raise Unavailable(
                f"Kafka at {self._settings.bootstrap} can't be reached", retry_after_s=_REFUSE_S
            ) from error
        for topic, future in futures:
            with self._own_trouble(topic):
                future.get(timeout=max(0.0, deadline - self._clock.monotonic()))

    @contextmanager
    def _own_trouble(self, topic: str) -> Iterator[None]:
        """Tells what is the matter with one topic from what is the matter with the brokers."""
        try:
            yield
        except topics_own() as error:
            raise _TopicRefused(topic, error, self._clock.monotonic()) from error

    def _send(self, topic: str, batch: Batch) -> list[Any]:
        header = batch.header
        known = self._partitions.get(topic) or self._see_to(topic)
        record = {"value": batch.body, "key": header.instance.encode(), "headers": [(HEADER, header.encode())]}
        if header.canary:  # it probes the way that beats take: all of them, where somebody made more than one
            return [self._client.send(topic, partition=partition, **record) for partition in known]
        return [self._client.send(topic, **record)]

    def _see_to(self, topic: str) -> list[int]:
        with self._lock:
            if self._failed:
                raise Unavailable(f"Kafka at {self._settings.bootstrap} can't be reached", retry_after_s=_REFUSE_S)
            if topic not in self._partitions:
                try:
                    make_topic(self._settings, topic)
                    self._partitions[topic] = sorted(self._client.partitions_for(topic))
                except topics_own():
                    raise
                except Exception:
                    self._failed = True  # the others that wait for this lock needn't find it out for themselves
                    raise
            return self._partitions[topic]

    def close(self) -> None:
        """Let go of it within a second, whatever state the brokers are in."""
        from kafka.errors import KafkaError

        self._failed = True
        try:
            self._client.close(timeout=1)
        except KafkaError:  # it could not flush; then it doesn't stop its thread either
            self._client._sender.force_close()
            self._client._closed = True

    def abandon(self) -> None:
        """In a forked child: leave it alone. Closing it would take the parent's sockets off the parent's selector."""
        self._client._closed = True
        _INHERITED.append(self._client)


_INHERITED: list[Any] = []
"""Producers of the parent process, kept so that no finalizer of theirs runs in the child."""


class _Room:
    """How many bytes may be under way at once. One append larger than all of it goes through alone."""

    def __init__(self, size: int, clock: Clock) -> None:
        self._size, self._clock = size, clock
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: int, deadline: float) -> Iterator[None]:
        """Hold `size` bytes of it. Raises JournalFull at `deadline`."""
        with self._changed:
            while self._used and self._used + size > self._size:
                left_s = deadline - self._clock.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    raise JournalFull(f"{self._used} bytes are on their way to Kafka already", retry_after_s=_REFUSE_S)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


def _renew_in_child(journal: KafkaJournal) -> None:
    known = weakref.ref(journal)

    def renew() -> None:
        found = known()
        if found is not None:
            found._after_fork()

    os.register_at_fork(after_in_child=renew)
