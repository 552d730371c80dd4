"""The watch: reads beats, judges who fell silent, tells people. A thin shell around pure decisions.

`step` does one round and returns quickly; `run` repeats it, delivers notices and asks the dead man's switch, until it
is told to stop. The watch never writes to the journal and never judges its own canaries.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from collector.figures import labelled, lag_figures
from collector.ports import Gap, Reader, State, TopicPartition
from shippers.clock import Clock
from shippers.errors import Unavailable

from .blindness import KEY as BLIND_KEY
from .blindness import Blindness
from .book import Book
from .courier import Courier
from .incidents import Severity
from .judge import Judge
from .keeper import Keeper
from .losses import Losses
from .notify.kinds import build
from .notify.message import Notifier
from .refusals import Refusals
from .roster import Roster
from .settings import AlertSettings
from .transitions import Draft

log = logging.getLogger("lastbeat.alerts.watch")

POLL_BYTES = 4 * 1024 * 1024
READ_BUDGET_S = 0.5
"""A round reads for this long at most; what is left is lag, and nobody is judged until it is read."""
POLL_S = 0.05
"""How long a poll waits for what is known to be there."""
STALLED_S = 10.0
FORGET_EVERY_S = 600.0


class Watch:
    """One watch over all regions of a journal. `reader` reads the heartbeat topics and belongs to it alone. `audit` is
    another way to the same State, for what may take long; `state`, if there is none."""

    def __init__(
        self,
        reader: Reader,
        state: State,
        settings: AlertSettings,
        clock: Clock,
        notifiers: Mapping[str, Notifier] | None = None,
        audit: State | None = None,
    ) -> None:
        self._reader = reader
        self._settings = settings
        self._clock = clock
        self.roster = Roster(settings)
        self.book = Book(state, settings, clock)
        self._judge = Judge(self.roster, self.book, settings)
        self._blindness = Blindness(self.roster, self.book, settings.blind_after_s)
        self._keeper = Keeper(state, self.roster, self.book, self._judge, clock, settings.flush_s)
        self.courier = Courier(self.book, build(settings.notifiers) if notifiers is None else notifiers, clock)
        self.losses = Losses(audit or state, self.book, clock)
        self._refusals: Refusals | None = None
        self._stepped_at = clock.monotonic()
        self._forget_at = clock.monotonic() + FORGET_EVERY_S
        self._journal_error = ""
        self._lag: dict[TopicPartition, int] = {}
        self.gaps = 0
        self.steps = 0
        self.failed_steps = 0

    def step(self) -> None:
        """One round: read, judge, keep. Called by one thread, a few times a second."""
        if self._refusals is None:
            self._refusals = self._start()
        now = self._clock.monotonic()
        elapsed_s, self._stepped_at = now - self._stepped_at, now
        self._journal_error = self._read()
        turned = self._blindness.step(elapsed_s, self._journal_error)
        if turned:
            self.roster.changed.update(each.instance for each in self.roster.processes())
        self._judge.step()
        self._refusals.step()
        self.losses.step()
        self.book.tend()
        self._keeper.step()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_S
            self.roster.forget()
        self.steps += 1

    def deliver(self) -> None:
        """Bring what is due to every notifier, one after the other. `schedule` does this with a thread for each."""
        for name in self.courier.names:
            self.courier.step(name)

    def close(self) -> None:
        """Keep everything and let go of the notifiers. Reader and state belong to the caller."""
        if self._refusals is not None:
            self._keeper.flush()
        self.courier.close()

    # --- what others ask ---

    def sees(self) -> bool:
        """Whether the watch is awake, up to date, and not blind."""
        return bool(self.health()["status"] == "ok")

    def health(self) -> dict[str, Any]:
        """`status` (ok, starting, blind, behind, stalled or unread) and what it rests on. From any thread."""
        behind = sum(not each.caught_up for each in list(self.roster.partitions.values()))
        age_s = self._clock.monotonic() - self._stepped_at
        blind = self.book.find(BLIND_KEY)
        status = "ok"
        if self.steps == 0:
            status = "starting"
        elif age_s > STALLED_S:
            status = "stalled"
        elif self._journal_error:
            status = "unread"
        elif blind is not None:
            status = "blind"
        elif behind:
            status = "behind"
        return {
            "status": status,
            "why": self._journal_error or (blind.summary if blind is not None else ""),
            "last_step_s": round(age_s, 3),
            "partitions_behind": behind,
            "services": len(self.roster.services),
            "instances": len(self.roster.instances),
            "open_incidents": len(self.book.opens()),
            "outbox": self.book.in_outbox,
        }

    def metrics(self) -> dict[str, float]:
        """Counters and gauges by name, for /metrics. From any thread."""
        return {
            **{f"{name}_total": float(number) for name, number in dict(self.roster.counters).items()},
            "steps_total": self.steps,
            "failed_steps_total": self.failed_steps,
            "gaps_total": self.gaps,
            "notices_delivered_total": self.courier.delivered,
            "notices_failed_total": self.courier.failed,
            "state_failures_total": self._keeper.failures,
            "state_conflicts_total": self.book.conflicts,
            "outbox_incidents": self.book.in_outbox,
            "services": len(self.roster.services),
            "instances": len(self.roster.instances),
            "open_incidents": len(self.book.opens()),
            "held_processes": self._judge.held,
            "portion_seconds": self._keeper.portion_took_s,
            **lag_figures(self._lag),
            **self._sight(),
        }

    def _sight(self) -> dict[str, float]:
        """For each region and ingress: whether the watch sees there, and how long no canary has come."""
        found: dict[str, float] = {}
        for path in list(self.roster.paths.values()):
            place = {"region": path.partition.region, "ingress": path.ingress}
            sees, unseen = labelled("sees", **place), labelled("unseen_seconds", **place)
            found[sees] = min(float(not path.blind), found.get(sees, 1.0))  # of several partitions, the worst
            found[unseen] = max(path.sight.missed_s, found.get(unseen, 0.0))
        return found

    # --- inside ---

    def _start(self) -> Refusals:
        for tp, offset in self._keeper.restore().items():
            self._reader.seek(tp, offset)
        self.book.load()
        return Refusals(self.roster, self.book)

    def _read(self) -> str:
        """Read to the end as it stands now, or as far as READ_BUDGET_S goes; why not, if the journal can't be read.

        What comes in meanwhile is the next round's: a partition on which something always comes in is read to its end
        all the same.
        """
        until = self._clock.monotonic() + READ_BUDGET_S
        try:
            lag = self._lag = dict(self._reader.lag())
            behind = {tp: left for tp, left in lag.items() if left}
            wait_s = 0.0  # one look is due in any case: it is how new partitions come
            while self._read_some(behind, wait_s) and behind and self._clock.monotonic() < until:
                wait_s = POLL_S
            if behind:  # numbers that no record has are no backlog
                behind = {tp: left for tp, left in self._reader.lag().items() if left}
        except Unavailable as error:
            for partition in self.roster.partitions.values():
                partition.caught_up = False
            return str(error)
        for tp, partition in self.roster.partitions.items():
            partition.caught_up = tp not in behind
        return ""

    def _read_some(self, behind: dict[TopicPartition, int], wait_s: float) -> bool:
        """Whether there may be more. What is read is taken off `behind`; who has come only just now is put there."""
        try:
            records = self._reader.poll(POLL_BYTES, wait_s)
        except Gap as gap:
            self._tell_gap(gap)
            behind.pop(gap.tp, None)
            behind.update((tp, left) for tp, left in self._reader.lag().items() if left)
            return True
        for record in records:
            tp = record.tp
            self.roster.apply(record)
            left = behind.get(tp, 0 if tp in self._lag else 1) - (record.next_offset - record.offset)
            if left > 0 or tp not in self._lag:
                behind[tp] = max(1, left)
            else:
                behind.pop(tp, None)
        return bool(records) or bool(behind and not wait_s)

    def _tell_gap(self, gap: Gap) -> None:
        """Beats were gone before they were read. The canaries went with them, so sight has a gap too; this tells it."""
        self.gaps += 1
        log.error("%s", gap)
        key = f"gap/{gap.tp.topic}/{gap.tp.partition}"
        region = self.roster.partition(gap.tp).region
        now = self._clock.time()
        evidence = {"wanted": gap.wanted, "found": gap.found}
        summary = f"beats of {region} were deleted before the watch read them"
        self.book.open(Draft("gap", key, Severity.WARNING, summary, str(gap), now, region=region, evidence=evidence))
        self.book.resolve(key, "reading went on behind the gap; every process there had time to be heard again")
