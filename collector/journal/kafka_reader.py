"""Reading the journal on Kafka: as one of a group that shares the partitions, or, without a group, all of it.

It decides where reading begins itself (`auto_offset_reset` is none), so that nothing is ever skipped in silence: what
retention deleted before it was read is a Gap. It commits only what it is told to, and only for partitions it owns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collector.ports import Gap, Record, TopicPartition
from collector.settings import KafkaSettings
from shippers.clock import Clock
from shippers.errors import Unavailable

from .kafka_link import HEADER, MAX_RECORD_BYTES, Names, client_options, reachable

log = logging.getLogger("lastbeat.journal")

_ASK_MS = 2_000
_NEW_TOPICS_MS = 2_000
_SIGN_OF_LIFE_S = 1.0
_SLICE = 200
_FETCH_BYTES = 2 * MAX_RECORD_BYTES


class KafkaReader:
    """See Reader. One thread; connects at the first call that needs it. Lag is in records.

    A group's readers share the partitions, and a rebalance moves as few of them as it can. `assigned` says which are
    ours; for a group that is none before the first poll.
    """

    def __init__(
        self, settings: KafkaSettings, names: Names, clock: Clock, group: str | None, datasets: Sequence[str]
    ) -> None:
        self._settings, self._names, self._clock = settings, names, clock
        self._group = None if group is None else names.group(group)
        self._pattern = names.pattern(datasets)
        self._consumer: Any = None
        self._next: dict[TopicPartition, int] = {}
        self._sought: dict[TopicPartition, int] = {}
        self._begun: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._gap: Gap | None = None
        self._alive_at = 0.0
        self._closed = False

    # --- reading -----------------------------------------------------------------------------------------------------

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        """See Reader.poll. Notices within a second that the brokers are away; recovers by itself."""
        if self._gap:
            gap, self._gap = self._gap, None
            raise gap
        deadline = self._clock.monotonic() + timeout_s
        consumer = self._connected()
        taken: list[Record] = []
        size = 0
        while size <= max_bytes:
            left_s = 0.0 if taken else max(0.0, deadline - self._clock.monotonic())
            records = self._some(consumer, left_s, taken)
            size += sum(len(record.body) for record in records)
            taken += records
            if self._gap or (not records and (taken or self._clock.monotonic() >= deadline)):
                break
        if self._gap and not taken:
            gap, self._gap = self._gap, None
            raise gap
        if taken:
            self._alive_at = self._clock.monotonic()
        else:
            self._ask_for_a_sign_of_life(consumer)
        owned = self.assigned()
        return [record for record in taken if record.tp in owned]

    def _some(self, consumer: Any, wait_s: float, taken: Sequence[Record]) -> list[Record]:
        from kafka import errors

        try:
            with reachable("read", self._settings):
                try:
                    found = consumer.poll(timeout_ms=int(min(wait_s, 1.0) * 1000), max_records=_SLICE)
                except errors.NoOffsetForPartitionError as error:
                    self._begin(consumer, error.args[0])
                    return []
                except errors.OffsetOutOfRangeError as error:
                    self._find_gap(consumer, error.args[0])
                    return []
                except errors.LogTruncationError as error:
                    self._find_truncation(consumer, error.divergent_offsets)
                    return []
        except Unavailable:
            if taken:
                return []  # hand over what is read; the next call tells
            raise
        records: list[Record] = []
        for place, messages in found.items():
            records += self._admitted(consumer, place, messages)
        return records

    def _admitted(self, consumer: Any, place: Any, messages: Sequence[Any]) -> list[Record]:
        """The records of one partition, unless it came to us paused, or with a `seek` that was asked for before."""
        tp = self._names.ours(place.topic, place.partition)
        if tp in self._sought:
            consumer.seek(place, self._sought[tp])
            self._next[tp] = self._sought.pop(tp)
            return []
        if tp in self._paused:
            consumer.pause(place)
            consumer.seek(place, messages[0].offset)
            return []
        self._next[tp] = messages[-1].offset + 1
        return [_record(tp, message) for message in messages]

    def _begin(self, consumer: Any, places: Iterable[Any]) -> None:
        """Where reading of partitions without a committed offset begins: where it was told to, else where it was, else
        at the oldest record. A group commits that place, so that what is deleted unread from now on shows as a gap."""
        places = list(places)
        oldest = consumer.beginning_offsets(places, timeout_ms=_ASK_MS)
        for place in places:
            tp = self._names.ours(place.topic, place.partition)
            at = self._sought.pop(tp, self._next.get(tp) if self._group is None else None)
            if at is None:
                at = self._begun[tp] = oldest[place]
            consumer.seek(place, at)
            self._next[tp] = at
        if self._begun and self._group is not None:
            try:
                self.commit({})
            except Unavailable as error:
                log.debug("the first commit waits for the next one: %s", error)

    def _find_gap(self, consumer: Any, offsets: Mapping[Any, int]) -> None:
        """Reading stands where there is nothing to be read: below the oldest record, or, where a topic was made anew or
        its end was lost, above the newest. Then all that is there is read: the sink drops what it has already."""
        for place, wanted in offsets.items():
            oldest = consumer.beginning_offsets([place], timeout_ms=_ASK_MS)[place]
            consumer.seek(place, oldest)
            tp = self._names.ours(place.topic, place.partition)
            self._next[tp] = oldest
            self._gap = Gap(tp, wanted, oldest)

    def _find_truncation(self, consumer: Any, offsets: Mapping[Any, Any]) -> None:
        for place, known in offsets.items():
            if known is None:
                self._find_gap(consumer, {place: consumer.position(place, timeout_ms=_ASK_MS) or 0})
                continue
            tp = self._names.ours(place.topic, place.partition)
            self._gap = Gap(tp, self._next.get(tp, known.offset), known.offset)
            consumer.seek(place, known.offset)
            self._next[tp] = known.offset

    def _ask_for_a_sign_of_life(self, consumer: Any) -> None:
        """An idle topic and a dead broker look alike to kafka-python. Raises Unavailable for the second."""
        if self._clock.monotonic() - self._alive_at < _SIGN_OF_LIFE_S:
            return
        with reachable("no sign of life", self._settings):
            places = list(consumer.assignment())
            if places:
                consumer.end_offsets(places[:1], timeout_ms=_ASK_MS)
            else:
                consumer.bootstrap(timeout_ms=_ASK_MS, refresh=True)
        self._alive_at = self._clock.monotonic()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """See Reader.seek. May be asked for before the partition is ours."""
        self._sought.pop(tp, None)
        self._next[tp] = offset
        place = self._place(tp)
        if self._consumer is not None and place in self._consumer.assignment():
            self._consumer.seek(place, offset)
        else:
            self._sought[tp] = offset

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        """See Reader.pause. It holds through rebalances, also for partitions that leave and come back."""
        self._paused.update(tps)
        self._each_assigned(tps, "pause")

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        """See Reader.resume."""
        self._paused.difference_update(tps)
        self._each_assigned(tps, "resume")

    def _each_assigned(self, tps: Sequence[TopicPartition], verb: str) -> None:
        if self._consumer is not None:
            places = {self._place(tp) for tp in tps} & set(self._consumer.assignment())
            if places:
                getattr(self._consumer, verb)(*places)

    # --- offsets -----------------------------------------------------------------------------------------------------

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Reader.commit. Leaves out partitions that are another reader's by now. Raises Unavailable when the broker
        is away or a rebalance is under way: poll, and commit again what is still owned."""
        from kafka.structs import OffsetAndMetadata

        if self._group is None:
            raise ValueError("a reader without a group has nothing to commit to")
        consumer = self._connected()
        owned = self.assigned()
        wanted = {tp: at for tp, at in {**self._begun, **positions}.items() if tp in owned}
        if wanted:
            offsets = {self._place(tp): OffsetAndMetadata(at, "", -1) for tp, at in wanted.items()}
            with reachable("commit", self._settings):
                consumer.commit(offsets, timeout_ms=_ASK_MS)
        self._begun.clear()

    def committed(self) -> Mapping[TopicPartition, int]:
        """See Reader.committed."""
        if self._group is None:
            return {}
        with reachable("ask what is committed", self._settings):
            return self._committed()

    def _committed(self) -> dict[TopicPartition, int]:
        from kafka import KafkaAdminClient

        admin = KafkaAdminClient(request_timeout_ms=_ASK_MS, **client_options(self._settings))
        try:
            kept = admin.list_group_offsets(self._group)[self._group]
        finally:
            admin.close()
        return {self._names.ours(p.topic, p.partition): kept[p].offset for p in kept if kept[p].offset >= 0}

    def assigned(self) -> set[TopicPartition]:
        """See Reader.assigned. Raises Unavailable if it has to connect for this and can't."""
        if self._consumer is None and self._group is not None:
            return set()
        return {self._names.ours(place.topic, place.partition) for place in self._connected().assignment()}

    def lag(self) -> dict[TopicPartition, int]:
        """See Reader.lag: in records. Asks the brokers; raises Unavailable."""
        from kafka.errors import NoOffsetForPartitionError

        consumer = self._connected()
        places = {self._names.ours(place.topic, place.partition): place for place in consumer.assignment()}
        if not places:
            return {}
        with reachable("ask for the ends", self._settings):
            ends = consumer.end_offsets(list(places.values()), timeout_ms=_ASK_MS)
            for tp, place in places.items():
                if tp not in self._next:
                    try:
                        self._next[tp] = consumer.position(place, timeout_ms=_ASK_MS)
                    except NoOffsetForPartitionError as error:
                        self._begin(consumer, error.args[0])
        return {tp: max(0, ends[place] - self._next[tp]) for tp, place in places.items()}

    def close(self) -> None:
        """See Reader.close."""
        self._closed = True
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=_ASK_MS)
            self._consumer = None

    def _connected(self) -> Any:
        if self._closed:
            raise Unavailable("the reader is closed")
        if self._consumer is None:
            with reachable("connect", self._settings):
                consumer = self._new_consumer()
                try:
                    consumer.subscribe(pattern=self._pattern)
                    if self._group is None:  # then what there is to read is known as soon as the topics are
                        news = consumer._cluster.request_update()
                        consumer._net.run(consumer._manager.wait_for, news, _ASK_MS)
                except BaseException:
                    consumer.close(autocommit=False, timeout_ms=0)
                    raise
            self._consumer = consumer
        return self._consumer

    def _new_consumer(self) -> Any:
        from kafka import KafkaConsumer
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

        return KafkaConsumer(
            group_id=self._group, partition_assignment_strategy=[CooperativeStickyAssignor],
            metadata_max_age_ms=_NEW_TOPICS_MS, auto_offset_reset="none", enable_auto_commit=False,
            session_timeout_ms=10_000, heartbeat_interval_ms=1_000, request_timeout_ms=5_000, fetch_max_wait_ms=250,
            fetch_max_bytes=_FETCH_BYTES, max_partition_fetch_bytes=MAX_RECORD_BYTES // 4,
            allow_auto_create_topics=False, metrics_enabled=False, **client_options(self._settings),
        )  # fmt: skip

    def _place(self, tp: TopicPartition) -> Any:
        from kafka.structs import TopicPartition as Place

        return Place(self._names.topic(tp.topic), tp.partition)


def _record(tp: TopicPartition, message: Any) -> Record:
    header = next((value for name, value in message.headers if name == HEADER), None)
    return Record(tp, message.offset, message.offset + 1, message.timestamp / 1000, header or b"", message.value or b"")
