"""What services are asked to send again: read from State every few seconds, put into the answers to those who may have
it, and what came of it noted there again. All of that off the way of requests.

While nothing is asked for, a request costs one look at a flag.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Sequence

from collector.complaint import Complaint
from collector.ledger.intervals import IntervalSet
from collector.ports import State
from collector.resend import requests
from collector.resend.requests import Request
from shippers.batch import Batch
from shippers.clock import Clock
from shippers.errors import LastbeatError
from shippers.wishes import MOST_ASKS, Ask, asks_in

log = logging.getLogger("lastbeat.gateway")

_EVERY_S = 3.0
_MAX_HEADER = 8_192
_MOST_NOTED = 10_000


class Resends:
    """`answer` is for any worker thread; `refresh` has a thread of its own while it is started."""

    def __init__(self, state: State | None, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._by_boot: dict[str, list[Request]] = {}
        self._by_service: dict[tuple[str, str], list[Request]] = {}
        self._of_anybody: list[Request] = []
        self.any_open = False
        """Whether anything is asked for at all."""
        self._lock = threading.Lock()
        self._sent: dict[str, IntervalSet] = {}
        self._lacking: dict[str, IntervalSet] = {}
        self._noted = 0
        self._stop = threading.Event()
        self._failing = Complaint(
            log,
            clock,
            "what services are to send again can't be read, this goes on by itself",
            "what services are to send again can be read",
        )

    def start(self) -> None:
        """Keep reading, until `stop`. A store that hangs holds up nobody: the thread ends with the process."""
        if self._state is not None:
            threading.Thread(target=self._run, name="gateway-resends", daemon=True).start()

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()

    def refresh(self) -> None:
        """Note what came, and see what is asked for now. Raises Unavailable; then what was known holds on."""
        assert self._state is not None
        with self._lock:
            sent, lacking = self._sent, self._lacking
            self._sent, self._lacking, self._noted = {}, {}, 0
        try:
            for stream in sent.keys() | lacking.keys():
                requests.settle(self._state, stream, sent.get(stream, ()), lacking.get(stream, ()))
            found = list(requests.read_open(self._state, self._clock.time()))
        except LastbeatError:
            with self._lock:  # to be noted next time
                for stream in sent.keys() | lacking.keys():
                    self._sent.setdefault(stream, IntervalSet()).merge(sent.get(stream, IntervalSet()))
                    self._lacking.setdefault(stream, IntervalSet()).merge(lacking.get(stream, IntervalSet()))
            raise
        by_boot: dict[str, list[Request]] = {}
        by_service: dict[tuple[str, str], list[Request]] = {}
        for request in found:
            by_boot.setdefault(request.boot, []).append(request)
            if request.service:
                by_service.setdefault((request.region, request.service), []).append(request)
        self._of_anybody = [request for request in found if not request.service]
        self._by_boot, self._by_service, self.any_open = by_boot, by_service, bool(found)

    def answer(self, batches: Sequence[Batch], lacking: str | None) -> list[dict[str, object]]:
        """What the sender of these batches, which are in the journal now, is asked for; `lacking` is what it says that
        it has no more, as its request's header has it. It is believed about its own service alone."""
        senders = {(batch.header.boot, batch.header.region, batch.header.service) for batch in batches}
        asked: dict[str, Request] = {}
        for boot, region, service in senders:
            for request in (*self._by_boot.get(boot, ()), *self._by_service.get((region, service), ())):
                asked[request.stream] = request
        theirs = asked | {request.stream: request for request in self._of_anybody}  # whose heirs could be anybody
        if not theirs:
            return []
        self._note(
            self._sent, ((b.header.stream, b.header.first, b.header.last) for b in batches if b.header.stream in theirs)
        )
        if lacking:
            self._note(self._lacking, (ask for ask in _lacking_in(lacking) if ask.stream in asked))
        wanted = [
            {"stream": stream, "first": first, "last": last}
            for stream, request in theirs.items()
            for first, last in request.open
        ]
        return wanted[:MOST_ASKS]

    def _note(self, where: dict[str, IntervalSet], numbers: Iterable[tuple[str, int, int]]) -> None:
        with self._lock:
            for stream, first, last in numbers:
                if self._noted < _MOST_NOTED:  # what isn't noted is asked for once more
                    self._noted += 1
                    where.setdefault(stream, IntervalSet()).add(first, last)

    def _run(self) -> None:
        while True:
            try:
                self.refresh()
                self._failing.note("")
            except LastbeatError as error:
                self._failing.note(str(error))
            except Exception:
                log.exception("gateway: what services are to send again couldn't be read; it goes on")
            if self._clock.wait(self._stop, _EVERY_S):
                return


def _lacking_in(header: str) -> list[Ask]:
    """[[stream, first, last], …], as far as it makes sense."""
    try:
        said = json.loads(header) if len(header) <= _MAX_HEADER else []
    except (ValueError, RecursionError):
        return []
    parts = ("stream", "first", "last")
    return asks_in(
        [dict(zip(parts, one, strict=False)) for one in said if isinstance(one, list)] if isinstance(said, list) else []
    )
