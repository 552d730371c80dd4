"""The log lane: takes lines from the buffer, seals them, and sends what is sealed until it is durable.

Without a spool, sealing happens only when there is room to send, so few events are ever sealed and unsent; those are
never dropped. With one, what waits is sealed at once and fsynced before it is first sent, however long nobody takes it.
What the door refuses for good is replaced by a void batch with the reason; when it refuses the sender itself (token,
service, region), the lane waits for a person while the buffer fills and counts. One thread calls `step`; another one
`keep_overdue`, for a request may hang for seconds while more is logged.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .batch import Batch
from .buffer import Buffer
from .clock import Clock
from .errors import LastbeatError
from .event import Line
from .spool import Spool
from .streams import Streams
from .transports.protocol import Rejected, Transport
from .trouble import Trouble

log = logging.getLogger("lastbeat.sender")

BATCH_EVENTS = 200
BATCH_BYTES = 1_000_000
_REQUEST_BATCHES = 20
_REQUEST_BYTES = 4_000_000
_ASIDE_BYTES = 2 * _REQUEST_BYTES
_LINGER_S = 0.5
_IDLE_S = 5.0
_TIMEOUT_S = 10.0
_FIRST_BACKOFF_S = 0.25
_MAX_BACKOFF_S = 15.0
_REFUSED_BACKOFF_S = 30.0

# Refusals of who sends, or of how; not of what was sent: a void batch would be refused just the same.
_OF_THE_SENDER = frozenset({"token", "region", "service", "instance", "version", "canary", "media"})


@dataclass(slots=True)
class _Flush:
    """Somebody waits until `target` lines are settled, or until a try made after the asking has failed."""

    target: int
    done: threading.Event
    reached: bool = False


class Sender:
    """Sends one process's logs. `step` belongs to one thread; the rest may be called from any."""

    def __init__(
        self,
        buffer: Buffer,
        streams: Streams,
        transport: Transport,
        clock: Clock,
        chance: Callable[[], float] = random.random,
        spool: Spool | None = None,
    ) -> None:
        self._buffer, self._streams, self._transport = buffer, streams, transport
        self._clock, self._chance, self._spool = clock, chance, spool
        self._sealing = threading.Lock()
        self._unkept: list[Batch] = []
        self._taken: list[Line] = []
        self._pending: deque[Batch] = deque()
        self._aside: deque[Batch] = deque()
        self._barred: dict[str, float] = {}
        self._flushes: deque[_Flush] = deque()
        self._settled = 0  # lines, by the thread of `step`
        self._turned_away = 0  # lines that got no number, under `_sealing`
        self._stepped_at = clock.monotonic()
        self._lingering_since: float | None = None
        self._retry_at = 0.0
        self._failures = 0
        self._one_by_one = False
        self.voided: dict[str, int] = {}
        """Events given up at the door after they had numbers, by reason."""
        self.trouble = Trouble("events", log, clock)

    @property
    def sealed_events(self) -> int:
        """How many events have a number and are not yet known to be durable."""
        spooled = self._spool.events if self._spool is not None else 0
        return max(spooled, sum(batch.header.count for batch in (*self._pending, *self._aside) if batch.body))

    def flush(self) -> _Flush:
        """Ask for everything logged so far to be sent without lingering; wait on the answer's `done`."""
        request = _Flush(self._buffer.kept, threading.Event())
        self._flushes.append(request)
        return request

    def step(self) -> float:
        """Do what there is to do now: at most one request. Returns in how many seconds there may be more."""
        self._stepped_at = now = self._clock.monotonic()
        asked = len(self._flushes)
        kept_wait_s = self._keep(now, bool(asked))
        if now < self._retry_at and not asked:
            return self._retry_at - now if kept_wait_s is None else min(kept_wait_s, self._retry_at - now)
        self._unbar(now)
        ready = bool(asked or self._pending or self._taken or self._has_more())
        wait_s = self._linger(now, ready) if kept_wait_s is None else 0.0 if ready else kept_wait_s
        if wait_s:
            return wait_s
        self._fill()
        if self._pending:
            self._send(self._request())
        wait_s = self._retry_at - self._clock.monotonic()
        self._answer(asked, failed=wait_s > 0)
        if wait_s > 0:
            return wait_s if kept_wait_s is None else min(kept_wait_s, wait_s)
        if not self._pending and self._aside_is_full():
            return _LINGER_S
        more = self._pending or self._buffer.waiting or self._flushes or self._has_more()
        return 0.0 if more else _IDLE_S

    def keep_overdue(self) -> float:
        """Have what waits in the spool while `step` is held up. Returns in how many seconds to look again."""
        if self._spool is None:
            return _IDLE_S
        overdue = self._clock.monotonic() - self._stepped_at >= 2 * _LINGER_S
        if overdue and self._buffer.waiting and self._spool.usable():
            self.keep_the_rest(0.0)
        return _LINGER_S

    def keep_the_rest(self, timeout_s: float) -> None:
        """Have all that waits in the spool, if there is one. Called by another thread than `step`."""
        if self._spool is None or not self._sealing.acquire(timeout=timeout_s):
            return
        try:
            while self._keep_some():
                pass
        finally:
            self._sealing.release()

    def _has_more(self) -> bool:
        if self._spool is None or self._aside_is_full():
            return False
        return self._spool.has_more or bool(self._unkept)

    def _aside_is_full(self) -> bool:
        """What is set aside is in memory: with too much of it, nothing more is read from the spool."""
        return bool(self._aside) and sum(len(batch.body) for batch in self._aside) > _ASIDE_BYTES

    def _keep(self, now: float, hurry: bool) -> float | None:
        """Have what waits in the spool; in how many seconds to come again, None if there is no spool to be used."""
        if self._spool is None or not self._spool.usable():
            return None
        if wait_s := self._linger(now, hurry or bool(self._unkept)):
            return wait_s
        with self._sealing:
            while self._keep_some():
                pass
        return _IDLE_S

    def _keep_some(self) -> bool:
        if self._spool is None:
            return False
        if not self._unkept:
            size = 0
            while size <= _REQUEST_BYTES - BATCH_BYTES and (
                lines := self._buffer.take(BATCH_EVENTS, BATCH_BYTES - 64 * BATCH_EVENTS)
            ):
                batches = self._seal(lines)
                size += sum(len(batch.body) for batch in batches)
                self._unkept.extend(batches)
        if not self._unkept or not self._spool.keep(self._unkept):
            return False
        self._unkept = []
        return True

    def _seal(self, lines: list[Line]) -> list[Batch]:
        for line in lines:
            if line.dataset in self._barred:
                self._buffer.drop(line.dataset, "refused")
        batches = self._streams.seal(line for line in lines if line.dataset not in self._barred)
        self._turned_away += len(lines) - sum(batch.header.count for batch in batches)
        return batches

    def _linger(self, now: float, hurry: bool) -> float:
        waiting = self._buffer.waiting
        if hurry or waiting >= BATCH_EVENTS:
            self._lingering_since = None
            return 0.0
        if not waiting:
            self._lingering_since = None
            return _IDLE_S
        if self._lingering_since is None:
            self._lingering_since = now
        left = self._lingering_since + _LINGER_S - now
        if left > 0:
            return left
        self._lingering_since = None
        return 0.0

    def _fill(self) -> None:
        """Fill the next request: from the spool, else from what waits, sealed while there is room."""
        size = sum(len(batch.body) for batch in self._pending)
        while len(self._pending) < _REQUEST_BATCHES and size <= _REQUEST_BYTES - BATCH_BYTES:
            batches = self._fill_from_spool() if self._spool is not None else []
            if not batches and self._spool is not None and (self._spool.has_more or self._spool.usable()):
                return  # what waits comes after what is spooled, or goes there first
            if not batches:
                self._taken = self._taken or self._buffer.take(BATCH_EVENTS, BATCH_BYTES - 64 * BATCH_EVENTS)
                if not self._taken:
                    return
                with self._sealing:
                    batches = self._seal(self._taken)
                self._taken = []
            self._pending.extend(batches)
            size += sum(len(batch.body) for batch in batches)

    def _fill_from_spool(self) -> list[Batch]:
        assert self._spool is not None
        while not self._aside_is_full() and (batch := self._spool.next()):
            if batch.header.dataset not in self._barred:
                return [batch]
            self._aside.append(batch)
            self._settled += batch.header.count
        if self._spool.has_more:
            return []
        with self._sealing:  # what the disk would not have comes after what it has
            batches, self._unkept = self._unkept, []
        return batches

    def _request(self) -> list[Batch]:
        """The front of what is sealed, as much as one request may carry."""
        room = 0 if self._one_by_one else _REQUEST_BYTES
        chosen: list[Batch] = []
        for batch in self._pending:
            room -= len(batch.body)
            if chosen and room < 0:
                break
            chosen.append(batch)
        return chosen

    def _send(self, batches: list[Batch]) -> None:
        try:
            self._transport.send(batches, _TIMEOUT_S)
        except Rejected as error:
            self._refused(error, batches)
            return
        except LastbeatError as error:
            self._back_off(str(error), error.retry_after_s)
            return
        for _ in batches:
            self._settled += self._pending.popleft().header.count
        with self._sealing:
            self._streams.ack(batches)
        if self._spool is not None:
            self._spool.settle(batches)
        self._recovered()

    def _refused(self, error: Rejected, batches: list[Batch]) -> None:
        index = error.index
        if index is None and error.code == "size":
            index = 0 if len(batches) == 1 else None
            self._one_by_one = True  # too much at once, or one that is too large: find out
        elif index is None or error.code in _OF_THE_SENDER:
            self._back_off(str(error), _REFUSED_BACKOFF_S)
            return
        if index is None:
            return
        if error.code == "dataset":
            self._bar(batches[index].header.dataset, error)
        elif batches[index].header.void:
            self._back_off(str(error), _REFUSED_BACKOFF_S)
        else:
            self._void(index, error)

    def _void(self, index: int, error: Rejected) -> None:
        batch = self._pending[index]
        self._pending[index] = batch.void(f"refused: {error.code}")
        self.voided[error.code] = self.voided.get(error.code, 0) + batch.header.count
        log.error(
            "lastbeat: %d events of %s were refused and are given up: %s",
            batch.header.count,
            batch.header.stream,
            error,
        )

    def _bar(self, dataset: str, error: Rejected) -> None:
        """One dataset is not allowed: set its sealed batches aside, so that the others go on."""
        self._barred[dataset] = self._clock.monotonic() + _REFUSED_BACKOFF_S
        barred = [batch for batch in self._pending if batch.header.dataset == dataset]
        self._pending = deque(batch for batch in self._pending if batch.header.dataset != dataset)
        self._aside.extend(barred)
        self._settled += sum(batch.header.count for batch in barred)
        log.error("lastbeat: dataset %s is refused, its events are dropped until that changes: %s", dataset, error)

    def _unbar(self, now: float) -> None:
        for dataset in [dataset for dataset, until in self._barred.items() if until <= now]:
            del self._barred[dataset]
            again = [batch for batch in self._aside if batch.header.dataset == dataset]
            self._aside = deque(batch for batch in self._aside if batch.header.dataset != dataset)
            self._pending.extend(again)
            self._settled -= sum(batch.header.count for batch in again)

    def _back_off(self, trouble: str, at_least_s: float | None) -> None:
        ceiling = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2**self._failures)
        wait_s = max(at_least_s or 0.0, ceiling * (0.5 + self._chance() / 2))
        self._retry_at = self._clock.monotonic() + wait_s
        self._failures = min(self._failures + 1, 16)
        self.trouble.begins(trouble)

    def _recovered(self) -> None:
        self.trouble.ends()
        self._failures, self._retry_at, self._one_by_one = 0, 0.0, False

    def _answer(self, asked: int, *, failed: bool) -> None:
        for _ in range(asked):
            request = self._flushes.popleft()
            request.reached = self._settled + self._turned_away >= request.target
            if request.reached or failed:
                request.done.set()
            else:
                self._flushes.append(request)
