"""From the journal to a sink: reads batches, writes them, and only then commits.

The committed offset never passes the lowest record that isn't settled yet. A sink that is down means that nothing is
read, not that anything is skipped: partitions are paused, polling goes on, and the same records are written again.
It parses nothing but headers, and judges nothing: what can't be stored is the sink's to dead-letter.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent import futures
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

from shippers.clock import Clock
from shippers.errors import LastbeatError

from .complaint import Complaint
from .figures import labelled, lag_figures
from .ports import Gap, Outcome, Reader, Record, Sink, TopicPartition

log = logging.getLogger("lastbeat.indexer")

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 30.0
_COMMIT_SKIPPED_EVERY_S = 10.0
_PATIENCE_S = 0.25
_STALLED_S = 120.0
_LAG_EVERY_S = 5.0
_RECORD_OVERHEAD = 500
_CANARY = b'"canary":true'


@dataclass(slots=True)
class Counters:
    """What an indexer has done since it started; events unless the name says otherwise."""

    stored: int = 0
    duplicate: int = 0
    dead: int = 0
    batches: int = 0
    pauses: int = 0
    gaps: list[str] = field(default_factory=list)


class _Hold:
    """Records that are read and not settled, and what they cost in memory."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records: list[Record] = []
        self.size_bytes = 0
        self.of: Counter[TopicPartition] = Counter()
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        self.records.append(record)
        self.of[record.tp] += 1
        self.size_bytes += len(record.header) + len(record.body) + _RECORD_OVERHEAD


class Indexer:
    """One reader, one sink; used by one thread. While one write is under way the next is read, and no further.

    A write is due when `flush_bytes` have come together or `flush_s` seconds after the first of them: large writes
    are what makes both stores fast, and the boards see the journal's tail meanwhile. `writer` runs the sink's writes,
    one at a time; it is shut down when `run` ends.
    """

    def __init__(
        self,
        reader: Reader,
        sink: Sink,
        clock: Clock,
        *,
        flush_bytes: int = 32 * 1024 * 1024,
        flush_s: float = 3.0,
        writer: Executor | None = None,
    ) -> None:
        self._reader, self._sink, self._clock = reader, sink, clock
        self._flush_bytes, self._flush_s = flush_bytes, flush_s
        self._writer = writer or ThreadPoolExecutor(1, thread_name_prefix="lastbeat-write")
        self._placed: set[TopicPartition] = set()
        self._waiting, self._under_way = _Hold(), _Hold()
        self._write: Future[list[Outcome]] | None = None
        self._skipped: dict[TopicPartition, int] = {}
        self._skipped_since = clock.monotonic()
        self._due = 0.0
        self._retry_at = 0.0
        self._backoff_s = 0.0
        self._paused = False
        self._trouble = ""
        self._unread = Complaint(
            log, clock, "nothing can be read now, this goes on by itself", "the journal can be read again"
        )
        self._lag: dict[TopicPartition, int] = {}
        self._lag_at = 0.0
        self._stepped_at = clock.monotonic()
        self.counters = Counters()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then settle what is held, if the sink lets it."""
        with self._writer:
            while not stop.is_set():
                self.step()
            self._settle(wait=True)
            if self._waiting.records and not self._backoff_s:
                self._begin()
                self._settle(wait=True)
            if not self._holds_any():
                self._commit_skipped()
        log.info("stopped: %s", self._words())

    def _words(self) -> str:
        counters, held = self.counters, self._holds_any()
        rest = f"{held} batches that it held are read again after the start" if held else "nothing was left over"
        return (
            f"{counters.stored:,} events stored, {counters.duplicate:,} were there already, "
            f"{counters.dead:,} to the dead letters; {rest}"
        )

    def step(self) -> None:
        """Read a little, and begin or settle a write if it is time. Blocks for about a quarter of a second at most."""
        self._stepped_at = self._clock.monotonic()
        busy = self._write is not None and self._is_full()
        if busy:
            futures.wait([cast("Future[list[Outcome]]", self._write)], _PATIENCE_S)
        self._take(self._read(timeout_s=0.0 if busy else _PATIENCE_S))
        self._measure_lag()
        self._settle()
        now = self._clock.monotonic()
        if self._waiting.records and self._write is None:
            if now >= self._retry_at and (now >= self._due or self._is_full()):
                self._begin()
                self._settle()
        elif not self._holds_any() and now - self._skipped_since >= _COMMIT_SKIPPED_EVERY_S:
            self._commit_skipped()

    def health(self) -> dict[str, Any]:
        """`status` (ok, waiting for the sink, unread as the journal can't be read, or stalled) and what it rests on.
        From any thread."""
        age_s = self._clock.monotonic() - self._stepped_at
        status = "waiting" if self._trouble else "unread" if self._unread.text else "ok"
        return {
            "status": "stalled" if age_s > _STALLED_S else status,
            "why": self._trouble or self._unread.text,
            "last_step_s": round(age_s, 3),
            "held_batches": self._holds_any(),
        }

    def metrics(self) -> dict[str, float]:
        """Its counters, and what it holds now. From any thread."""
        counters = self.counters
        return {
            labelled("events_total", outcome="stored"): counters.stored,
            labelled("events_total", outcome="duplicate"): counters.duplicate,
            labelled("events_total", outcome="dead"): counters.dead,
            "batches_total": counters.batches,
            "pauses_total": counters.pauses,
            "gaps_total": len(counters.gaps),
            "held_batches": self._holds_any(),
            "held_bytes": self._waiting.size_bytes + self._under_way.size_bytes,
            "partitions": len(self._placed),
            **lag_figures(self._lag),
        }

    def _holds_any(self) -> int:
        return len(self._waiting.records) + len(self._under_way.records)

    def _is_full(self) -> bool:
        return self._waiting.size_bytes >= self._flush_bytes

    def _read(self, timeout_s: float) -> list[Record]:
        """What this returns is taken, always: the reader has moved past it."""
        try:
            self._place_new_partitions()
            self._pause_or_resume()
            records = self._reader.poll(max(1, self._flush_bytes - self._waiting.size_bytes), timeout_s)
            self._forget_lost_partitions()
            self._unread.note("")
            return records
        except Gap as gap:
            if not self._was_settled(gap):
                log.error("%s", gap)
                self.counters.gaps.append(str(gap))
            return []
        except LastbeatError as error:
            self._unread.note(str(error))
            return []

    def _measure_lag(self) -> None:
        now = self._clock.monotonic()
        if self._unread.text or now < self._lag_at:
            return
        self._lag_at = now + _LAG_EVERY_S
        try:
            self._lag = self._reader.lag()
        except LastbeatError as error:
            log.debug("how far it is behind can't be asked: %s", error)

    def _was_settled(self, gap: Gap) -> bool:
        """Whether all that is gone had been committed before: then only the sink's own position was behind."""
        try:
            return gap.wanted <= gap.found <= self._reader.committed().get(gap.tp, 0)
        except LastbeatError:
            return False  # who can't be asked has confirmed nothing

    def _pause_or_resume(self) -> None:
        """While there is no room, or the sink is down: polling goes on and brings nothing, of new partitions either."""
        if self._backoff_s or self._is_full():
            self._reader.pause(list(self._reader.assigned()))
            self._paused = True
        elif self._paused:
            self._reader.resume(list(self._reader.assigned()))
            self._paused = False

    def _place_new_partitions(self) -> None:
        """Where the sink keeps its own position, that one rules: it was written in one commit with the data."""
        fresh = self._reader.assigned() - self._placed
        if not fresh:
            return
        positions = self._sink.positions() or {}
        for tp in fresh:
            if tp in positions:
                self._reader.seek(tp, positions[tp])
        self._placed |= fresh
        log.info("%d partitions came, %d are read here now", len(fresh), len(self._placed))

    def _forget_lost_partitions(self) -> None:
        """What another reader of the group owns by now is its to write and to commit: it reads it all again."""
        lost = self._placed - self._reader.assigned()
        if not lost:
            return
        self._placed -= lost
        log.info("%d partitions went to another reader, %d are read here now", len(lost), len(self._placed))
        self._waiting = _Hold(record for record in self._waiting.records if record.tp not in lost)
        self._skipped = {tp: at for tp, at in self._skipped.items() if tp not in lost}

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            if _CANARY in record.header:
                if not self._waiting.of[record.tp] and not self._under_way.of[record.tp]:
                    self._skipped[record.tp] = record.next_offset
                continue
            if not self._waiting.records:
                self._due = self._clock.monotonic() + self._flush_s
            self._waiting.add(record)

    def _begin(self) -> None:
        self._under_way, self._waiting = self._waiting, _Hold()
        self._write = self._writer.submit(self._sink.write, self._under_way.records)

    def _settle(self, *, wait: bool = False) -> None:
        """Take in what became of the write, once it is done; what isn't settled goes before all that waits."""
        if self._write is None or not (wait or self._write.done()):
            return
        write, written = self._write, self._under_way.records
        self._write, self._under_way = None, _Hold()
        again = [record for record in written if record.tp in self._placed]
        try:
            outcomes = write.result()
        except LastbeatError as error:
            self._back_off(error, len(again))
        else:
            self._backoff_s, self._trouble = 0.0, ""
            retried = {id(outcome.record) for outcome in outcomes if outcome.retry}
            again = [record for record in again if id(record) in retried]
            self._retry_at = self._clock.monotonic() + _FIRST_BACKOFF_S if again else 0.0
            self._account(outcomes)
        self._waiting = _Hold((*again, *self._waiting.records))

    def _back_off(self, error: LastbeatError, batches: int) -> None:
        if not self._backoff_s:
            self.counters.pauses += 1
        self._backoff_s = min(_LONGEST_BACKOFF_S, self._backoff_s * 2 or _FIRST_BACKOFF_S)
        wait_s = error.retry_after_s or self._backoff_s
        self._retry_at = self._clock.monotonic() + wait_s
        self._trouble = str(error)
        log.warning("%d batches wait: %s; next try in %.1f s", batches, error, wait_s)

    def _account(self, outcomes: Sequence[Outcome]) -> None:
        """Count, and commit up to the lowest record that isn't settled."""
        positions: dict[TopicPartition, int] = dict(self._skipped)
        unsettled: dict[TopicPartition, int] = {}
        for outcome in outcomes:
            record = outcome.record
            if record.tp not in self._placed:
                continue  # another's by now
            if outcome.retry:
                unsettled.setdefault(record.tp, record.offset)
                continue
            positions[record.tp] = record.next_offset
            self.counters.batches += 1
            self.counters.stored += outcome.stored
            self.counters.duplicate += outcome.duplicate
            self.counters.dead += outcome.dead
        self._commit(positions | unsettled)

    def _commit_skipped(self) -> None:
        """A partition that carries nothing but canaries must not hold back the journal's retention."""
        if self._skipped:
            self._commit(self._skipped)
        self._skipped_since = self._clock.monotonic()

    def _commit(self, positions: dict[TopicPartition, int]) -> None:
        """A commit that fails is made up for by the next: until then the journal only keeps more than it need."""
        try:
            self._reader.commit(positions)
            self._skipped = {}
        except LastbeatError as error:
            log.warning("what is settled will be committed later: %s", error)
            self._skipped = positions
