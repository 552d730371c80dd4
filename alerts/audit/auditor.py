"""The auditor: reads every beat, asks the ledger, judges, and keeps findings and statement for all others to read.

`step` is one pass and does little; it never reads an event, never writes to the journal, and never raises an alarm
itself: the watch makes incidents of its findings. Of several on one State, one works.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from alerts.beat import BadBeat, Beat, read
from collector.complaint import Complaint
from collector.figures import labelled
from collector.ledger.intervals import Interval
from collector.ports import Gap, Reader, State, TopicPartition
from shippers.clock import Clock
from shippers.errors import LastbeatError

from .accounts import Accounts
from .assess import Assessor
from .barrier import Barriers
from .deleted import deleted
from .findings import Finding
from .keeping import load, save, save_findings
from .lease import Lease
from .said import Roll
from .settings import AuditSettings
from .statement import Difference, Statement, Writer, read_head
from .summing import Counts, work_out
from .unheard import Unheard

log = logging.getLogger("lastbeat.audit")

POLL_BYTES = 4 * 1024 * 1024
READ_BUDGET_S = 2.0
POLL_S = 0.05
SAVE_S = 30.0
"""What was read since is read again by whoever starts anew."""
SELDOM = 50_000, 20, 50
"""For the garbage collector of a process that is an auditor's: with very many processes on its roll it would look
through them for a quarter of its time, and has no cycles to find there."""
FORGET_S = 600.0
STALLED_S = 60.0
JUDGE_SHARE = 5
COST_SHARE = 10
"""What took t is not done again before 10 t: with many processes the statement is written less often. Judging, which
must be in time, not before JUDGE_SHARE t."""

Sources = Mapping[str, tuple[Interval, ...]]
"""Which numbers were sent again from where."""
Recover = Callable[[Finding], tuple[Sources, str]]
"""Tries to get back what a finding lacks; what was sent again from where, and the outcome in words."""
Count = Callable[[Sequence[str]], tuple[tuple[str, ...], tuple[str, ...], tuple[Difference, ...]]]
"""Counts the stores of the hot days, and of these days besides, against the ledger: the days, the stores, and every
difference."""


class Auditor:
    """`beats` reads the heartbeat topics, `data` is asked for the ends of all others; both belong to it alone. One
    thread calls `step`, others `recover_step` and `count_step`, which take long."""

    def __init__(
        self,
        beats: Reader,
        data: Reader,
        accounts: Accounts,
        state: State,
        settings: AuditSettings,
        clock: Clock,
        me: str,
        recover: Recover | None = None,
        count: Count | None = None,
    ) -> None:
        self._beats, self._data, self._accounts, self._state = beats, data, accounts, state
        self._settings, self._clock = settings, clock
        self._recover, self._count = recover, count
        self._lease = Lease(state, clock, me)
        self._lock = threading.Lock()
        self._trouble = Complaint(
            log, clock, "nothing can be audited now, this goes on by itself", "it is audited again"
        )
        self._statement: Statement | None = None
        self._stepped_at = clock.monotonic()
        self.passes = self.gaps = self.refused = self.failed_passes = 0
        self._begin()

    def _begin(self) -> None:
        """As on the first day: what there is to know is read again."""
        self.roll, self.barriers = Roll(), Barriers()
        self.assessor = Assessor(self.roll, self._accounts, self.barriers)
        self._unheard = Unheard(self.roll, self._accounts)
        self._writer = Writer(self._state)
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._loaded = False
        self._round = 0
        self._as_of: float | None = None  # when all beats were read last: a statement speaks of nothing later
        self._under_way: dict[str, int] = {}  # what was sent again, and the round whose ends lie behind it
        self._tried: deque[tuple[str, Sources, str]] = deque()
        self._retry_at: dict[str, float] = {}
        self._deleted: dict[str, Finding] = {}  # what stores were counted to lack, by the last count
        self._uncounted: set[str] = set()  # of these, what came since, or was on its way while it was counted
        self._counts = Counts()
        self._judge_at = self._save_at = self._state_at = self._forget_at = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Pass after pass until `stop` is set. Paced by the monotonic clock: the wall's may jump."""
        while not self._clock.wait(stop, self._settings.every_s):
            try:
                self.step()
            except Exception:
                # A fault of ours in one pass must not end the audit; it is said, counted, and tried again.
                self.failed_passes += 1
                log.exception("a pass of the audit failed")

    def step(self) -> None:
        """One pass. Never raises for a journal or a State that is away: the next one goes on."""
        try:
            if self._lease.step():
                self._pass()
                self.passes += 1
            elif self._loaded:
                log.warning("%s audits from now on, this one waits", self._lease.holder or "another one")
                self._begin()
        except LastbeatError as error:
            self._trouble.note(str(error))
        else:
            self._trouble.note("")
        self._stepped_at = self._clock.monotonic()

    def _pass(self) -> None:
        if not self._loaded:
            self._load()
        self._round += 1
        seen, now = self._clock.monotonic(), self._clock.time()
        if self._read():
            self._as_of = now
        # In this order: what the ledger has is older than the ends, so that an end is only passed by what came later.
        self._accounts.refresh()
        self._ends = self._data.ends()
        self.barriers.add(self._round, self._ends)
        with self._lock:
            self._take_tries()
            self._see_what_arrived()
            if (began := self._clock.monotonic()) >= self._judge_at:
                self.assessor.step(self._round, seen, now)
                self._judge_at = began + JUDGE_SHARE * (self._clock.monotonic() - began)
        self._keep(now)

    def _load(self) -> None:
        self._accounts.refresh()
        self._positions = load(self._state, self.roll, self.assessor, self._clock.monotonic())
        self.assessor.resume()
        if (head := read_head(self._state)) is not None:
            self._counts = Counts(
                head.counted_at, head.counted_days, head.counted_sinks, head.differences, head.trouble
            )
        for tp, offset in self._positions.items():
            self._beats.seek(tp, offset)
        self.assessor.changed |= self.assessor.findings.keys()
        save_findings(self._state, self.assessor)  # whatever the one before may yet have written of them
        # What was sent again before this start may still be under way.
        self._under_way = {key: 1 for key, each in self.assessor.findings.items() if each.sources}
        self._loaded = True
        log.info("audits %d processes, from where it was", len(self.roll.boots))

    def _read(self) -> bool:
        """Read the beats that are there by now, or for as long as READ_BUDGET_S: then False, and the rest is the next
        pass's. There is no end to those that come meanwhile."""
        until, ends = self._clock.monotonic() + READ_BUDGET_S, self._beats.ends()
        wait_s = 0.0
        while self._clock.monotonic() < until:
            try:
                records = self._beats.poll(POLL_BYTES, wait_s)
            except Gap as gap:
                self._tell(gap)
                continue
            if not records and not any(self._beats.lag().values()):
                return True
            wait_s = POLL_S
            for record in records:
                self._positions[record.tp] = record.next_offset
                self.roll.pass_by(record.tp, record.appended_at)
                try:
                    beat = read(record)
                except BadBeat:
                    self.refused += 1
                    continue
                if isinstance(beat, Beat):
                    seen = self._clock.monotonic()
                    boot = self.roll.apply(beat, record.tp, record.offset, self._round, seen)
                    if boot is not None:
                        self.assessor.hear(boot)
            if all(self._positions.get(tp, 0) >= end for tp, end in ends.items()):
                return True
        return False

    def _tell(self, gap: Gap) -> None:
        self.gaps += 1
        log.error("%s: of processes that are first heard of behind it, only what comes from now on is audited", gap)
        self.roll.miss(gap.tp)
        self._positions[gap.tp] = gap.found

    # --- keeping ---

    def _keep(self, now: float) -> None:
        """Write what is due. Whoever was held up for so long that another one took over writes nothing more."""
        began = self._clock.monotonic()
        if began >= self._forget_at:
            self._forget_at = began + FORGET_S
            self.assessor.forget(now)
        if self.assessor.changed and self._lease.mine:
            self._say_changes()
            save_findings(self._state, self.assessor)
            self._state_at = float("-inf")  # whoever reads the findings finds the same in the statement
        if self._as_of is not None and (began >= self._state_at or self.assessor.news) and self._lease.mine:
            self.assessor.news = False
            unsaid = self._unheard.step(self.assessor.sinks, began, now)
            self._statement = work_out(
                self.roll,
                self._accounts,
                self.assessor,
                self._ends,
                self._as_of,
                counts=self._counts,
                count_every_s=self._settings.count_every_s if self._count is not None else 0.0,
                unsaid=unsaid,
            )
            self._writer.write(self._statement)
            self._state_at = self._later(began, self._settings.statement_s)
        began = self._clock.monotonic()
        if began >= self._save_at and self._lease.mine:
            save(self._state, self.roll, self.assessor, self._positions)
            self._save_at = self._later(began, SAVE_S)

    def _later(self, began: float, at_least_s: float) -> float:
        ended = self._clock.monotonic()
        return ended + max(at_least_s, COST_SHARE * (ended - began))

    def _say_changes(self) -> None:
        for key in self.assessor.changed:
            finding = self.assessor.findings.get(key)
            if finding is None:
                continue
            if finding.given_up:
                log.error("%s: given up, %d events are lost: %s", finding.sink, finding.missing, finding.words)
            elif finding.ended_at is not None:
                log.warning("%s: nothing is missing any more of %s", finding.sink, finding.words)
            elif not finding.tries:
                log.error("%s lacks %d events: %s", finding.sink, finding.missing, finding.words)

    def close(self) -> None:
        """Keep everything, and let another one work. Readers and state belong to the caller."""
        try:
            if self._loaded and self._lease.mine:
                save(self._state, self.roll, self.assessor, self._positions)
                self._lease.release()
        except LastbeatError as error:
            log.warning("what was read last could not be kept, it is read again: %s", error)

    # --- what takes long ---

    def recover_step(self) -> None:
        """Try to get back what one finding lacks, if one is due. On a thread of its own."""
        if self._recover is None or not self._lease.mine:
            return
        now = self._clock.monotonic()
        with self._lock:
            due = [
                (key, finding)
                for key, finding in self._to_recover()
                if self._retry_at.get(key, now) <= now and key not in self._under_way
            ]
        if not due:
            return
        key, finding = min(due, key=lambda each: (each[1].tries, each[1].opened_at))
        sources: Sources = {}
        try:
            sources, words = self._recover(finding)
        except LastbeatError as error:
            words = f"it can't be asked for now: {error}"
        with self._lock:
            self._retry_at[key] = self._clock.monotonic() + finding.tried_again({}, "").retry_after_s()
            self._tried.append((key, sources, words))
            if any(sources.values()):  # the ends of a pass that begins after this lie behind what was sent
                self._under_way[key] = self._round + 1
                self._uncounted.add(key)

    def _to_recover(self) -> Iterator[tuple[str, Finding]]:
        """All that some sink lacks, by its key. What came back to a store is known to be there once it is counted."""
        findings = self.assessor.findings
        yield from ((key, each) for key, each in findings.items() if each.ended_at is None)
        for key, each in self._deleted.items():
            known = findings.get(each.key)
            if key not in self._uncounted and (known is None or known.ended_at is not None):
                yield key, each

    def _take_tries(self) -> None:
        while self._tried:
            key, sources, words = self._tried.popleft()
            if (finding := self.assessor.findings.get(key)) is not None:
                self.assessor.findings[key] = finding.tried_again(sources, words)
                self.assessor.changed.add(key)
            elif (finding := self._deleted.get(key)) is not None:
                self._deleted[key] = finding.tried_again(sources, words)
                log.warning("%s: %s: %s", finding.sink, finding.stream, words)

    def _see_what_arrived(self) -> None:
        """What was sent again is not sent once more before its sink was read past it: then it is there, or lost."""
        for key, round_ in list(self._under_way.items()):
            finding = self.assessor.findings.get(key) or self._deleted.get(key)
            if finding is not None and finding.ended_at is None:
                topic = f"lastbeat.{finding.region}.{finding.dataset}"
                if self.assessor.passed(finding.sink, topic) < round_:
                    continue
            del self._under_way[key]

    def count_step(self) -> None:
        """Count the hot days' stores against the ledger, and every day again of which something was lacking: no day
        grows so old that it is forgotten. On a thread of its own, every now and then."""
        if self._count is None or not self._works():
            return
        with self._lock:
            on_its_way = set(self._under_way)
        again = sorted({each.day for each in self._counts.differences if each.lacking})
        try:
            days, sinks, differences = self._count(again)
        except LastbeatError as error:
            log.warning("the stores can't be counted now, they are the next time: %s", error)
            if self._works():
                self._counts = self._counts._replace(trouble=str(error))
            return
        if not self._works():
            return  # another one counts now
        for each in differences:
            log.error("%s: %s", each.stream, each.words)
        now = self._clock.time()
        with self._lock:
            self._deleted = deleted(differences, self._deleted, now)
            self._uncounted = self._deleted.keys() & (on_its_way | self._under_way.keys())
        self._counts = Counts(now, days, sinks, differences)
        self._state_at = float("-inf")

    def _works(self) -> bool:
        return self._lease.mine and self._loaded

    # --- what others ask ---

    def health(self) -> dict[str, Any]:
        """`status` (ok, standby, waiting or stalled) and what it rests on. From any thread."""
        age_s = self._clock.monotonic() - self._stepped_at
        status = "waiting" if self._trouble.text else "ok" if self._lease.mine else "standby"
        return {
            "status": "stalled" if age_s > STALLED_S else status,
            "why": self._trouble.text or ("" if self._lease.mine else f"{self._lease.holder} works"),
            "last_step_s": round(age_s, 3),
            "processes": len(self.roll.boots),
            "open_findings": sum(each.ended_at is None for each in list(self.assessor.findings.values())),
        }

    def metrics(self) -> dict[str, float]:
        """The statement's sums and the auditor's own counters. From any thread."""
        statement = self._statement
        found: dict[str, float] = {
            "passes_total": self.passes,
            "failed_passes_total": self.failed_passes,
            "gaps_total": self.gaps,
            "refused_beats_total": self.refused,
            "processes": len(self.roll.boots),
            "open_findings": sum(each.ended_at is None for each in list(self.assessor.findings.values())),
            "unreadable_rows": len(self.assessor.unreadable),
        }
        if statement is None:
            return found
        found["liars"] = len(statement.head.liars)
        found["store_differences"] = len(statement.head.differences)
        for sink in statement.sinks:
            line = statement.of(sink)
            counts = {"emitted": line.emitted, "stored": line.stored, "dead": line.dead, "dropped": line.drops,
                      "in_flight": line.flight, "tail": line.tail, "unaccounted": line.unaccounted}  # fmt: skip
            found |= {labelled("events", sink=sink, outcome=name): float(n) for name, n in counts.items()}
            found[labelled("partitions_behind", sink=sink)] = statement.head.behind.get(sink, 0)
        return found
