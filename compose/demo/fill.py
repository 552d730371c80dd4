"""Sends the shop's past through the gateway's front door, with the transport that services use."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from shippers.clock import Clock
from shippers.errors import Unavailable
from shippers.transports.protocol import Transport

from .history import History

_TIMEOUT_S = 30.0
_TRIES = 20


def fill(history: History, end: float, transport: Transport, clock: Clock, sent: Callable[[], None]) -> None:
    """Send everything up to `end`; `sent` is called after each slice.

    Raises Unavailable if the gateway goes on refusing, Rejected if it never will take it.
    """
    for batches in filter(None, history.until(end)):  # in a moment at night nothing may have happened
        for attempt in range(1, _TRIES + 1):
            try:
                transport.send(batches, _TIMEOUT_S)
                break
            except Unavailable as error:
                if attempt == _TRIES:
                    raise
                clock.wait(Event(), error.retry_after_s or 0.5)
        sent()
