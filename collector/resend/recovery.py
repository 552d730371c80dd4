"""Getting a missing range back: each source in turn is asked for what is still missing, and what it has is sent again.

What is sent goes through the journal like anything else, under the numbers it always had: a sink that has some of it
already drops these, so that doing this twice changes nothing. No source's failure keeps the next one from being asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from collector.ledger.intervals import Interval, IntervalSet
from shippers.batch import Batch
from shippers.errors import LastbeatError, Unavailable

from .wanted import ARCHIVE, JOURNAL, ORDER, SPOOL, Asked, Asking, Recovered, Source, Wanted, without

log = logging.getLogger("lastbeat.resend")

_REQUEST_BATCHES = 20
_REQUEST_BYTES = 4_000_000
_MOST_REMEMBERED = 1_000

Send = Callable[[Sequence[Batch]], None]
Who = Callable[[str], tuple[str, str, str]]
"""Region, service and instance of a stream, as far as that is known; else ''."""


def _nobody(_: str) -> tuple[str, str, str]:
    return "", "", ""


@dataclass(slots=True)
class _Work:
    """One recovery under way."""

    wanted: Wanted
    got: IntervalSet = field(default_factory=IntervalSet)
    found: dict[str, IntervalSet] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)
    voids: list[tuple[str, Batch]] = field(default_factory=list)

    @property
    def left(self) -> tuple[Interval, ...]:
        return without(self.wanted.numbers, self.got)

    def note(self, source: str, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for first, last in without(self.wanted.parts(batch.header.first, batch.header.last), self.got):
                self.got.add(first, last)
                self.found.setdefault(source, IntervalSet()).add(first, last)


class Recovery:
    """Used by one thread at a time. `stores` are the sinks' own stores by the sinks' names; `spool` asks services;
    `who_of` knows the senders of streams."""

    def __init__(
        self,
        journal: Source,
        stores: Mapping[str, Source],
        spool: Asking | None,
        send: Send,
        who_of: Who = _nobody,
    ) -> None:
        self._journal, self._stores, self._spool, self._send = journal, stores, spool, send
        self._who_of = who_of
        self._searched: dict[str, tuple[float, IntervalSet]] = {}

    def recover(self, sink: str, stream: str, first: int, last: int, since: float, until: float) -> Recovered:
        """Get back what `sink` lacks; the journal took it in between `since` and `until`, as far as that is known.

        For the auditor: blocks while it looks, but never for a service, which may answer later (`pending`): ask again.
        Raises Unavailable when nothing can be sent at all.
        """
        return self.search(Wanted(stream, ((first, last),), since, until), sink=sink)

    def search(self, wanted: Wanted, *, sink: str = "", only: str = "") -> Recovered:
        """The same for any numbers. Without a `sink` every store may have what another lacks. `only` is one of ORDER:
        no other is asked. Who sent the stream is looked up where `wanted` doesn't say it."""
        if not wanted.service:
            region, service, instance = self._who_of(wanted.stream)
            wanted = replace(wanted, region=wanted.region or region, service=service, instance=instance)
        work = _Work(wanted)
        for kind in ORDER:
            if kind == SPOOL or (only and kind != only):
                continue
            for source in self._of(kind, sink):
                numbers = self._worth_a_look(work) if kind == JOURNAL else work.left
                if numbers and self._fetch(source, work, numbers) and kind == JOURNAL:
                    self._remember(work)
        self._send_voids(work)
        asked = self._ask(work) if only in ("", SPOOL) and work.left else Asked()
        for first, last in asked.sent:
            work.got.add(first, last)
            work.found.setdefault(SPOOL, IntervalSet()).add(first, last)
        found = {name: tuple(numbers) for name, numbers in work.found.items()}
        return Recovered(found, work.left, asked.pending, asked.lacking, work.trouble)

    def _of(self, kind: str, sink: str) -> list[Source]:
        if kind == JOURNAL:
            return [self._journal]
        return [store for name, store in self._stores.items() if name != sink] if kind == ARCHIVE else []

    def _worth_a_look(self, work: _Work) -> tuple[Interval, ...]:
        """What was not looked for in the journal before: to read days of it is dear, and its past doesn't change."""
        since, gone = self._searched.get(work.wanted.stream, (0.0, IntervalSet()))
        return without(work.left, gone) if since <= work.wanted.since else work.left

    def _remember(self, work: _Work) -> None:
        since, gone = self._searched.pop(work.wanted.stream, (work.wanted.since, IntervalSet()))
        if since > work.wanted.since:  # it was not looked for so far back
            gone = IntervalSet()
        voids = IntervalSet((void.header.first, void.header.last) for _, void in work.voids)
        if left := without(work.left, voids):
            self._searched[work.wanted.stream] = work.wanted.since, IntervalSet((*gone, *left))
            while len(self._searched) > _MOST_REMEMBERED:
                del self._searched[next(iter(self._searched))]

    def _fetch(self, source: Source, work: _Work, numbers: tuple[Interval, ...]) -> bool:
        """Send again what a source has, as it is found, a bounded piece at a time. Whether all of it was looked at."""
        try:
            for some in _pieces(source.find(replace(work.wanted, numbers=numbers))):
                work.voids += [(source.name, batch) for batch in some if batch.header.void is not None]
                bodies = [batch for batch in some if batch.header.void is None]
                work.note(source.name, self._sent(bodies, source.name, work) if bodies else [])
        except _CannotSend as error:
            raise error.why from error
        except Unavailable as error:
            log.warning("%s can't be asked for %s: %s", source.name, work.wanted.stream, error)
            work.trouble[source.name] = str(error)
            return False
        return source.name not in work.trouble

    def _send_voids(self, work: _Work) -> None:
        """That numbers were given up is sent again only where no source had their events."""
        for name, void in work.voids:
            if without(work.wanted.parts(void.header.first, void.header.last), work.got):
                try:
                    work.note(name, self._sent([void], name, work))
                except _CannotSend as error:
                    raise error.why from error

    def _sent(self, batches: Sequence[Batch], name: str, work: _Work) -> list[Batch]:
        """Which of them were sent. A gateway turns all of a request away for one: then each goes by itself."""
        try:
            self._send(batches)
        except LastbeatError as error:
            if not error.permanent:
                raise _CannotSend(error) from error
            if len(batches) > 1:
                return [one for batch in batches for one in self._sent([batch], name, work)]
            log.warning("%s has %s, and it can't be sent again: %s", name, work.wanted.stream, error)
            work.trouble[name] = str(error)
            return []
        return list(batches)

    def _ask(self, work: _Work) -> Asked:
        if self._spool is None:
            return Asked()
        try:
            return self._spool.ask(replace(work.wanted, numbers=work.left))
        except Unavailable as error:
            work.trouble[SPOOL] = str(error)
            return Asked()


class _CannotSend(Exception):
    """The journal takes nothing now: no use in looking any further."""

    def __init__(self, why: LastbeatError) -> None:
        super().__init__(str(why))
        self.why = why


def _pieces(batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    """At most a request's worth at a time. What was found before a source fails comes first."""
    some: list[Batch] = []
    size = 0
    try:
        for batch in batches:
            if some and (len(some) >= _REQUEST_BATCHES or size + len(batch.body) > _REQUEST_BYTES):
                yield some
                some, size = [], 0
            some.append(batch)
            size += len(batch.body)
    except Unavailable:
        if some:
            yield some
        raise
    if some:
        yield some
