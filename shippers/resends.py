"""What the platform would like to have again: looked for in the spool, sent when the sender has nothing else to do.

A gateway may ask for numbers that it once acknowledged; its copies may be gone. What is asked for is believed no more
than it must be: only streams of our own, few at a time, at a bounded rate, the same numbers not twice in a while. So
an answer that is wrong, or hostile, costs the host a little reading and sending, and nothing else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .batch import Batch
from .clock import Clock
from .errors import LastbeatError
from .transports.protocol import Rejected, Transport
from .wishes import Ask, Wishes

log = logging.getLogger("lastbeat.resends")

_MOST_WAITING = 32
_MOST_REMEMBERED = 256
_EVERY_S = 1.0
_STARVED_S = 10.0
_RETRY_S = 15.0
_NOT_AGAIN_S = 300.0
_TIMEOUT_S = 10.0
_REQUEST_BYTES = 1_000_000
_REQUEST_BATCHES = 20


class Keeper(Protocol):
    """Where acknowledged batches may still be: the spool, or what the dead left."""

    def again(self, stream: str, first: int, last: int) -> list[Batch] | None:
        """See Segments.again."""
        ...


class Heirlooms(Keeper, Protocol):
    """What dead boots left in our hands."""

    def knows(self, boot: str) -> bool:
        """Whether what that boot left is among it."""
        ...


@dataclass(slots=True)
class _Search:
    """An ask under way: `at` is the next number to look for; `found` was read and is not sent yet."""

    ask: Ask
    at: int
    found: deque[Batch]


class Resender:
    """Serves what is asked for, on the sender's thread, one step now and then."""

    def __init__(
        self, boot: str, wishes: Wishes, transport: Transport, clock: Clock, own: Keeper | None, left: Heirlooms | None
    ) -> None:
        self._boot, self._wishes, self._transport, self._clock = boot, wishes, transport, clock
        self._own, self._left = own, left
        self._searches: deque[_Search] = deque()
        self._served: dict[Ask, float] = {}
        self._next_at = self._stepped_at = clock.monotonic()
        self.sent = 0
        """Events sent again."""

    def step(self, idle_s: float) -> float:
        """One look or one request, if it is time and the lane has nothing else to do (for `idle_s` seconds), or has had
        for long. Returns in how many seconds to come again, `idle_s` at most."""
        now = self._clock.monotonic()
        if not self._searches:
            self._stepped_at = now
        for ask in self._wishes.take():
            self._consider(ask, now)
        if not self._searches:
            return idle_s
        if now < self._next_at:
            return min(idle_s, self._next_at - now)
        if idle_s <= 0 and now - self._stepped_at < _STARVED_S:
            return idle_s
        self._stepped_at, self._next_at = now, now + _EVERY_S
        self._serve(self._searches[0])
        return min(idle_s, max(0.0, self._next_at - self._clock.monotonic())) if self._searches else idle_s

    def _consider(self, ask: Ask, now: float) -> None:
        keeper = self._keeper(ask)
        if keeper is None and not self._is_own(ask):
            return  # somebody else's
        self._served = {old: at for old, at in self._served.items() if now - at < _NOT_AGAIN_S}
        again = any(
            old.stream == ask.stream and old.first <= ask.last and old.last >= ask.first for old in self._served
        )
        if again or len(self._served) >= _MOST_REMEMBERED or len(self._searches) >= _MOST_WAITING:
            return
        self._served[ask] = now
        if keeper is None:
            self._wishes.lack(ask)
        else:
            self._searches.append(_Search(ask, ask.first, deque()))

    def _is_own(self, ask: Ask) -> bool:
        return ask.stream.partition(".")[0] == self._boot

    def _keeper(self, ask: Ask) -> Keeper | None:
        if self._is_own(ask):
            return self._own
        boot = ask.stream.partition(".")[0]
        return self._left if self._left is not None and self._left.knows(boot) else None

    def _serve(self, search: _Search) -> None:
        if not search.found:
            keeper = self._keeper(search.ask)
            found = keeper.again(search.ask.stream, search.at, search.ask.last) if keeper is not None else []
            if found is None:
                return
            search.found.extend(found)
        if not search.found:
            self._lack(search, search.ask.last + 1)
            self._searches.popleft()
            return
        request = _request(search.found)
        try:
            self._transport.send(request, _TIMEOUT_S)
        except Rejected as error:
            log.warning("lastbeat: events that were asked for again are refused: %s", error)
            self._refused(search, request, error)
            return
        except LastbeatError as error:
            self._next_at = self._clock.monotonic() + max(_RETRY_S, error.retry_after_s or 0.0)
            return
        for batch in request:
            search.found.popleft()
            self._lack(search, batch.header.first)
            search.at = max(search.at, batch.header.last + 1)
            self.sent += batch.header.count
        if search.at > search.ask.last:
            self._searches.popleft()

    def _refused(self, search: _Search, request: Sequence[Batch], error: Rejected) -> None:
        """What is no good itself is as good as gone, and the rest goes on without it. Of who may not send it nothing is
        told: it is still there, and will be asked for again."""
        index = 0 if error.index is None and len(request) == 1 else error.index
        if not error.is_of_the_batch or index is None or index >= len(request):
            self._searches.popleft()
            return
        del search.found[index]
        if not index:  # any other is found to be lacking once the next one is sent
            self._lack(search, request[index].header.last + 1)
        if search.at > search.ask.last:
            self._searches.popleft()

    def _lack(self, search: _Search, up_to: int) -> None:
        """The numbers from where the search is up to but not including `up_to` are nowhere."""
        if up_to > search.at:
            self._wishes.lack(Ask(search.ask.stream, search.at, min(up_to - 1, search.ask.last)))
            search.at = up_to


def _request(found: Sequence[Batch]) -> list[Batch]:
    chosen: list[Batch] = []
    size = 0
    for batch in found:
        size += len(batch.body)
        if chosen and (size > _REQUEST_BYTES or len(chosen) >= _REQUEST_BATCHES):
            break
        chosen.append(batch)
    return chosen
