"""What a restarted auditor needs, in State's table AUDIT: where it read to, what everybody said, and its findings.

What everybody said is kept in a few documents, each with many boots; where reading goes on is written after them, so
that a beat may be read twice, which changes nothing, and never not at all.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from alerts.document import UNREADABLE
from collector.ports import State, Table, TopicPartition

from .assess import Assessor
from .findings import finding_doc, read_findings
from .said import Boot, Grave, Pulse, Roll, chunk_doc, chunk_of, restore_chunk

log = logging.getLogger("lastbeat.audit")

SAID, READ = "said/", "read"
VERSION = 1


def load(state: State, roll: Roll, assessor: Assessor, seen: float) -> dict[TopicPartition, int]:
    """Take up what was kept; where reading goes on. Raises Unavailable. A finding that makes no sense is left out: it
    stays in State, so that no statement calls anything balanced, until the same stream has a finding anew. Where what
    processes said makes no sense, their beats are read again."""
    illegible: dict[str, str] = {}
    for row in state.scan(Table.AUDIT, SAID):
        try:
            restore_chunk(roll, int(row.key.removeprefix(SAID)), row.doc, 0, seen)
        except UNREADABLE as error:
            illegible[row.key] = f"{type(error).__name__}: {error}"
            log.error("%s can't be read (%s): the beats are read again", row.key, illegible[row.key])
    assessor.unreadable.clear()
    assessor.findings.update({each.key: each for each in read_findings(state, assessor.unreadable)})
    for key, why in assessor.unreadable.items():
        log.error("%s can't be read (%s): what it says is lost is not known, and nothing counts as balanced", key, why)
    assessor.unreadable.update(illegible)
    read = state.get(Table.AUDIT, READ)
    assessor.take(set(roll.boots))
    roll.touched.clear()
    if read is None or read.doc.get("v") != VERSION:
        return {}
    assessor.sinks.update(read.doc["sinks"])
    assessor.away.update(read.doc.get("away", {}))
    assessor.begun.update(read.doc.get("begun", {}))
    if illegible:
        return {}  # the beats that the journal still has tell it once more
    positions = {}
    for topic, partition, offset, now, last_at, since in read.doc["partitions"]:
        tp = TopicPartition(topic, partition)
        positions[tp] = offset
        roll.pulses[tp] = Pulse(now, last_at, since)
    for boot in [*roll.boots.values(), *(grave.boot for grave in roll.graves.values())]:
        # Their silence is counted from here.
        boot.heard = roll.pulses[boot.tp].now if boot.tp in roll.pulses else 0.0
    return positions


def save(state: State, roll: Roll, assessor: Assessor, positions: Mapping[TopicPartition, int]) -> None:
    """Keep what has changed. Raises Unavailable; then all of it is still marked as changed."""
    dirty = {chunk_of(name) for name in roll.touched}
    boots: dict[int, list[Boot]] = defaultdict(list)
    graves: dict[int, list[Grave]] = defaultdict(list)
    if dirty:
        for boot in roll.boots.values():
            if (chunk := chunk_of(boot.boot)) in dirty:
                boots[chunk].append(boot)
        for grave in roll.graves.values():
            if (chunk := chunk_of(grave.boot.boot)) in dirty:
                graves[chunk].append(grave)
    docs = {f"{SAID}{chunk:02}": chunk_doc(roll, chunk, boots[chunk], graves[chunk]) for chunk in sorted(dirty)}
    state.put_many(Table.AUDIT, docs)
    state.put_many(Table.AUDIT, {READ: _read_doc(roll, assessor, positions)})
    roll.touched.clear()


def save_findings(state: State, assessor: Assessor) -> None:
    """Keep the findings that changed. Raises Unavailable; then they are still marked as changed."""
    changed = sorted(assessor.changed)
    docs = {key: finding_doc(assessor.findings[key]) for key in changed if key in assessor.findings}
    if docs:
        state.put_many(Table.AUDIT, docs)
    for key in changed:
        if key not in assessor.findings:
            state.delete(Table.AUDIT, key)
        assessor.unreadable.pop(key, None)
    assessor.changed.clear()


def _read_doc(roll: Roll, assessor: Assessor, positions: Mapping[TopicPartition, int]) -> dict[str, Any]:
    return {
        "v": VERSION,
        "sinks": dict(assessor.sinks),
        "away": dict(assessor.away),
        "begun": dict(assessor.begun),
        "partitions": [
            [*tp, offset, pulse.now, pulse.last_at, pulse.since if pulse.since != float("inf") else pulse.last_at]
            for tp, offset in positions.items()
            for pulse in [roll.pulses.get(tp, Pulse())]
        ],
    }
