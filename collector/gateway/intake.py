"""From checked batches to the journal, on worker threads: the event loop never waits for a disk.

Knows the regions seen so far and how the journal is doing; believes nothing to be kept before `append` has returned.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from collector.ports import Journal
from collector.settings import GatewaySettings
from shippers.batch import DATASETS, Batch, Header
from shippers.clock import Clock
from shippers.errors import Unavailable

from .door import Turned
from .metrics import Metrics

log = logging.getLogger("lastbeat.gateway")


@dataclass(frozen=True, slots=True)
class JournalState:
    """How the last append ended, for /health and /ready."""

    accepting: bool = True
    last_append_at: float | None = None
    error: str = ""


class Intake:
    """Appends for the gateway. Used by any thread."""

    def __init__(self, journal: Journal, settings: GatewaySettings, clock: Clock, metrics: Metrics) -> None:
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._max_regions = settings.max_regions
        self._lock = threading.Lock()
        self.regions: tuple[str, ...] = tuple(dict.fromkeys(settings.regions))
        self.state = JournalState()

    def remember_regions(self) -> None:
        """Find the regions that the journal has topics of already. Raises Unavailable."""
        with closing(self._journal.reader(None, DATASETS)) as reader:
            self._add_regions(tp.topic.split(".")[1] for tp in sorted(reader.assigned()))

    def _add_regions(self, regions: Iterable[str]) -> None:
        new = [region for region in dict.fromkeys(regions) if region not in self.regions]
        if new:
            with self._lock:
                self.regions = tuple(dict.fromkeys((*self.regions, *new)))

    def append(self, batches: Sequence[Batch]) -> None:
        """Durable on return. Raises Turned for a region too many, Unavailable when the journal refuses."""
        self.check_regions(batch.header for batch in batches)
        began = self._clock.monotonic()
        try:
            self._journal.append(batches)
        except Unavailable as error:
            self._note(JournalState(False, self.state.last_append_at, str(error)))
            raise
        finally:
            self._metrics.append_seconds.observe(self._clock.monotonic() - began)
        self._note(JournalState(True, self._clock.time()))
        self._add_regions(batch.header.region for batch in batches)
        self._metrics.appended(batches)

    def check_regions(self, headers: Iterable[Header]) -> None:
        """Raise Turned for the first header whose region would be one too many."""
        known = self.regions
        for index, header in enumerate(headers):
            if header.region not in known:
                if len(known) >= self._max_regions:
                    text = f"region {header.region!r} would be one more than the {self._max_regions} allowed here"
                    raise Turned(403, "region", text, index=index, header=header)
                known = (*known, header.region)

    def _note(self, state: JournalState) -> None:
        if state.accepting != self.state.accepting:
            if state.accepting:
                log.warning("gateway: the journal accepts batches again")
            else:
                log.error("gateway: the journal refuses batches: %s", state.error)
        self.state = state
        self._metrics.accepting.set(state.accepting)
