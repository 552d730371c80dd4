"""ElasticSink: batches into indices by region and day, each event once.

What can't be stored becomes a dead letter, durable before the outcome says so, and so does what bears the numbers of
other events. What is turned away for now is sent again, and only that. Trouble with one index holds back that index;
trouble with the cluster or the credentials stops everything, loudly. It never opens a line to store it, and never makes
an index for a day that was deleted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from collector.complaint import Complaint
from collector.headers import HeaderReader
from collector.ledger.intervals import IntervalSet
from collector.ports import Outcome, Record, State, TopicPartition
from collector.settings import ElasticSettings
from shippers.batch import Batch
from shippers.clock import Clock
from shippers.errors import BadBatch, LastbeatError

from . import bulk, names, template
from .client import Denied, ElasticClient, ElasticError, quoted
from .contradiction import Contradictions
from .days import DeletedDays
from .dead import ElasticDeadLetters
from .job import Job
from .placement import Placement
from .rounds import Report, Rounds

log = logging.getLogger("lastbeat.elastic")

_BACKOFF_S, _LONGEST_BACKOFF_S = 0.1, 2.0
_INDEX_WAIT_S = 5.0
_PROVABLE = 10_000
_REMEMBERED = 10_000


class ElasticSink:
    """A Sink over one cluster. `state` lists the days that ageing deleted; without it no day ever was.

    Two writes may be under way at once: while one waits for its last answers the other's requests go on, so that
    Elasticsearch never waits for us. What a write could not settle is remembered until the record comes again, so that
    only its unsettled events are sent again and each is counted once. All that is remembered is changed under `_lock`,
    which is never held while events are sent.
    """

    lanes = 2

    def __init__(
        self,
        settings: ElasticSettings,
        clock: Clock,
        state: State | None = None,
        *,
        client: ElasticClient | None = None,
    ) -> None:
        self._settings, self._clock = settings, clock
        self._client = client or ElasticClient(settings)
        self._placement = Placement(self._client, settings, DeletedDays(state))
        self._dead = ElasticDeadLetters(self._client, settings)
        self._rounds = Rounds(self._client, settings, clock)
        self._contradictions = Contradictions(self._client, clock)
        self._lock = threading.Lock()
        self._headers = HeaderReader()
        self._unsettled: dict[tuple[TopicPartition, int], Job] = {}
        self._blocked: dict[str, float] = {}
        self._complaints: dict[str, Complaint] = {}
        self._stuck: set[str] = set()
        self._guarded = False
        self._stop = threading.Event()
        self._denied = False

    def write(self, records: Sequence[Record]) -> list[Outcome]:
        """As the port says. Insists for `patience_s` on what is turned away, then gives it back as `retry`."""
        with self._lock:
            jobs = [self._job(record) for record in records]
        try:
            error = self._settle(jobs)
            outcomes = [job.outcome() for job in jobs]  # of the records as they were given, which remembering strips
        finally:
            with self._lock:
                self._contradictions.pass_over(jobs)
                self._remember(jobs)
        if error is not None and jobs and not any(job.settled for job in jobs):
            raise error
        return outcomes

    def positions(self) -> Mapping[TopicPartition, int] | None:
        """None: identities make a second write harmless, so the reader's committed offsets rule."""
        return None

    def close(self) -> None:
        self._stop.set()
        self._rounds.close()
        self._client.close()

    @property
    def blocked(self) -> tuple[str, ...]:
        """The indices whose batches are held back now."""
        return tuple(sorted(self._blocked))

    def _guard(self) -> None:
        """The templates keep Elasticsearch from making indices by itself; a new cluster is given them."""
        if not self._guarded:
            for name, wanted in template.templates(self._settings).items():
                if not self._client.exists(f"/_index_template/{quoted(name)}"):
                    self._client.ask("PUT", f"/_index_template/{quoted(name)}", wanted)
                    log.info("index template %s was missing: made it", name)
            self._guarded = True

    def _job(self, record: Record) -> Job:
        known = self._unsettled.pop((record.tp, record.offset), None) if self._unsettled else None
        if known is not None and known.record.header == record.header:
            known.resume(record)
            return known
        try:
            header = self._headers.decode(record.header)
        except BadBatch as error:
            job = Job(record, None)
            job.bury_broken(f"{error.code}: {error}")
            return job
        job = Job(record, header)
        if record.refused:
            job.bury_refused()
            return job
        try:
            if header.void is not None:
                Batch(header, record.body).check()
                job.unproven = True
                return job
            timed = bulk.prove(header, record.body)
        except BadBatch as error:
            job.bury_broken(f"{error.code}: {error}")
            return job
        job.pending = range(header.count)
        if not timed:
            untimed = bulk.untimed(job.lines)
            for position in untimed:
                job.bury(position, bulk.NO_TIME)
            job.pending = [position for position in job.pending if position not in set(untimed)]
        return job

    def _remember(self, jobs: Sequence[Job]) -> None:
        """What a job has settled in part, in little memory, until its record comes again."""
        for job in jobs:
            settled = job.settled
            if settled and not self._unsettled:
                continue
            place = job.record.tp, job.record.offset
            self._unsettled.pop(place, None)
            if not settled and job.begun:
                job.park()
                self._unsettled[place] = job
        while len(self._unsettled) > _REMEMBERED:  # those of partitions that left us; if not: counted as duplicates
            del self._unsettled[next(iter(self._unsettled))]

    def _settle(self, jobs: Sequence[Job]) -> LastbeatError | None:
        """Rounds of sending, until all is settled, or patience is at its end. The error, if one stood in the way."""
        until = self._clock.monotonic() + self._settings.patience_s
        backoff_s = _BACKOFF_S
        while True:
            error = self._try(jobs)
            with self._lock:
                self._say(error)
                waiting = {job.index for job in jobs if not job.settled and job.index not in self._blocked}
                if self._stuck or self._complaints:
                    self._unblock({job.index for job in jobs if job.settled})
                if not waiting or isinstance(error, Denied):
                    return error
                if error is None and waiting <= self._stuck:
                    return None  # these have had their patience: the others don't wait for them again
                if self._clock.monotonic() + backoff_s > until:
                    self._stuck |= waiting if error is None else set()
                    return error
            if self._clock.wait(self._stop, backoff_s):
                return error
            backoff_s = min(_LONGEST_BACKOFF_S, backoff_s * 2)

    def _try(self, jobs: Sequence[Job]) -> LastbeatError | None:
        """One round. What stood in the way, if anything did."""
        try:
            with self._lock:
                self._guard()
                self._place(jobs)
                ready = [job for job in jobs if job.pending and job.index not in self._blocked]
            report = self._rounds.run(ready)
            lying = self._contradictions.among(jobs) if report.error is None else ()
            with self._lock:
                self._heed(report)
                for job in lying:
                    job.bury_used()
                self._bury(jobs)
                unproven = [job for job in jobs if job.unproven]
                for job in unproven:
                    self._prove(job)
                self._bury(unproven)
            return report.error
        except LastbeatError as error:
            return error

    def _place(self, jobs: Sequence[Job]) -> None:
        now = self._clock.monotonic()
        for index in [index for index, until in self._blocked.items() if until <= now]:
            del self._blocked[index]
        for job in jobs:
            if not job.pending or job.header is None:
                continue
            try:
                place = self._placement.of(job.header, job.record.appended_at)
            except ElasticError as error:
                job.index = job.index or f"{job.header.dataset}/{job.header.region}/{job.header.day}"
                self._block(job.index, str(error))
                continue
            if place is None:
                self._age(job)
            else:
                job.index = place

    def _age(self, job: Job) -> None:
        reason = "aged: its day is deleted"
        if job.header is not None and len(job.pending) == job.header.count:
            job.bury_late(reason)
            return
        for position in job.pending:
            job.bury(position, reason)
        job.pending = ()

    def _prove(self, job: Job) -> None:
        """A void batch takes nothing back: of its numbers, those that are here count as what they are."""
        header = job.header
        assert header is not None
        index = names.index_of(self._settings.prefix, header)
        stored, dead = self._dead.accounted(header, index) if header.count <= _PROVABLE else (IntervalSet(),) * 2
        for numbers in stored.missing(header.first, header.last):
            for void in dead.missing(*numbers):
                job.bury_void(void)
        job.lost += tuple(dead)
        job.duplicate += len(stored) + len(dead)
        job.unproven = False

    def _heed(self, report: Report) -> None:
        for index in report.missing:
            self._placement.forget(index)
        for index, why in report.blocked.items():
            self._block(index, why)

    def _bury(self, jobs: Sequence[Job]) -> None:
        if not any(job.letters for job in jobs):
            return
        letters = [letter for job in jobs for letter in job.letters]
        replayed = {id(letter) for job in jobs if job.header and job.header.replay for letter in job.letters}
        fresh = iter(self._dead.keep(letters, lambda letter: id(letter) in replayed))
        for job in jobs:
            if job.letters:
                job.buried(list(islice(fresh, len(job.letters))))

    def _unblock(self, indices: set[str]) -> None:
        """These took something: they are like all others again."""
        self._stuck -= indices
        for index in (indices & self._complaints.keys()) - self._blocked.keys():
            self._complaints.pop(index).note("")

    def _block(self, index: str, why: str) -> None:
        if index not in self._complaints:
            words = f"index {index} takes no events, its batches wait (others go on)"
            self._complaints[index] = Complaint(log, self._clock, words, f"index {index} takes events again")
        self._complaints[index].note(why)
        self._blocked[index] = self._clock.monotonic() + _INDEX_WAIT_S

    def _say(self, error: LastbeatError | None) -> None:
        denied = isinstance(error, Denied)
        if denied and not self._denied:
            log.critical("EVERYTHING WAITS, nothing is lost: %s", error)
        elif self._denied and error is None:
            log.warning("Elasticsearch lets us write again")
        self._denied = denied if error is not None else False

    def stats(self) -> dict[str, Any]:
        """The present pace, for metrics and for people."""
        pace = self._rounds.pace
        return {
            "request_bytes": pace.size_bytes,
            "in_flight": pace.in_flight,
            "blocked": list(self.blocked),
            "duplicates_not_compared": self._contradictions.left_out,
        }
