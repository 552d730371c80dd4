"""The logging.Handler: renders each record in the caller's thread, hands it over, and is done in microseconds.

Never raises, never blocks, never logs what lastbeat itself logs. It takes no lock of its own while rendering, so
threads don't queue behind each other.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from .batch import DATASETS
from .clock import Clock
from .errors import Misconfigured
from .process import EXIT_TIMEOUT_S, shared
from .settings import load
from .shipper import Shipper
from .transports.protocol import Transport

_MAX_DEPTH = 3  # an argument whose __str__ logs, whose argument logs, …


class Handler(logging.Handler):
    """Ships log records of this process. Usable by dictConfig: `{"class": "lastbeat.Handler", "service": "checkout"}`.

    service and settings: as for `lastbeat.init`; what isn't given comes from LASTBEAT_* or OTEL_* variables.
    dataset: "business" unless it is the console's or metrics' lines that come here.
    transport, clock: fakes for tests. Handlers with the same names share one shipper, and so one heartbeat, which
    begins with the first record. Raises Misconfigured for an argument that can't work.
    """

    def __init__(
        self,
        service: str | None = None,
        level: int | str = logging.NOTSET,
        *,
        dataset: str = "business",
        transport: Transport | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(level)
        if dataset not in DATASETS or dataset == "heartbeat":
            raise Misconfigured(f"dataset={dataset!r}: must be business, console or metrics")
        self._dataset = dataset
        self._depth = threading.local()
        self.shipper: Shipper = shared(load({"service": service, **settings}), transport, clock)

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit, without the handler's lock: the buffer has its own, held much more briefly."""
        passed: Any = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Render and hand over. What can't be rendered at all is counted as dropped for `error`."""
        if _is_own(record.name):
            return
        depth = getattr(self._depth, "value", 0)
        if depth >= _MAX_DEPTH:
            self.shipper.lost(self._dataset, "reentrant")
            return
        self._depth.value = depth + 1
        try:
            if self.shipper.refuses(record.levelno) and "event.dataset" not in record.__dict__:
                self.shipper.lost(self._dataset, "full")
                return
            self.shipper.put(self.shipper.renderer.record(record, self._dataset), record.levelno)
        except Exception:  # noqa: BLE001  the host must never suffer: counted, and the count is sent with each beat
            self.shipper.lost(self._dataset, "error")
        finally:
            self._depth.value = depth

    def flush(self, timeout_s: float = EXIT_TIMEOUT_S) -> None:
        """Wait until what was logged is durable; at most `timeout_s`, and not at all while the gateway is away."""
        self.shipper.flush(timeout_s)

    def close(self) -> None:
        """Flush. The shipper lives on until the process ends: dictConfig closes handlers that stay in use."""
        self.flush()
        super().close()


def _is_own(logger: object) -> bool:
    return isinstance(logger, str) and (logger == "lastbeat" or logger.startswith("lastbeat."))
