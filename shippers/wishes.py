"""What gateways ask for in their answers, and what they are to be told: a bounded letter box between the lanes that
talk to them and the one that looks. Does no I/O.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

MOST_ASKS = 20
"""In one answer, and in one request."""
_MOST_WAITING = 32
_MOST_NUMBER = 2**62


class Ask(NamedTuple):
    """Numbers of a stream, the last included."""

    stream: str
    first: int
    last: int


def asks_in(said: object) -> list[Ask]:
    """What an answer asks for, as far as it makes sense: [{"stream": …, "first": …, "last": …}]."""
    found: list[Ask] = []
    for one in said[:MOST_ASKS] if isinstance(said, list) else ():
        if not isinstance(one, dict):
            continue
        stream: Any = one.get("stream")
        first: Any = one.get("first")
        last: Any = one.get("last")
        if isinstance(stream, str) and len(stream) <= 64 and _is_number(first) and _is_number(last) and first <= last:
            found.append(Ask(stream, first, last))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_NUMBER


class Wishes:
    """Between the lanes that talk to a gateway and the one that looks for what it asks for, which `wake` wakes. Any
    thread."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._heard: deque[Ask] = deque(maxlen=_MOST_WAITING)
        self._lacking: deque[Ask] = deque(maxlen=_MOST_WAITING)

    def hear(self, said: object) -> None:
        """A gateway's answer asked for this."""
        asks = asks_in(said)
        if asks:
            with self._lock:
                self._heard.extend(ask for ask in asks if ask not in self._heard)
            self._wake()

    def take(self) -> list[Ask]:
        """What was heard since the last call."""
        with self._lock:
            heard = list(self._heard)
            self._heard.clear()
        return heard

    def lack(self, ask: Ask) -> None:
        """This is not there any more: to be told with the next request, whichever that is."""
        with self._lock:
            if ask not in self._lacking:
                self._lacking.append(ask)

    def lacking(self) -> tuple[Ask, ...]:
        """What is to be told."""
        with self._lock:
            return tuple(self._lacking)[:MOST_ASKS]

    def told(self, asks: Sequence[Ask]) -> None:
        """A gateway knows of these."""
        with self._lock:
            for ask in asks:
                if ask in self._lacking:
                    self._lacking.remove(ask)
