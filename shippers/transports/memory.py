"""A transport that keeps what it is given, for tests: of this product, and of yours.

Outcomes are scripted: each call of `send` takes the next one of the queue; an empty queue means success.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from shippers.batch import Batch
from shippers.errors import LastbeatError
from shippers.wishes import Ask, Wishes


class MemoryTransport:
    """Keeps accepted batches in `batches`, and every try in `requests`. Any number of threads may share one."""

    def __init__(self, outcomes: Iterable[LastbeatError | None] = ()) -> None:
        self._lock = threading.Lock()
        self.outcomes: deque[LastbeatError | None] = deque(outcomes)
        self.always: LastbeatError | None = None
        """Raised by every `send` once `outcomes` is used up, until it is set to None."""
        self.requests: list[tuple[Batch, ...]] = []
        self.batches: list[Batch] = []
        self.closed = 0
        self.wishes: Wishes | None = None
        self.resend: object = None
        """What every answer asks for, as a gateway says it."""
        self.lacking: list[Ask] = []
        """What it was told is not there any more."""

    def send(self, batches: Sequence[Batch], timeout_s: float) -> None:  # noqa: ARG002  it takes no time
        for batch in batches:
            batch.check()
        with self._lock:
            self.requests.append(tuple(batches))
            outcome = self.outcomes.popleft() if self.outcomes else self.always
            if outcome is not None:
                raise outcome
            self.batches.extend(batches)
            if self.wishes is not None:
                lacking = self.wishes.lacking()
                self.lacking.extend(lacking)
                self.wishes.told(lacking)
                self.wishes.hear(self.resend)

    def close(self) -> None:
        self.closed += 1

    def events(self, *datasets: str) -> list[dict[str, Any]]:
        """The accepted events as objects, in order of arrival; of all datasets if none is named."""
        with self._lock:
            kept = list(self.batches)
        return [
            json.loads(line)
            for batch in kept
            if not datasets or batch.header.dataset in datasets
            for line in batch.body.splitlines()
        ]
