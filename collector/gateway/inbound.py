"""Request bodies, read with bounds on everything: bytes a request, bytes in memory at once, and time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request

from shippers.errors import Unavailable

from .door import Turned
from .metrics import Metrics

SMALL = 64 * 1024


class Inbound:
    """Counts the bytes of all requests in memory. Used by the event loop alone."""

    def __init__(self, max_request: int, max_inflight: int, timeout_s: float, metrics: Metrics) -> None:
        self._max_request = max_request
        self._max_inflight = max_inflight
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._held = 0

    @contextmanager
    def hold(self) -> Iterator[Body]:
        """Room for one request's body; given back when the block ends."""
        body = Body(self)
        try:
            yield body
        finally:
            self._add(-body.held)

    def _add(self, size: int) -> None:
        self._held += size
        self._metrics.inflight_bytes.set(self._held)


class Body:
    """One request's body."""

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self.held = 0

    async def read(self, request: Request, at_most: int | None = None) -> bytes:
        """All of it; `at_most` is for strangers.

        Raises Turned (413 too big, 408 too slow, 400 broken off) or Unavailable (no room).
        """
        said = request.headers.get("content-length", "0")
        limit = at_most or self._inbound._max_request
        if said.isdigit() and int(said) > limit:
            raise _too_big(int(said), limit)
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self._inbound._timeout_s):
                async for chunk in request.stream():
                    self._take(len(chunk), limit)
                    chunks.append(chunk)
        except TimeoutError:
            raise Turned(408, "slow", f"the body did not arrive within {self._inbound._timeout_s:g} s") from None
        except ClientDisconnect:
            raise Turned(400, "cut", "the connection ended before the body did") from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _take(self, size: int, limit: int) -> None:
        inbound = self._inbound
        self.held += size
        inbound._add(size)
        if self.held > limit:
            raise _too_big(self.held, limit)
        # Small requests get through while big ones wait: heartbeats and canaries are small.
        if inbound._held > inbound._max_inflight and self.held > SMALL:
            raise Unavailable("this gateway holds as many requests as it may", retry_after_s=1)


def _too_big(size: int, limit: int) -> Turned:
    return Turned(413, "size", f"a request of {size} bytes or more, at most {limit} are allowed: send fewer batches")
