"""Reading the journal on Kafka: as one of a group that shares the partitions, or, without a group, all of it.

It decides where reading begins itself (`auto_offset_reset` is none), so that nothing is ever skipped in silence: what
retention deleted before it was read is a Gap. It commits only what it is told to, and only for partitions it owns.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collector.ports import Gap, Record, TopicPartition
from collector.settings import KafkaSettings
from shippers.clock import Clock
from shippers.errors import Unavailable

from .kafka_link import HEADER, MAX_RECORD_BYTES, Names, build, connected_admin, only_of, reachable

log = logging.getLogger("lastbeat.journal")

_ASK_MS = 2_000
_NEW_TOPICS_MS = 2_000
_SIGN_OF_LIFE_S = 1.0
_SLICE_BYTES, _SLICE = 8 * 1024**2, 2_000
_HELD_BYTES = 2 * MAX_RECORD_BYTES
_FETCH_BYTES = MAX_RECORD_BYTES
"""What our journal wrote comes packed, and is unpacked a slice at a time."""


class KafkaReader:
    """See Reader. One thread. Lag is in records.

    A group's readers share the partitions, and a rebalance moves as few of them as it can. A partition that comes to us
    in a poll is named by `assigned` before any record of it is handed out, so that the caller can `seek` it first.
    """

    def __init__(
        self, settings: KafkaSettings, names: Names, clock: Clock, group: str | None, datasets: Sequence[str]
    ) -> None:
        self._settings, self._names, self._clock = settings, names, clock
        self._group = None if group is None else names.group(group)
        self._pattern = names.pattern(datasets)
        self._consumer: Any = None
        self._joined = group is None
        self._owned: set[TopicPartition] = set()
        self._ahead: dict[TopicPartition, deque[Record | Gap]] = {}  # fetched or found, not handed out yet
        self._next: dict[TopicPartition, int] = {}
        self._sought: dict[TopicPartition, int] = {}
        self._begun: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._turn = 0
        self._slice = 4
        self._alive_at = 0.0
        self._closed = False

    # --- reading -----------------------------------------------------------------------------------------------------

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        """See Reader.poll. Notices within a second that the brokers are away; recovers by itself."""
        deadline = self._clock.monotonic() + timeout_s
        known = self.assigned()
        taken: list[Record] = []
        size = 0
        self._turn += 1
        while True:
            idle = not taken and not self._heads(known)
            came = self._fill(max(0.0, deadline - self._clock.monotonic()) if idle else 0.0, blunt=not taken)
            size += self._take(taken, known, max_bytes - size)
            if size > max_bytes or (taken and not came):
                break
            if not taken and (self._heads(known) or self._owned - known or self._clock.monotonic() >= deadline):
                break
        taken = [record for record in taken if record.tp in self._owned]
        if taken:
            self._alive_at = self._clock.monotonic()
            return taken
        for gap in self._heads(known & self._owned).values():
            if isinstance(gap, Gap):
                self._ahead[gap.tp].popleft()
                self._next[gap.tp] = gap.found
                raise gap
        self._ask_for_a_sign_of_life()
        return []

    def _heads(self, known: set[TopicPartition]) -> dict[TopicPartition, Record | Gap]:
        """What comes next of each partition that has something to be handed out."""
        free = known - self._paused
        return {tp: queue[0] for tp, queue in sorted(self._ahead.items()) if queue and tp in free}

    def _take(self, taken: list[Record], known: set[TopicPartition], room: int) -> int:
        """Hand out what was fetched, until `room` is exceeded; each time another partition comes first."""
        size = 0
        tps = list(self._heads(known & self._owned))
        for index in range(len(tps)):
            tp = tps[(index + self._turn) % len(tps)]
            queue = self._ahead[tp]
            while queue and size <= room and isinstance(record := queue[0], Record):
                queue.popleft()
                taken.append(record)
                size += len(record.body)
                self._next[tp] = record.next_offset
        return size

    def _fill(self, wait_s: float, *, blunt: bool) -> bool:
        """Let kafka-python work: heartbeats, rebalances, fetches. True if records came. Raises Unavailable if `blunt`;
        a caller that holds records already hands them over first, and is told by the next call."""
        consumer = self._connected()
        held = sum(len(one.body) for queue in self._ahead.values() for one in queue if isinstance(one, Record))
        try:
            with reachable("read", self._settings):
                found = self._polled(consumer, wait_s, self._slice if held < _HELD_BYTES else 1)
        except Unavailable:
            if blunt:
                raise
            return False
        self._note_assignment(consumer)
        if found:
            largest = max(len(message.value or b"") for messages in found.values() for message in messages)
            self._slice = max(1, min(_SLICE, _SLICE_BYTES // max(1, largest)))
        for place, messages in found.items():
            tp = self._names.ours(place.topic, place.partition)
            if tp in self._owned and messages:
                queue = self._ahead.setdefault(tp, deque())
                if queue and messages[0].offset < _end(queue[-1]):
                    queue.clear()  # it left and came back, and is read from what was committed
                queue.extend(_record(tp, message) for message in messages)
        return bool(found)

    def _polled(self, consumer: Any, wait_s: float, count: int) -> Mapping[Any, Sequence[Any]]:
        from kafka import errors

        _keep_it_informed(consumer)
        _let_it_unpark(consumer)
        if self._group is not None:
            _hold_to_its_rejoin(consumer)
        try:
            found: Mapping[Any, Sequence[Any]] = consumer.poll(
                timeout_ms=int(min(wait_s, _SIGN_OF_LIFE_S) * 1000), max_records=count
            )
            return found
        except errors.NoOffsetForPartitionError as error:
            self._begin(consumer, error.args[0])
        except errors.OffsetOutOfRangeError as error:
            self._find_gap(consumer, error.args[0])
        except errors.LogTruncationError as error:
            self._find_truncation(consumer, error.divergent_offsets)
        return {}

    def _note_assignment(self, consumer: Any) -> None:
        """Forget what left us; place and pause what came as was asked for before it did."""
        owned = {self._names.ours(place.topic, place.partition) for place in consumer.assignment()}
        for tp in self._owned - owned:
            self._ahead.pop(tp, None)
            if self._group is not None:  # without one, it only vanished from sight for a while
                self._next.pop(tp, None)
        fresh, self._owned = owned - self._owned, owned
        for tp in self._sought.keys() & owned:
            self.seek(tp, self._sought[tp])
        if fresh & self._paused:
            consumer.pause(*map(self._place, fresh & self._paused))

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
            self._note_assignment(consumer)
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
            self._ahead.setdefault(tp, deque()).append(Gap(tp, wanted, oldest))

    def _find_truncation(self, consumer: Any, offsets: Mapping[Any, Any]) -> None:
        for place, known in offsets.items():
            if known is None:
                self._find_gap(consumer, {place: consumer.position(place, timeout_ms=_ASK_MS) or 0})
                continue
            tp = self._names.ours(place.topic, place.partition)
            wanted = consumer.position(place, timeout_ms=_ASK_MS) or known.offset
            self._ahead.setdefault(tp, deque()).append(Gap(tp, wanted, known.offset))
            consumer.seek(place, known.offset)

    def _ask_for_a_sign_of_life(self) -> None:
        """An idle topic and a dead broker look alike to kafka-python. Raises Unavailable for the second."""
        if self._clock.monotonic() - self._alive_at < _SIGN_OF_LIFE_S:
            return
        consumer = self._connected()
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
        self._ahead.pop(tp, None)
        self._next[tp] = offset
        if tp in self._owned:
            self._consumer.seek(self._place(tp), offset)
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
        places = [self._place(tp) for tp in set(tps) & self._owned]
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
        wanted = {tp: at for tp, at in {**self._begun, **positions}.items() if tp in self._owned}
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
        admin = connected_admin(self._settings, _ASK_MS)
        try:
            kept = admin.list_group_offsets(self._group)[self._group]
        finally:
            admin.close()
        return {self._names.ours(p.topic, p.partition): kept[p].offset for p in kept if kept[p].offset >= 0}

    def assigned(self) -> set[TopicPartition]:
        """See Reader.assigned. The first call joins the group; raises Unavailable if it can't connect for that."""
        self._connected()
        if not self._joined:
            self._join()
        return set(self._owned)

    def _join(self) -> None:
        deadline = self._clock.monotonic() + _ASK_MS / 1000
        while not self._owned and self._clock.monotonic() < deadline:
            self._fill(0.2, blunt=True)
            if self._consumer._coordinator.stable():
                break
        self._joined = True  # if others keep us waiting, polling will get us there

    def lag(self) -> dict[TopicPartition, int]:
        """See Reader.lag: in records. Asks the brokers; raises Unavailable."""
        consumer = self._connected()
        places = {tp: self._place(tp) for tp in self.assigned()}
        if not places:
            return {}
        with reachable("ask for the ends", self._settings):
            oldest = consumer.beginning_offsets(list(places.values()), timeout_ms=_ASK_MS)
            ends = consumer.end_offsets(list(places.values()), timeout_ms=_ASK_MS)
            found: dict[TopicPartition, int] = {}
            for tp, place in places.items():
                at = self._position(consumer, tp, place)
                found[tp] = ends[place] - at if at <= ends[place] else max(1, ends[place] - oldest[place])
            return found

    def offsets_at(self, at: float, instance: str = "") -> dict[TopicPartition, int]:
        """See Reader.offsets_at. The key of a record is its instance, and decides on the partition."""
        consumer = self._connected()
        places = {tp: self._place(tp) for tp in only_of(instance, self.assigned())}
        if not places:
            return {}
        with reachable("ask for the offsets of a time", self._settings):
            at_ms = max(0, int(at * 1000))
            found = consumer.offsets_for_times(dict.fromkeys(places.values(), at_ms), timeout_ms=_ASK_MS)
            ends = consumer.end_offsets(list(places.values()), timeout_ms=_ASK_MS)
        return {tp: found[place].offset if found.get(place) else ends[place] for tp, place in places.items()}

    def ends(self) -> dict[TopicPartition, int]:
        """See Reader.ends. Asks the brokers which topics there are, so that none is missed that was made just now."""
        from kafka.structs import TopicPartition as Place

        consumer = self._connected()
        with reachable("ask for the ends", self._settings):
            consumer._net.run(consumer._manager.wait_for, consumer._cluster.request_update(), _ASK_MS)
            topics = [topic for topic in consumer._cluster.topics() if re.match(self._pattern, topic)]
            places = [Place(topic, number) for topic in topics for number in consumer.partitions_for_topic(topic)]
            ends = consumer.end_offsets(places, timeout_ms=_ASK_MS) if places else {}
        return {self._names.ours(place.topic, place.partition): end for place, end in ends.items()}

    def _position(self, consumer: Any, tp: TopicPartition, place: Any) -> int:
        """The offset of the next record to be handed out. Where there is none any more, all is to be read again."""
        from kafka.errors import NoOffsetForPartitionError

        if self._ahead.get(tp):
            head = self._ahead[tp][0]
            return head.wanted if isinstance(head, Gap) else head.offset
        if tp not in self._next:
            try:
                self._next[tp] = int(consumer.position(place, timeout_ms=_ASK_MS) or 0)
            except NoOffsetForPartitionError as error:
                self._begin(consumer, error.args[0])
        return self._next[tp]

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
            self._note_assignment(consumer)
        return self._consumer

    def _new_consumer(self) -> Any:
        from kafka import KafkaConsumer
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

        return build(
            KafkaConsumer, self._settings,
            group_id=self._group, partition_assignment_strategy=[CooperativeStickyAssignor],
            metadata_max_age_ms=_NEW_TOPICS_MS, auto_offset_reset="none", enable_auto_commit=False,
            session_timeout_ms=10_000, heartbeat_interval_ms=1_000, request_timeout_ms=5_000, fetch_max_wait_ms=250,
            fetch_max_bytes=_FETCH_BYTES, max_partition_fetch_bytes=_FETCH_BYTES // 4,
            allow_auto_create_topics=False, metrics_enabled=False,
        )  # fmt: skip

    def _place(self, tp: TopicPartition) -> Any:
        from kafka.structs import TopicPartition as Place

        return Place(self._names.topic(tp.topic), tp.partition)


def _record(tp: TopicPartition, message: Any) -> Record:
    header = b""
    for name, value in message.headers:
        if name == HEADER:
            header = value or b""
            break
    return Record(tp, message.offset, message.offset + 1, message.timestamp / 1000, header, message.value or b"")


def _hold_to_its_rejoin(consumer: Any) -> None:
    """kafka-python 3.0.12 forgets a rejoin that new topics caused and that outlasted the poll in which it began: it
    drops the group's answer, and stays a member that reads nothing and sends no heartbeats. Asked again, it doesn't."""
    coordinator = consumer._coordinator
    if coordinator.rejoining or coordinator.need_rejoin():
        coordinator.request_rejoin()


def _keep_it_informed(consumer: Any) -> None:
    """kafka-python 3.0.12 stops asking for metadata for good if it waits for somebody else's question, a bootstrap's,
    and that one fails: from then on it joins no rebalance and sees no new topic, in silence. It is made to go on."""
    cluster = consumer._cluster
    if cluster._refresh_loop_future is not None and cluster._refresh_loop_future.is_done:
        cluster._refresh_loop_future = None
        cluster.start_refresh_loop()


def _let_it_unpark(consumer: Any) -> None:
    """kafka-python 3.0.12 parks what it holds of a paused partition, and takes it up again only while nothing is in its
    hands. What is used up stays in its hands: so of several that were parked all but one would never be read again."""
    fetcher = consumer._fetcher
    if fetcher._next_partition_records is not None and not fetcher._next_partition_records:
        fetcher._next_partition_records = None


def _end(one: Record | Gap) -> int:
    return one.found if isinstance(one, Gap) else one.next_offset
