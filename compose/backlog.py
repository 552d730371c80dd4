"""How far a reader group is behind the journal's end, seen from outside. Changes nothing: it joins no group."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from collector.journal.offsets import Offsets
from collector.ports import TopicPartition
from shippers.batch import DATASETS

from .settings import Settings
from .wiring import open_journal


def backlog(settings: Settings, group: str) -> dict[TopicPartition, int] | None:
    """What `group` has not committed yet, by partition: bytes of the local journal, records of Kafka. None if there
    never was such a group.

    Raises Unavailable or Misconfigured if the journal can't be read.
    """
    done = _committed(settings, group)
    if done is None:
        return None
    with closing(open_journal(settings)) as journal, closing(journal.reader(None, DATASETS)) as reader:
        for tp in reader.assigned() & done.keys():
            reader.seek(tp, done[tp])
        return reader.lag()


def _committed(settings: Settings, group: str) -> Mapping[TopicPartition, int] | None:
    if settings.kafka is None:  # a reader of the local journal registers its group, and so holds back retention
        known = Offsets(settings.journal_path / "groups").load(group)
        return None if known is None else {TopicPartition(topic, 0): at for topic, at in known.positions.items()}
    with closing(open_journal(settings)) as journal, closing(journal.reader(group, DATASETS)) as reader:
        return reader.committed() or None
