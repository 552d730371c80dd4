"""The identity of foreign records: cluster, topic, partition and offset, which survive any re-read. Pure."""

from __future__ import annotations

import hashlib
import re

from collector.ports import TopicPartition

_STREAM = re.compile(r"kafka[0-9a-f]{24}\.[a-z]+")


def foreign_stream(cluster: str, tp: TopicPartition) -> str:
    """The stream of the records in `tp` that bear no header of ours; a record's number in it is its offset + 1.

    Numbers may be missing: our own batches and Kafka's markers take offsets too. Such a stream can't be audited for
    holes.
    """
    place = f"{cluster}/{tp.topic}/{tp.partition}".encode()
    return f"kafka{hashlib.sha256(place).hexdigest()[:24]}.{tp.topic.rpartition('.')[2]}"


def is_foreign(stream: str) -> bool:
    """Whether a stream is one of these."""
    return _STREAM.fullmatch(stream) is not None
