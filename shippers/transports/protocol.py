"""The contract between the threads that send and what they send through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shippers.batch import Batch
from shippers.errors import Refused
from shippers.wishes import Wishes

_OF_THE_BATCH = frozenset({"size", "header", "stream", "count", "day", "crc", "blank", "void", "frame"})


class Rejected(Refused):
    """The other side read the request and took none of it.

    `index` is the position in the request of the batch that breaks the contract, None when the answer names none.
    `code` says why: one of BadBatch's codes, or `token`, `region`, `service`, `dataset`, `canary`.
    """

    def __init__(self, code: str, message: str, index: int | None = None) -> None:
        super().__init__(code, message)
        self.index = index

    @property
    def is_of_the_batch(self) -> bool:
        """Whether the batch itself is no good. Any other refusal is of who sends it, and somebody with another token
        may be allowed to."""
        return self.code in _OF_THE_BATCH


class Transport(Protocol):
    """Takes sealed batches to where they are durable. Each thread that sends has one of its own.

    `wishes` is where it puts what an answer asks for, and takes what is to be told with the next request; its user sets
    it, and None is well.
    """

    wishes: Wishes | None

    def send(self, batches: Sequence[Batch], timeout_s: float) -> None:
        """Send batches, all or nothing; every one is durable when this returns.

        Called by one thread; blocks for one round trip, about `timeout_s` at most. Raises Unavailable (the caller
        keeps the batches and tries again, no sooner than `retry_after_s`) or Rejected (the caller voids the batch
        that is meant, or waits for a person if the sender itself is refused). A batch may have arrived although this
        raises: it is sent again, and stored once.
        """
        ...

    def close(self) -> None:
        """Let go of the connection. `send` may be called again, and opens a new one."""
        ...
