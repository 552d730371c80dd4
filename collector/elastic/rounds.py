"""One round of bulk requests: several under way at once, at the pace that Elasticsearch bears."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from collector.settings import ElasticSettings
from shippers.clock import Clock
from shippers.errors import LastbeatError, Unavailable

from .client import NDJSON, Answer, Denied, ElasticClient, quoted
from .job import Job, Request
from .outcomes import FILTER, Fate, Item, read
from .pace import Pace


@dataclass(slots=True)
class Report:
    """What stood in the way: of everything (`error`), or of single indices."""

    error: LastbeatError | None = None
    missing: set[str] = field(default_factory=set)
    blocked: dict[str, str] = field(default_factory=dict)


class Rounds:
    """Sends what is pending of jobs, once, and settles what it can. Several runs may share it and its pace; requests
    have threads of their own, and one more that builds the next body meanwhile."""

    def __init__(self, client: ElasticClient, settings: ElasticSettings, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._pool = ThreadPoolExecutor(settings.in_flight + 1, thread_name_prefix="lastbeat-bulk")
        self._changed = threading.Condition()
        self._sending = 0
        self.pace = Pace.start(settings.request_bytes, settings.in_flight)

    def run(self, jobs: Sequence[Job]) -> Report:
        """One request for each pending event, at most (more only where a whole request must be split)."""
        report = Report()
        todo = deque(requests(jobs, self.pace.size_bytes))
        under_way: dict[Future[tuple[Answer, int, float]], Request] = {}
        while todo or under_way:
            while todo and len(under_way) <= self.pace.in_flight and report.error is None:
                request = todo.popleft()
                if request.index not in report.blocked and request.index not in report.missing:
                    under_way[self._pool.submit(self._perform, request)] = request
            if not under_way:
                if report.error is not None:
                    break
                continue
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                todo.extendleft(self._take(future, under_way.pop(future), report))
        return report

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(wait=True)

    def _perform(self, request: Request) -> tuple[Answer, int, float]:
        body = request.body()
        with self._turn():
            started = self._clock.monotonic()
            answer = self._client.send("POST", f"/{quoted(request.index)}/_bulk?{FILTER}", body, NDJSON)
            return answer, len(body), self._clock.monotonic() - started

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Be one of those that may be under way, whoever's run it is."""
        with self._changed:
            self._changed.wait_for(lambda: self._sending < self.pace.in_flight)
            self._sending += 1
        try:
            yield
        finally:
            with self._changed:
                self._sending -= 1
                self._changed.notify()

    def _set_pace(self, change: Callable[[Pace], Pace]) -> None:
        with self._changed:
            self.pace = change(self.pace)
            self._changed.notify_all()

    def _take(self, future: Future[tuple[Answer, int, float]], request: Request, report: Report) -> Iterable[Request]:
        """Settle what an answer says; the requests that must be sent instead, if it has to be split."""
        try:
            answer, size, took_s = future.result()
            if answer.status == 200:
                items = read(answer.body, request.count)
                self._settle(request, items, size, took_s, report)
                return ()
        except Unavailable as error:
            self._set_pace(Pace.turned_away)
            report.error = error
            return ()
        if answer.status in (400, 413):
            return self._divide(request, answer)
        self._set_pace(Pace.turned_away)
        report.error = self._client.error_of(answer)
        return ()

    def _divide(self, request: Request, answer: Answer) -> Iterable[Request]:
        """A request that is refused as a whole is halved until the one that spoils it stands alone."""
        if request.count > 1:
            return request.halves()
        job, (position,) = request.parts[0]
        _settle_one(job, position, Item(Fate.DEAD, str(self._client.error_of(answer))))
        job.pending = [left for left in job.pending if left != position]
        return ()

    def _settle(self, request: Request, items: list[Item] | None, size: int, took_s: float, report: Report) -> None:
        if items is None:
            self._set_pace(lambda pace: pace.went_well(size, took_s))
            for job, positions in request.parts:
                job.stored += len(positions)
                job.pending = _without(job.pending, positions)
            return
        fates = {item.fate for item in items}
        well = Fate.LATER not in fates
        self._set_pace(lambda pace: pace.went_well(size, took_s) if well else pace.turned_away())
        at = 0
        for job, positions in request.parts:
            part = dict(zip(positions, items[at : at + len(positions)], strict=True))
            at += len(positions)
            settled = {position for position, item in part.items() if _settle_one(job, position, item)}
            job.pending = [position for position in job.pending if position not in settled]
        for item in items:
            if item.fate is Fate.NO_INDEX:
                report.missing.add(request.index)
            elif item.fate is Fate.BLOCKED:
                report.blocked[request.index] = item.why
            elif item.fate is Fate.DENIED:
                report.error = Denied(f"Elasticsearch doesn't let us write to {request.index}: {item.why}")


def requests(jobs: Sequence[Job], size_bytes: int) -> list[Request]:
    """What is pending as requests of about `size_bytes`, each to one index."""
    by_index: dict[str, list[Job]] = {}
    for job in jobs:
        by_index.setdefault(job.index, []).append(job)
    found: list[Request] = []
    for index, its_jobs in by_index.items():
        parts: list[tuple[Job, Sequence[int]]] = []
        size = 0
        for job in its_jobs:
            if parts and size + len(job.record.body) > size_bytes:
                found.append(Request(index, parts))
                parts, size = [], 0
            parts.append((job, job.pending))
            size += len(job.record.body)
        found.append(Request(index, parts))
    return found


def _settle_one(job: Job, position: int, item: Item) -> bool:
    """Count one event's fate. False if it stays pending."""
    if item.fate is Fate.STORED:
        job.stored += 1
    elif item.fate is Fate.DUPLICATE:
        job.duplicate += 1
        job.again.append(position)
    elif item.fate is Fate.DEAD:
        job.bury(position, item.why)
    else:
        return False
    return True


def _without(pending: Sequence[int], settled: Sequence[int]) -> Sequence[int]:
    if pending is settled or len(pending) == len(settled):
        return ()
    gone = set(settled)
    return [position for position in pending if position not in gone]
