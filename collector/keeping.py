"""What an indexer has settled goes into the ledger, and is durable there before it is committed.

While the ledger can't be kept nothing is committed and nothing more is begun: what was written is in the sink, and
comes again if this process ends. It is tried again by itself, less and less often.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping

from shippers.clock import Clock
from shippers.errors import LastbeatError

from .backoff import Backoff
from .complaint import Complaint
from .ledger.keeper import LedgerKeeper
from .ports import Outcome, Reader, TopicPartition

log = logging.getLogger("lastbeat.indexer")


class Keeping:
    """An indexer's way to its ledger, or, without one, to nothing at all. Used by the indexer's thread."""

    def __init__(self, ledger: LedgerKeeper | None, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock
        self._anew: dict[TopicPartition, int] = {}  # where journals begin anew of which the ledger doesn't know yet
        self._backoff = Backoff(clock)
        self._unkept = Complaint(
            log, clock, "the ledger can't be kept now, nothing is committed until it is", "the ledger is kept again"
        )

    @property
    def why(self) -> str:
        """Why it waits; '' if it doesn't."""
        return self._unkept.text

    @property
    def kept(self) -> bool:
        """Whether there is a ledger at all."""
        return self._ledger is not None

    def load(
        self, tps: Collection[TopicPartition], starts: Mapping[TopicPartition, int], reader: Reader
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """See LedgerKeeper.load: where reading must go on at the latest; and which of them are at their end. A journal
        that ends before the ledger's position was begun anew since, and is read from its start; in one that is new to
        us and that nothing is to be read of, all there ever was is behind us. One without a start is read from its
        oldest record, or, where that lies behind what we know, from there: then the gap shows. Raises Unavailable."""
        if self._ledger is None:
            return {}, {}
        latest: dict[TopicPartition, int] = {}
        at_end: dict[TopicPartition, int] = {}
        kept = self._ledger.load(tps, starts)
        ends, lag = reader.ends(), reader.lag()
        oldest = reader.offsets_at(0.0) if any(at and tp not in starts for tp, at in kept.items()) else {}
        for tp, at in kept.items():
            end = ends.get(tp, at)
            if at is None or end is None:
                continue
            if end < at:
                start = starts.get(tp, 0)
                anew = start if start <= end else 0
                log.warning("%s/%d begins anew: its end, %d, is before the ledger's position, %d", *tp, end, at)
                self._ledger.begin_anew(tp, anew)
                if tp in starts:
                    latest[tp] = anew
            elif tp in starts or 0 < at < oldest.get(tp, 0):
                latest[tp] = at
            elif at < end and lag.get(tp) == 0:
                at_end[tp] = end
        return latest, at_end

    def position(self, tp: TopicPartition) -> int | None:
        """See LedgerKeeper.position; None without a ledger."""
        return None if self._ledger is None else self._ledger.position(tp)

    def begin_anew(self, tp: TopicPartition, position: int) -> None:
        """The journal of a partition begins anew, and is read from `position`: nothing of it is kept before the ledger
        knows that, else it would count under the old positions."""
        if self._ledger is None:
            return
        self._anew[tp] = position
        try:
            self._begin_anew(self._ledger)
        except LastbeatError as error:
            log.warning("%s/%d begins anew, the ledger will know it as soon as it can be kept: %s", *tp, error)

    def _begin_anew(self, ledger: LedgerKeeper) -> None:
        for tp, position in list(self._anew.items()):
            ledger.begin_anew(tp, position)
            del self._anew[tp]

    def forget(self, tps: Iterable[TopicPartition]) -> None:
        """See LedgerKeeper.forget."""
        if self._ledger is not None:
            gone = set(tps)
            self._anew = {tp: at for tp, at in self._anew.items() if tp not in gone}
            self._ledger.forget(gone)

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """See LedgerKeeper.settle."""
        if self._ledger is not None:
            self._ledger.settle(outcomes)

    def keep(self, positions: Mapping[TopicPartition, int]) -> bool:
        """Whether all that is settled below `positions` is durable in the ledger, so that it may be committed."""
        if self._ledger is None:
            return True
        if self._clock.monotonic() < self._backoff.due_at:
            return False
        try:
            self._begin_anew(self._ledger)
            self._ledger.flush(positions)
        except LastbeatError as error:
            self._backoff.failed(error)
            self._unkept.note(str(error))
            return False
        self._backoff.went_well()
        self._unkept.note("")
        return True

    def metrics(self) -> dict[str, float]:
        """See LedgerKeeper.metrics."""
        return {} if self._ledger is None else self._ledger.metrics()
