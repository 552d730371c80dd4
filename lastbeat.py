"""What a service imports. Three lines are enough:

    import lastbeat
    lastbeat.init("checkout")
    logging.info("paid", extra={"action": "pay", "outcome": "success", "order_id": "A1", "duration_ms": 18.2})

Needs the standard library only. Nothing here blocks or raises into the service once it runs; a gateway that is away
costs nothing but counted drops.
"""

from __future__ import annotations

import logging
from typing import Any

from shippers import process
from shippers.clock import Clock
from shippers.errors import LastbeatError, Misconfigured
from shippers.handler import Handler
from shippers.job import Job
from shippers.shipper import Stats
from shippers.transports.protocol import Transport

__all__ = ["Handler", "LastbeatError", "Misconfigured", "Stats", "beat", "dropped", "init", "job", "stats", "stop"]

_handler: Handler | None = None
_beside: list[logging.Handler] = []


def init(
    service: str | None = None,
    *,
    level: int | str = logging.INFO,
    transport: Transport | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> Handler:
    """Ship what the root logger gets from `level` up, and beat from now on. Returns the handler.

    settings: url, token, region, zone, version, environment, instance, host, interval, grace, buffer_events,
    buffer_bytes, spool (a folder for what can't be sent at once; none unless given), spool_bytes. What isn't given
    comes from LASTBEAT_URL …, then from OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES. Called again, it leaves
    everything as it is and returns the same handler.

    The root logger's own level is lowered to `level` only while it is Python's default, WARNING; what logging printed
    on stderr before is printed still. If the service doesn't handle SIGTERM, a goodbye is said on it.

    Raises Misconfigured for an argument that can't work; never for a gateway that can't be reached.
    """
    global _handler  # noqa: PLW0603  there is one root logger
    if _handler is not None:
        return _handler
    handler = Handler(service, level, transport=transport, clock=clock, **settings)
    root = logging.getLogger()
    if not root.handlers and logging.lastResort is not None:
        root.addHandler(logging.lastResort)  # or our handler would silence what had none
        _beside.append(logging.lastResort)
    if root.level in (logging.WARNING, logging.NOTSET) and handler.level < logging.WARNING:
        root.setLevel(handler.level)
    root.addHandler(handler)
    _handler = handler
    process.say_goodbye_on_sigterm()
    handler.shipper.start()
    return handler


def beat() -> None:
    """Beat now, out of turn; at most once a second. Does nothing before `init`."""
    if _handler is not None:
        _handler.shipper.beat()


def stop(reason: str = "stop", timeout: float = process.EXIT_TIMEOUT_S) -> None:
    """Send what there is, say goodbye, and leave the root logger as it was; at most `timeout` seconds.

    Not needed at the end of a program: a clean exit does the same. `init` may be called again.
    """
    global _handler
    handler, _handler = _handler, None
    if handler is None:
        return
    root = logging.getLogger()
    for added in (handler, *_beside):
        root.removeHandler(added)
    _beside.clear()
    process.retire(handler.shipper, reason, timeout)


def stats() -> Stats | None:
    """What became of every event so far; None before `init`. Cheap enough for every request."""
    return _handler.shipper.stats() if _handler is not None else None


def dropped() -> int:
    """How many events were dropped so far, for whatever reason; 0 before `init`."""
    return _handler.shipper.stats().total_dropped if _handler is not None else 0


def job(name: str, /, every: float | None = None, **extra: Any) -> Job:
    """A context manager or decorator: the job's start, and its end with outcome and duration, as business events.

    Use it as `with lastbeat.job("settle", every=3600):`, or as `@lastbeat.job("settle")`.
    """
    return Job(name, every, **extra)
