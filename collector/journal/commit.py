"""Group commit: many threads append, one thread writes what is waiting, syncs each touched file once, wakes them all.

Appends that fail are rolled back to the last durable byte, partition by partition, and told to their callers alone.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from shippers.errors import LastbeatError, Unavailable

from .frame import Encoded
from .partition import Partition
from .timeline import Timeline

log = logging.getLogger("lastbeat.journal")

_GROUP_BYTES = 32 * 1024 * 1024
_RETRY_AFTER_S = 2.0
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Append:
    """One caller's records, and the promise that they are durable."""

    __slots__ = ("done", "records", "size")

    def __init__(self, records: Sequence[tuple[str, Encoded]]) -> None:
        self.records = records
        self.size = sum(encoded.size for _, encoded in records)
        self.done: Future[None] = Future()


class Committer:
    """The thread that writes. `open_partition` finds a topic's partition, `admit` refuses what there's no room for
    (by raising), `committed` is called after each group, `idle` when nothing has come for `idle_s`; `guard` is held
    while partitions change."""

    def __init__(
        self,
        timeline: Timeline,
        open_partition: Callable[[str], Partition],
        admit: Callable[[int], None],
        committed: Callable[[], None],
        idle: Callable[[], object],
        guard: threading.RLock,
        idle_s: float = 10.0,
    ) -> None:
        self._timeline = timeline
        self._open_partition = open_partition
        self._admit = admit
        self._committed = committed
        self._idle = idle
        self._idle_s = idle_s
        self._guard = guard
        self._waiting: deque[Append] = deque()
        self._change = threading.Condition()
        self._closing = False
        self._syncers = ThreadPoolExecutor(4, thread_name_prefix="journal-sync")
        self._thread = threading.Thread(target=self._run, name="journal-commit", daemon=True)
        self._thread.start()

    def submit(self, append: Append) -> None:
        """Queue an append; `append.done` tells how it ended."""
        with self._change:
            if self._closing:
                raise Unavailable("the journal is closed")
            self._waiting.append(append)
            if len(self._waiting) == 1:
                self._change.notify()

    def close(self) -> None:
        """Commit what is queued, then stop."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()
        self._syncers.shutdown()

    def _run(self) -> None:
        while True:
            with self._change:
                if not self._waiting and not self._closing:
                    self._change.wait(self._idle_s)
                group = self._take_group()
                closing = self._closing
            if group:
                self._commit_or_refuse(group)
            elif closing:
                return
            else:
                self._guarded(self._idle)

    def _take_group(self) -> list[Append]:
        group: list[Append] = []
        size = 0
        while self._waiting and size < _GROUP_BYTES:
            group.append(self._waiting.popleft())
            size += group[-1].size
        return group

    def _commit_or_refuse(self, group: list[Append]) -> None:
        touched: dict[str, Partition] = {}
        with self._guard:
            try:
                self._commit(group, touched)
            except Exception as error:  # a defect of ours must not leave callers waiting for ever, nor end this thread
                log.exception("journal: a commit failed")
                for partition in touched.values():
                    partition.roll_back()
                for append in group:
                    if not append.done.done():
                        append.done.set_exception(Unavailable(f"the journal failed: {error!r}"))

    def _commit(self, group: list[Append], touched: dict[str, Partition]) -> None:
        failed: dict[str, LastbeatError] = {}
        now_ns = self._timeline.now_ns()
        admitted: list[Append] = []
        for append in group:
            try:
                self._admit(append.size)
            except LastbeatError as error:
                append.done.set_exception(error)
                continue
            admitted.append(append)
        for append in admitted:  # only now: making room must find nothing half written
            for topic, encoded in append.records:
                if topic not in failed:
                    self._add(topic, encoded, now_ns, touched, failed)
        self._make_durable(touched, failed)
        for append in admitted:
            refusals = [failed[topic] for topic, _ in append.records if topic in failed]
            if refusals:
                append.done.set_exception(refusals[0])
            else:
                append.done.set_result(None)
        self._guarded(self._committed)

    def _add(
        self, topic: str, encoded: Encoded, now_ns: int, touched: dict[str, Partition], failed: dict[str, LastbeatError]
    ) -> None:
        try:
            partition = touched.get(topic) or self._open_partition(topic)
            touched[topic] = partition
            partition.add(encoded, now_ns)
        except OSError as error:
            failed[topic] = self._refusal(topic, error)

    def _make_durable(self, touched: dict[str, Partition], failed: dict[str, LastbeatError]) -> None:
        def settle(topic: str, step: Callable[[], object]) -> None:
            try:
                step()
            except OSError as error:
                failed[topic] = self._refusal(topic, error)

        for topic, partition in touched.items():
            if topic not in failed:
                settle(topic, partition.write)
        good = [topic for topic in touched if topic not in failed]
        if len(good) == 1:
            settle(good[0], touched[good[0]].sync)
        else:
            for topic, syncing in [(topic, self._syncers.submit(touched[topic].sync)) for topic in good]:
                settle(topic, syncing.result)
        for topic, partition in touched.items():
            if topic in failed:
                partition.roll_back()
            else:
                partition.publish()

    def _refusal(self, topic: str, error: OSError) -> Unavailable:
        what = "the disk is full" if error.errno in _FULL_DISK else f"the disk fails: {error.strerror or error}"
        log.error("journal: %s can't be written: %s", topic, error)
        return Unavailable(f"{topic} can't be written, {what}; nothing was kept", retry_after_s=_RETRY_AFTER_S)

    @staticmethod
    def _guarded(step: Callable[[], object]) -> None:
        """Housekeeping must not end the one thread that writes."""
        try:
            step()
        except (OSError, LastbeatError) as error:
            log.error("journal: housekeeping failed: %s", error)
