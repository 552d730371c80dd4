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
from dataclasses import dataclass, field
from typing import Any

from shippers.clock import Clock
from shippers.errors import LastbeatError

from .ports import Gap, Outcome, Reader, Record, Sink, TopicPartition

log = logging.getLogger("lastbeat.indexer")

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 30.0
_COMMIT_SKIPPED_EVERY_S = 10.0
_STALLED_S = 120.0
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


class Indexer:
    """One reader, one sink, one thread.

    A write is due when `flush_bytes` of bodies have come together or `flush_s` seconds after the first of them:
    large writes are what makes both stores fast, and the boards see the journal's tail meanwhile.
    """

    def __init__(
        self, reader: Reader, sink: Sink, clock: Clock, *, flush_bytes: int = 32 * 1024 * 1024, flush_s: float = 3.0
    ) -> None:
        self._reader, self._sink, self._clock = reader, sink, clock
        self._flush_bytes, self._flush_s = flush_bytes, flush_s
        self._placed: set[TopicPartition] = set()
        self._held: list[Record] = []
        self._held_bytes = 0
        self._held_of: Counter[TopicPartition] = Counter()
        self._skipped: dict[TopicPartition, int] = {}
        self._skipped_since = clock.monotonic()
        self._due = 0.0
        self._retry_at = 0.0
        self._backoff_s = 0.0
        self._paused = False
        self._trouble = ""
        self._stepped_at = clock.monotonic()
        self.counters = Counters()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then settle what is held, if the sink lets it."""
        while not stop.is_set():
            self.step()
        if self._held and not self._backoff_s:
            self._write()
        if not self._held:
            self._commit_skipped()

    def step(self) -> None:
        """Read a little, and write if a write is due. Blocks for at most about a quarter of a second, or one write."""
        self._stepped_at = self._clock.monotonic()
        self._take(self._read(timeout_s=0.25))
        now = self._clock.monotonic()
        if self._held and now >= self._retry_at and (now >= self._due or self._is_full()):
            self._write()
        elif not self._held and now - self._skipped_since >= _COMMIT_SKIPPED_EVERY_S:
            self._commit_skipped()

    def health(self) -> dict[str, Any]:
        """`status` (ok, waiting or stalled) and what it rests on. From any thread."""
        age_s = self._clock.monotonic() - self._stepped_at
        status = "stalled" if age_s > _STALLED_S else "waiting" if self._trouble else "ok"
        return {"status": status, "why": self._trouble, "last_step_s": round(age_s, 3), "held_batches": len(self._held)}

    def metrics(self) -> dict[str, float]:
        """Its counters, and what it holds now. From any thread."""
        counters = self.counters
        return {
            "stored_events_total": counters.stored,
            "duplicate_events_total": counters.duplicate,
            "dead_events_total": counters.dead,
            "batches_total": counters.batches,
            "pauses_total": counters.pauses,
            "gaps_total": len(counters.gaps),
            "held_batches": len(self._held),
            "held_bytes": self._held_bytes,
        }

    def _is_full(self) -> bool:
        return self._held_bytes >= self._flush_bytes

    def _read(self, timeout_s: float) -> list[Record]:
        """What this returns is taken, always: the reader has moved past it."""
        try:
            self._place_new_partitions()
            self._pause_or_resume()
            records = self._reader.poll(self._flush_bytes, timeout_s)
            self._forget_lost_partitions()
            return records
        except Gap as gap:
            if not self._was_settled(gap):
                log.error("%s", gap)
                self.counters.gaps.append(str(gap))
            return []
        except LastbeatError as error:
            log.warning("nothing can be read now: %s", error)
            return []

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

    def _forget_lost_partitions(self) -> None:
        """What another reader of the group owns by now is its to write and to commit: it reads it all again."""
        lost = self._placed - self._reader.assigned()
        if not lost:
            return
        self._placed -= lost
        self._hold([record for record in self._held if record.tp not in lost])
        self._skipped = {tp: at for tp, at in self._skipped.items() if tp not in lost}

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            if _CANARY in record.header:
                if not self._held_of[record.tp]:
                    self._skipped[record.tp] = record.next_offset
                continue
            if not self._held:
                self._due = self._clock.monotonic() + self._flush_s
            self._held.append(record)
            self._held_of[record.tp] += 1
            self._held_bytes += _size(record)

    def _hold(self, records: list[Record]) -> None:
        self._held = records
        self._held_of = Counter(record.tp for record in records)
        self._held_bytes = sum(map(_size, records))

    def _write(self) -> None:
        try:
            outcomes = self._sink.write(self._held)
        except LastbeatError as error:
            self._pause(error)
            return
        self._settle(outcomes)

    def _pause(self, error: LastbeatError) -> None:
        if not self._backoff_s:
            self.counters.pauses += 1
        self._backoff_s = min(_LONGEST_BACKOFF_S, self._backoff_s * 2 or _FIRST_BACKOFF_S)
        wait_s = error.retry_after_s or self._backoff_s
        self._retry_at = self._clock.monotonic() + wait_s
        self._trouble = str(error)
        log.warning("%d batches wait: %s; next try in %.1f s", len(self._held), error, wait_s)

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        positions: dict[TopicPartition, int] = dict(self._skipped)
        unsettled: dict[TopicPartition, int] = {}
        for outcome in outcomes:
            record = outcome.record
            if outcome.retry:
                unsettled.setdefault(record.tp, record.offset)
                continue
            positions[record.tp] = record.next_offset
            self.counters.batches += 1
            self.counters.stored += outcome.stored
            self.counters.duplicate += outcome.duplicate
            self.counters.dead += outcome.dead
        self._hold([outcome.record for outcome in outcomes if outcome.retry])
        self._commit(positions | unsettled)
        self._backoff_s, self._trouble = 0.0, ""
        self._retry_at = self._clock.monotonic() + _FIRST_BACKOFF_S if self._held else 0.0

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


def _size(record: Record) -> int:
    """What a held record costs in memory: a backlog of empty or tiny ones must be bounded too."""
    return len(record.header) + len(record.body) + _RECORD_OVERHEAD
