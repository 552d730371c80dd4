"""The heartbeat's lane: its own numbers, its own connection, its own thread; it never queues behind logs.

A beat that could not be sent is kept with its age, a few at most; older ones become one void batch that spans their
numbers. So nothing piles up and no number is lost, however long the gateway is away. The newest beat is never given
up for an older one. One thread calls `step`; `last_words` may be called by another once that one has stopped.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .batch import Batch, Header, seal
from .clock import Clock
from .errors import LastbeatError
from .event import Renderer, number_line
from .identity import Identity
from .transports.protocol import Rejected, Transport
from .trouble import Trouble

log = logging.getLogger("lastbeat.heartbeat")

KEPT = 4
_WAITS_FOR_A_PERSON = frozenset({"token", "region", "service", "dataset", "canary"})


@dataclass(frozen=True, slots=True)
class Beat:
    """A sealed beat and the monotonic moment of its sealing."""

    batch: Batch
    sealed_at: float

    def aged(self, now: float) -> Batch:
        """The batch as it is sent now: its header says how old it is."""
        if self.batch.header.void is not None:
            return self.batch
        header = dataclasses.replace(self.batch.header, age_s=round(max(0.0, now - self.sealed_at), 3))
        return Batch(header, self.batch.body)


def compact(beats: Sequence[Beat], kept: int = KEPT) -> list[Beat]:
    """The newest `kept - 1` beats, and before them all older ones as one void batch over their numbers."""
    if len(beats) <= kept:
        return list(beats)
    old, new = beats[: len(beats) - kept + 1], beats[len(beats) - kept + 1 :]
    count = sum(beat.batch.header.count for beat in old)
    first = old[0].batch.void(old[0].batch.header.void or "superseded")
    merged = Batch(dataclasses.replace(first.header, count=count), b"")
    return [Beat(merged, old[0].sealed_at), *new]


class Heartbeat:
    """Beats for one boot. `vitals` gives what a beat says beside its state; it must not block."""

    def __init__(
        self,
        identity: Identity,
        boot: str,
        renderer: Renderer,
        transport: Transport,
        clock: Clock,
        vitals: Callable[[], Mapping[str, Any]],
        interval_s: float,
        grace_s: float,
    ) -> None:
        self._identity, self._stream = identity, f"{boot}.heartbeat"
        self._renderer, self._transport, self._clock, self._vitals = renderer, transport, clock, vitals
        self._interval_s, self._grace_s = interval_s, grace_s
        self._lock = threading.Lock()
        self._unsent: list[Beat] = []
        self._number = 0
        self._began_at = clock.monotonic()
        self._next_at = self._began_at
        self._retry_at: float | None = None
        self._asked = False
        self.trouble = Trouble("heartbeats", log, clock)

    @property
    def number(self) -> int:
        """The number of the last beat; 0 before the first."""
        return self._number

    def ask(self) -> None:
        """Let the next step beat, though it isn't time yet; at most once a second."""
        self._asked = True

    def step(self) -> float:
        """Beat if it is time, send what is unsent; returns in how many seconds to come again."""
        now = self._clock.monotonic()
        asked, self._asked = self._asked, False
        if now >= self._next_at or (asked and now >= self._next_at - self._interval_s + min(1.0, self._interval_s / 2)):
            self._seal("up", "")
            # After a suspended machine or a starved thread the missed beats are not made up for.
            self._next_at = max(min(self._next_at, now), now - self._interval_s) + self._interval_s
            self._retry_at = now
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = self._send()
        due = self._next_at if self._retry_at is None else min(self._next_at, self._retry_at)
        return max(0.0, due - self._clock.monotonic())

    def last_words(self, state: str, reason: str, transport: Transport, timeout_s: float) -> None:
        """Seal one more beat and send it, with all that is unsent, over `transport`.

        Raises LastbeatError when that fails; then nobody hears the goodbye, and the watch will say so.
        """
        self._seal(state, reason)
        now = self._clock.monotonic()
        transport.send([beat.aged(now) for beat in self._unsent], timeout_s)

    def _seal(self, state: str, reason: str) -> None:
        said: dict[str, Any] = {"interval_s": self._interval_s, "grace_s": self._grace_s, "state": state}
        if reason:
            said["reason"] = reason
        now = self._clock.monotonic()
        said["uptime_s"] = round(now - self._began_at, 3)
        line = self._renderer.beat(self._clock.time(), {**said, **self._vitals()})
        me = self._identity
        with self._lock:
            number = self._number + 1
            header = Header(self._stream, number, 1, me.region, "heartbeat", line.day, me.service, me.instance, 0)
            batch = seal(header, [number_line(line.data, self._stream, number)])
            self._unsent = compact([*self._unsent, Beat(batch, now)])
            self._number = number

    def _send(self) -> float | None:
        """Send all that is unsent; None when that is done, else when to try again."""
        beats = self._unsent
        now = self._clock.monotonic()
        wait_s = self._interval_s / 3
        try:
            self._transport.send([beat.aged(now) for beat in beats], self._interval_s / 3)
        except Rejected as error:
            self.trouble.begins(str(error))
            if error.index is not None and error.code not in _WAITS_FOR_A_PERSON:
                self._void(beats[error.index], error.code)
        except LastbeatError as error:
            self.trouble.begins(str(error))
            wait_s = max(wait_s, error.retry_after_s or 0.0)  # the next beat is not put off by it
        else:
            self.trouble.ends()
            with self._lock:
                sent = beats[-1].batch.header.last
                self._unsent = [beat for beat in self._unsent if beat.batch.header.first > sent]
            return None
        return self._clock.monotonic() + wait_s

    def _void(self, refused: Beat, code: str) -> None:
        with self._lock:
            self._unsent = [
                Beat(beat.batch.void(f"refused: {code}"), beat.sealed_at) if beat is refused else beat
                for beat in self._unsent
            ]
