"""From the journal to a sink: reads batches, writes them, keeps the ledger of it, and only then commits.

The committed offset never passes the lowest record that isn't settled yet. A sink that is down means that nothing is
read, not that anything is skipped: partitions are paused, polling goes on, and the same records are written again.
What a sink gives back alone is held apart, and only its partitions are paused: trouble with one index is no other's.
It parses nothing but headers, and judges nothing: what can't be stored is the sink's to dead-letter.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import FIRST_COMPLETED, Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from shippers.clock import Clock
from shippers.errors import LastbeatError

from .backoff import LONGEST_S, Backoff
from .complaint import Complaint
from .figures import labelled, lag_figures
from .holding import Apart, Hold, Write, capped, lowest
from .keeping import Keeping
from .ledger.keeper import LedgerKeeper
from .ports import Gap, Outcome, Reader, Record, Sink, TopicPartition

log = logging.getLogger("lastbeat.indexer")

_COMMIT_SKIPPED_EVERY_S = 10.0
_PATIENCE_S, _GLANCE_S = 0.25, 0.05
_STALLED_S = 120.0
_QUICK_S = 3.0
_LAG_EVERY_S = 5.0
_PLACE_AGAIN_S = 2.0
_READ_AGAIN_S = 5.0
_CANARY = b'"canary":true'


@dataclass(slots=True)
class Counters:
    """What an indexer has done since it started; events unless the name says otherwise."""

    stored: int = 0
    duplicate: int = 0
    dead: int = 0
    batches: int = 0
    pauses: int = 0
    given_back: int = 0
    gaps: list[str] = field(default_factory=list)


class Indexer:
    """One reader, one sink; used by one thread. While writes are under way the next is read, and no further.

    `flush_bytes` are written at once, in as many writes as the sink has lanes. A write is due when its share has come
    together or `flush_s` seconds after the first of it: large writes are what makes both stores fast, and the boards
    see the journal's tail meanwhile. `writer` runs the sink's writes; it is shut down when `run` ends. `ledger` is told
    of every event what became of it. Held apart are at most `flush_bytes`, too; of what is more, whole partitions leave
    the memory and are read again later.
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
        ledger: LedgerKeeper | None = None,
    ) -> None:
        self._reader, self._sink, self._clock = reader, sink, clock
        self._flush_bytes, self._flush_s = flush_bytes // sink.lanes, flush_s
        self._writer = writer or ThreadPoolExecutor(sink.lanes, thread_name_prefix="lastbeat-write")
        self._keeping = Keeping(ledger, clock)
        self._placed: set[TopicPartition] = set()
        self._place_at = 0.0
        self._waiting, self._apart = Hold(), Apart(flush_bytes)
        self._writes: list[Write] = []
        self._done: dict[TopicPartition, int] = {}  # how far each is settled, but for what is held, and not committed
        self._anew: dict[TopicPartition, int] = {}  # where journals begin of which the one before is held still
        self._committed_at = clock.monotonic()
        self._uncommitted = False
        self._due = 0.0
        self._backoff = Backoff(clock)
        self._paused: set[TopicPartition] = set()
        self._unwritten = Complaint(
            log, clock, "nothing can be written now, what was read waits and is tried again", "it can be written again"
        )
        self._unread = Complaint(
            log, clock, "nothing can be read now, this goes on by itself", "the journal can be read again"
        )
        self._unread_until = 0.0
        self._unplaced = Complaint(
            log, clock, "partitions that came can't be begun yet", "the partitions that came are begun"
        )
        self._lag: dict[TopicPartition, int] = {}
        self._lag_at = 0.0
        self._stepped_at = clock.monotonic()
        self.counters = Counters()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then settle what is held, if the sink lets it and isn't slow, and commit it at one
        go: a broker that hangs costs seconds each time it is asked, and there are ten in all."""
        with self._writer:
            while not stop.is_set():
                self.step()
            stopped_at = self._clock.monotonic()
            self._settle(wait=True)
            quick = self._clock.monotonic() - stopped_at < _QUICK_S
            if self._waiting.records and quick and not self._backoff.is_on and not self._keeping.why:
                self._begin()
                self._settle(wait=True)
            self._commit()
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
        busy = self._is_full() and not self._has_a_lane()
        if busy:
            futures.wait([write.future for write in self._writes], _PATIENCE_S, FIRST_COMPLETED)
        self._take(self._read(timeout_s=0.0 if busy else self._idle_s()))
        self._measure_lag()
        self._settle()
        now = self._clock.monotonic()
        if now >= self._backoff.due_at and not self._keeping.why:
            if self._apart.hold.records and now >= self._apart.due:
                if not self._writes:
                    self._begin(apart=True)
                    self._settle()
            elif self._waiting.records and (now >= self._due or self._is_full()) and self._has_a_lane():
                self._begin()
                self._settle()
        # Only now that the sink has its next: it needn't wait for the ledger and the journal.
        if self._uncommitted or (not self._writes and now - self._committed_at >= _COMMIT_SKIPPED_EVERY_S):
            self._commit()

    def health(self) -> dict[str, Any]:
        """`status` (ok, waiting for sink or ledger, unread as the journal can't be read, or stalled) and what it rests
        on. From any thread."""
        age_s = self._clock.monotonic() - self._stepped_at
        waits = self._unwritten.text or self._keeping.why or self._unplaced.text
        status = "waiting" if waits else "unread" if self._unread.text else "ok"
        return {
            "status": "stalled" if age_s > _STALLED_S else status,
            "why": waits or self._unread.text,
            "last_step_s": round(age_s, 3),
            "held_batches": self._holds_any(),
            "apart_batches": len(self._apart.hold.records),
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
            "held_bytes": sum(hold.size_bytes for hold in self._holds()),
            "apart_batches": len(self._apart.hold.records),
            "given_back_partitions_total": counters.given_back,
            "partitions": len(self._placed),
            **lag_figures(self._lag),
            **self._keeping.metrics(),
        }

    def _idle_s(self) -> float:
        """How long to wait for records: not past the time when something else is to be done."""
        if self._writes:
            return _GLANCE_S
        if self._waiting.records:
            due_s = max(self._due, self._backoff.due_at) - self._clock.monotonic()
            return min(_PATIENCE_S, max(_GLANCE_S, due_s))
        return _PATIENCE_S

    def _holds(self) -> tuple[Hold, ...]:
        return self._waiting, self._apart.hold, *(write.hold for write in self._writes)

    def _held(self) -> Iterator[Record]:
        return chain(self._waiting.records, self._apart.hold.records, *(write.kept() for write in self._writes))

    def _holds_any(self) -> int:
        return sum(len(hold.records) for hold in self._holds())

    def _has_a_lane(self) -> bool:
        return len(self._writes) < self._sink.lanes and not any(write.apart for write in self._writes)

    def _is_full(self) -> bool:
        return self._waiting.size_bytes >= self._flush_bytes

    def _read(self, timeout_s: float) -> list[Record]:
        """What this returns is taken, always: the reader has moved past it."""
        try:
            self._place_new_partitions()
            self._pause_or_resume()
            records = self._reader.poll(max(1, self._flush_bytes - self._waiting.size_bytes), timeout_s)
            self._forget_lost_partitions()
            if self._clock.monotonic() >= self._unread_until:  # others may be read between two failures of one topic
                self._unread.note("")
            return self._of_placed(records)
        except Gap as gap:
            if not self._was_settled(gap):
                log.error("%s", gap)
                self.counters.gaps.append(str(gap))
            if gap.tp in self._placed:
                self._go_on_behind(gap)
            return []
        except LastbeatError as error:
            self._unread_until = self._clock.monotonic() + _READ_AGAIN_S
            self._unread.note(str(error))
            return []

    def _go_on_behind(self, gap: Gap) -> None:
        """Reading goes on there. Where a journal begins anew the ledger and the group know it at once; nothing of it is
        read while of the one before something is held, which is in no journal any more and claims no offset."""
        self._done[gap.tp] = gap.found
        self._uncommitted = True
        if gap.found < gap.wanted:
            self._keeping.begin_anew(gap.tp, capped({gap.tp: gap.found}, lowest(self._held()))[gap.tp])
            self._anew[gap.tp] = gap.found

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
        """Whether all that is gone had been settled before: then only the sink's own position was behind. The ledger
        knows; what is committed says less, as a group whose commits are lost begins at the oldest record."""
        try:
            kept = self._keeping.position(gap.tp)
            settled = self._reader.committed().get(gap.tp, 0) if kept is None else kept
            return gap.wanted <= gap.found <= max(settled, (self._sink.positions() or {}).get(gap.tp, 0))
        except LastbeatError:
            return False  # who can't be asked has confirmed nothing

    def _pause_or_resume(self) -> None:
        """While there is no room, or the sink is down: polling goes on and brings nothing, nor of new partitions, nor
        while what is held is being tried again, since each try would add to it.
        Else it brings nothing of partitions that are held apart. With nothing to be tried again (it all went to another
        reader) it reads on: else nobody would ever find out that the sink is back."""
        self._anew = {tp: at for tp, at in self._anew.items() if any(hold.of[tp] for hold in self._holds())}
        holds_on = (self._backoff.is_on and (self._waiting.records or self._writes)) or self._keeping.why
        if holds_on or self._is_full():
            wanted = self._reader.assigned()
        else:
            wanted = self._apart.paused(self._clock.monotonic()) | (self._reader.assigned() - self._placed)
            wanted |= self._anew.keys()
            for write in self._writes:
                if write.apart:
                    wanted |= set(write.hold.of)
        if wanted - self._paused:
            self._reader.pause(list(wanted - self._paused))
        if self._paused - wanted:
            self._reader.resume(list(self._paused - wanted))
        self._paused = wanted

    def _place_new_partitions(self) -> None:
        """Begin partitions that came: what the ledger has of them is loaded, and reading goes on from the lower of the
        ledger's position, the sink's (of one commit with its data) and what is committed: that lies in the journal
        itself, and is its beginning where the journal was lost and made anew. Until that can be done nothing is read
        of them."""
        fresh = self._reader.assigned() - self._placed
        if not fresh:
            self._unplaced.note("")
            return
        if self._clock.monotonic() < self._place_at:
            return
        try:
            positions = self._sink.positions()
            starts = self._reader.committed() if positions is not None or self._keeping.kept else {}
            if positions is not None:
                starts = {tp: min(at, starts.get(tp, at)) for tp, at in positions.items()}
            kept, at_end = self._keeping.load(fresh, starts, self._reader)
            for tp in fresh & {*starts, *kept}:
                lower = min(each[tp] for each in (starts, kept) if tp in each)
                if positions is not None or lower != starts.get(tp):
                    self._reader.seek(tp, lower)
        except LastbeatError as error:
            self._place_at = self._clock.monotonic() + _PLACE_AGAIN_S
            self._unplaced.note(str(error))
            return
        self._unplaced.note("")
        self._placed |= fresh
        self._done |= at_end
        log.info("%d partitions came, %d are read here now", len(fresh), len(self._placed))

    def _of_placed(self, records: list[Record]) -> list[Record]:
        """Without those of partitions that came in this very moment: these are read from where they are begun."""
        firsts: dict[TopicPartition, int] = {}
        for record in records:
            if record.tp not in self._placed:
                firsts.setdefault(record.tp, record.offset)
        for tp, offset in firsts.items():
            self._reader.seek(tp, offset)
        return [record for record in records if record.tp not in firsts] if firsts else records

    def _forget_lost_partitions(self) -> None:
        """What another reader of the group owns by now is its to write and to commit: it reads it all again."""
        lost = self._placed - self._reader.assigned()
        if not lost:
            return
        self._placed -= lost
        log.info("%d partitions went to another reader, %d are read here now", len(lost), len(self._placed))
        self._waiting = self._waiting.without(lost)
        self._apart.forget(lost)
        for write in self._writes:
            write.gone.update(lost)
        self._keeping.forget(lost)
        self._done = {tp: at for tp, at in self._done.items() if tp not in lost}

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            if _CANARY in record.header:
                if not any(hold.of[record.tp] for hold in self._holds()):
                    self._done[record.tp] = record.next_offset
                continue
            if not self._waiting.records:
                self._due = self._clock.monotonic() + self._flush_s
            self._waiting.add(record)

    def _begin(self, *, apart: bool = False) -> None:
        """Write what waits, or what is held apart: not both at once, so that neither has to wait for the other."""
        if apart:
            hold, self._apart.hold = self._apart.hold, Hold()
        else:
            hold, self._waiting = self._waiting, Hold()
        self._writes.append(Write(self._writer.submit(self._sink.write, hold.records), hold, apart))

    def _settle(self, *, wait: bool = False) -> None:
        """Take in what became of the writes that are done; wait for all of them, if so told."""
        for write in [write for write in self._writes if wait or write.future.done()]:
            self._writes.remove(write)
            self._settle_one(write)

    def _settle_one(self, write: Write) -> None:
        """If all of it failed, it goes before all that waits; what was given back alone is held apart."""
        again = write.kept()
        try:
            outcomes = write.future.result()
        except LastbeatError as error:
            if write.apart:  # whether that is everybody's trouble, the next write of others will show
                log.warning("%d batches are held apart still: %s", len(again), error)
                self._apart.failed(again, self._clock.monotonic() + LONGEST_S)
            else:
                self._back_off(error)
                self._waiting = Hold((*again, *self._waiting.records))
            return
        self._backoff.went_well()
        self._unwritten.note("")
        settled = zip(write.hold.records, outcomes, strict=True)
        left = [record for record, outcome in settled if outcome.retry and record.tp not in write.gone]
        # What was read behind them meanwhile stays behind them: a sink's position must not pass what it gave back.
        tps = {record.tp for record in left}
        left += [record for record in self._waiting.records if record.tp in tps]
        self._waiting = self._waiting.without(tps)
        self._apart.take(left, self._clock.monotonic(), tried=write.apart)
        self._account([outcome for outcome in outcomes if outcome.record.tp not in write.gone])
        self._give_back()

    def _give_back(self) -> None:
        """What is too much to be held apart leaves the memory, a whole partition at once, and is read again: from the
        lowest that isn't settled, writes under way included."""
        for tp, held_at in self._apart.overflow(self._waiting, self._clock.monotonic(), self._anew).items():
            under_way = [record.offset for write in self._writes for record in write.kept() if record.tp == tp]
            offset = min((held_at, *under_way))
            log.warning("%s/%d: too much of it can't be stored now; it is read again later from %d", *tp, offset)
            self._waiting = self._waiting.without({tp})
            self._done.pop(tp, None)
            for write in self._writes:
                write.gone.add(tp)
            self._reader.seek(tp, offset)
            self.counters.given_back += 1

    def _back_off(self, error: LastbeatError) -> None:
        if not self._backoff.is_on:
            self.counters.pauses += 1
        self._backoff.failed(error)
        self._unwritten.note(str(error))

    def _account(self, outcomes: Sequence[Outcome]) -> None:
        """Count, and account for what is settled; it is to be committed."""
        for outcome in outcomes:
            record = outcome.record
            if outcome.retry:
                continue
            reached = max(record.next_offset, self._done.get(record.tp, 0))
            self._done[record.tp] = self._anew.get(record.tp, reached)
            self.counters.batches += 1
            self.counters.stored += outcome.stored
            self.counters.duplicate += outcome.duplicate
            self.counters.dead += outcome.dead
        self._keeping.settle(outcomes)
        self._uncommitted = True

    def _commit(self) -> None:
        """Up to the lowest record of each partition that isn't settled. A commit that fails is made up for by the next:
        until then the journal only keeps more than it need. A partition that carries nothing but canaries is committed
        too: it must not hold back the journal's retention."""
        self._committed_at = self._clock.monotonic()
        if not self._done and not self._keeping.why:
            self._uncommitted = False
            return
        positions = capped(self._done, lowest(self._held()))
        if not self._keeping.keep(positions):
            return
        self._uncommitted = False
        try:
            self._reader.commit(positions)
            self._done = {tp: at for tp, at in self._done.items() if at > positions[tp]}
        except LastbeatError as error:
            log.warning("what is settled will be committed later: %s", error)
