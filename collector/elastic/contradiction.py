"""Whether what was refused as a duplicate is what is there: two processes with one boot id number alike.

A few of a write's duplicates are held against the documents of their numbers, as they stand. It looks only where there
are any, and doesn't insist: without an answer nothing is said. It calls nothing a lie without having seen both, and
never writes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from shippers.clock import Clock
from shippers.errors import LastbeatError, Unavailable

from .client import ElasticClient, documents_of
from .job import Job

log = logging.getLogger("lastbeat.elastic")

MOST = 500
"""So many documents are looked at for a write, however many duplicates it had."""
_PAGE = 100
_PATIENCE_S = 2.0
_MICROSECOND = timedelta(microseconds=1)
_NOT_ITS_OWN = frozenset({"service.name", "service.node.name", "cloud.region"})
"""What a copy that was made anew from the lake has from the batch's header, and not from the line."""


class Contradictions:
    """Looks behind duplicates. From several threads, each with jobs of its own; `left_out` counts the duplicates that
    could not be looked at, and is changed by `pass_over` alone."""

    def __init__(self, client: ElasticClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self.left_out = 0

    def among(self, jobs: Sequence[Job]) -> list[Job]:
        """Those whose numbers hold other events than theirs, of those that have nothing pending. Who was looked at is
        not looked at again. Takes a few seconds at most, and raises nothing."""
        suspects = [job for job in jobs if job.again and not job.pending and _is_first_hand(job)]
        if not suspects:
            return []
        asked = [(job, position) for job, some in spread(suspects, MOST) for position in some]
        until = self._clock.monotonic() + _PATIENCE_S
        lying: dict[int, Job] = {}
        open_: set[int] = set()
        for start in range(0, len(asked), _PAGE):
            page = asked[start : start + _PAGE]
            try:
                if self._clock.monotonic() > until:
                    raise Unavailable(f"no answer within {_PATIENCE_S} s")
                documents = self._documents(page)
            except LastbeatError as error:
                log.debug("%d duplicates aren't held against what is stored: %s", len(asked) - start, error)
                open_ = {id(job) for job, _ in asked[start:]}
                break
            for (job, position), document in zip(page, documents, strict=True):
                if document is not None and id(job) not in lying and contradicts(job.lines[position], document):
                    lying[id(job)] = job
        for job in suspects:
            if id(job) not in open_ and id(job) not in lying:
                job.again = []
        return list(lying.values())

    def pass_over(self, jobs: Sequence[Job]) -> None:
        """These are given back: what was not looked at stays a duplicate."""
        for job in jobs:
            if job.again and job.settled:
                self.left_out += len(job.again) if _is_first_hand(job) else 0
                job.again = []

    def _documents(self, asked: Sequence[tuple[Job, int]]) -> list[Mapping[str, Any] | None]:
        """What is stored under these numbers, in their order; None for what is not there any more."""
        docs = [{"_index": job.index, "_id": _id(job, position)} for job, position in asked]
        answer = self._client.send("POST", "/_mget", json.dumps({"docs": docs}).encode(), timeout_s=_PATIENCE_S)
        try:
            found = documents_of(self._client.read(answer))
            if [one["_id"] for one in found] != [one["_id"] for one in docs]:
                raise Unavailable("Elasticsearch answered for other documents than it was asked for")
            sources = [one.get("_source") if one.get("found") else None for one in found]
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Unavailable(f"Elasticsearch's documents can't be read ({type(error).__name__})") from None
        return [source if isinstance(source, dict) else None for source in sources]


def spread(jobs: Sequence[Job], most: int) -> list[tuple[Job, Sequence[int]]]:
    """Which of the jobs' duplicates to look at: about as many of each, the first, the last and evenly between. Where
    there are more jobs than `most`, one each of as many, as evenly."""
    chosen = [jobs[at] for at in _evenly(len(jobs), most)]
    left, found = most, list[tuple[Job, Sequence[int]]]()
    for done, job in enumerate(sorted(chosen, key=lambda job: len(job.again))):
        some = [job.again[at] for at in _evenly(len(job.again), left // (len(chosen) - done))]
        found.append((job, some))
        left -= len(some)
    return found


def contradicts(line: bytes, document: Mapping[str, Any]) -> bool:
    """Whether a line and what is stored under its number can't be the same event.

    They need not be equal: a copy that was got back from the lake lacks what the lake never had, and has times to the
    microsecond. But what both say as a text, when it was, and what was measured, must be the same.
    """
    try:
        sent = json.loads(line)
        if not isinstance(sent, dict) or sent == document:
            return False
        messages = sent.get("message"), document.get("message")
        if None in messages and any(messages):
            return True
        return _differ("", sent, document)
    except (ValueError, RecursionError, OverflowError):  # one of them is nothing that can be looked into
        return False


def _differ(path: str, one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        names = one.keys() & other.keys()
        return any(_differ(f"{path}.{name}" if path else name, one[name], other[name]) for name in names)
    if path == "@timestamp":
        return _are_apart(one, other)
    if isinstance(one, str) and isinstance(other, str):
        return one != other and path not in _NOT_ITS_OWN
    if not path.startswith("measures.") or isinstance(one, bool) or isinstance(other, bool):
        return False
    return isinstance(one, int | float) and isinstance(other, int | float) and float(one) != float(other)


def _are_apart(one: object, other: object) -> bool:
    """Whether two times are more than a rounding apart."""
    try:
        at, stored_at = _time(str(one)), _time(str(other))
    except ValueError:
        return False
    return abs(at - stored_at) > _MICROSECOND


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`: the first, the last, and evenly between."""
    if count <= most:
        return list(range(count))
    return [0] if most == 1 else [at * (count - 1) // (most - 1) for at in range(most)]


def _id(job: Job, position: int) -> str:
    assert job.header is not None
    return f"{job.header.stream}:{job.header.first + position}"


def _is_first_hand(job: Job) -> bool:
    """Whether its numbers are the sender's own word: replays are made anew, and of foreign records each reading cuts
    its runs as they come."""
    return job.header is not None and not job.header.replay and not job.record.foreign
