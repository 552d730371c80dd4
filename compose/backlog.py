"""How far a reader group of the local journal is behind its end, seen from outside. Changes nothing."""

from __future__ import annotations

from contextlib import closing

from collector.journal.local import LocalJournal
from collector.journal.offsets import Offsets
from shippers.batch import DATASETS
from shippers.clock import Clock

from .settings import Settings


def backlog(settings: Settings, clock: Clock, group: str) -> dict[str, int] | None:
    """Bytes that `group` has not committed yet, by topic of its datasets; None if there never was such a group.

    Raises Unavailable or Misconfigured if the journal's files can't be read.
    """
    known = Offsets(settings.journal_path / "groups").load(group)
    if known is None:
        return None
    journal = LocalJournal(settings.journal_path, settings.journal, clock, writable=False)
    with closing(journal), closing(journal.reader(None, DATASETS)) as reader:
        for tp in reader.assigned():
            if known.reads(tp.topic):
                reader.seek(tp, known.positions.get(tp.topic, 0))
        return {tp.topic: behind for tp, behind in reader.lag().items() if known.reads(tp.topic)}
