"""Where the ledger lies in State, and how it is read from there so that nothing is missed.

    at/<sink>/<topic>/<partition>                          {epoch, position, generation}: the snapshot that counts
    d/<sink>/<topic>/<partition>/<unique>                  what one flush changed, and the epoch and position it reached
    s/<sink>/<topic>/<partition>/<generation>/<chunk>      a snapshot's documents

    done/<sink>                                            the ledger was begun: rebuilt to the end, if there was need

Partition -1 of a topic holds what was rebuilt from a store, which can't tell partitions. Whoever reads looks at `at`
before and after: where a snapshot was made meanwhile, he reads that again, for the changes in it are gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from collector.ports import Row, State, Table, TopicPartition
from shippers.errors import Unavailable

REBUILT = -1
"""The partition of what was rebuilt."""
_REBUILT_MARK = "-rebuilt"
_ATTEMPTS = 10

Reached = tuple[int, int]
"""How far a ledger goes: epoch and position. A journal that begins anew begins an epoch, in which positions that were
reached in an earlier one say nothing."""
_FEW = 4
"""Of so many partitions each is asked for alone."""


def key_of(kind: str, sink: str, tp: TopicPartition, *rest: str) -> str:
    """The key of one of the rows above."""
    return "/".join((kind, sink, tp.topic, str(tp.partition), *rest))


def place_of(key: str) -> tuple[str, TopicPartition]:
    """The sink and partition of a row."""
    _, sink, topic, partition, *_ = key.split("/")
    return sink, TopicPartition(topic, int(partition))


def next_generation(generation: str, owner: str, *, rebuilt: bool = False) -> str:
    """A name that no other owner's snapshot bears."""
    return f"{_number(generation) + 1:08d}-{owner}{_REBUILT_MARK if rebuilt else ''}"


def outdated(state: State, sink: str, tp: TopicPartition, generation: str) -> list[str]:
    """The snapshots' rows that `generation`, once it counts, has taken the place of: those of a lower number, and
    others of its own, as these can't count any more. A higher one may be that of an owner who went on while this one
    was stopped."""
    rows = [(row.key, row.key.split("/")[4]) for row in state.scan(Table.LEDGER, key_of("s", sink, tp, ""))]
    return [key for key, other in rows if other != generation and _number(other) <= _number(generation)]


def written(state: State, sink: str, tp: TopicPartition, generation: str) -> list[str]:
    """The rows of one snapshot: what its owner takes away if another's counts."""
    return [row.key for row in state.scan(Table.LEDGER, key_of("s", sink, tp, generation, ""))]


def was_rebuilt(generation: str) -> bool:
    """Whether what was known before this generation no longer counts."""
    return generation.endswith(_REBUILT_MARK)


@dataclass(slots=True)
class Kept:
    """What is kept of one partition: its row `at`, if there is one, the documents of its snapshot, and the changes
    since, by key."""

    at: Row | None = None
    snapshot: list[Mapping[str, Any]] = field(default_factory=list)
    changes: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def generation(self) -> str:
        """The snapshot's name; '' before the first."""
        return "" if self.at is None else str(self.at.doc["generation"])

    @property
    def position(self) -> int | None:
        """Everything below is settled."""
        return self.reached[1] if self.reached else None

    @property
    def reached(self) -> Reached | None:
        """The same, with the epoch that it is of."""
        docs = [*([self.at.doc] if self.at is not None else []), *self.changes.values()]
        known = [(int(doc.get("epoch", 0)), int(doc["position"])) for doc in docs if doc.get("position") is not None]
        return max(known, default=None)


def read(
    state: State,
    sink: str = "",
    wanted: Collection[TopicPartition] | None = None,
    known: Mapping[tuple[str, TopicPartition], str] = {},
) -> dict[tuple[str, TopicPartition], Kept]:
    """All that is kept of a sink (or of all), or of the `wanted` partitions of one; without the snapshots of
    generations that are `known`. Of many everything is looked through, of a few only theirs. Raises Unavailable."""
    if wanted is not None and len(wanted) <= _FEW:
        places = [(sink, tp) for tp in wanted]
        few = {place: _read_one(state, place, known.get(place)) for place in places}
        return {place: kept for place, kept in few.items() if kept.at is not None or kept.changes}
    scope = f"{sink}/" if sink else ""
    found: dict[tuple[str, TopicPartition], Kept] = {}
    before = _ats(state, scope)
    for place, row in before.items():
        if wanted is None or place[1] in wanted:
            found[place] = Kept(row, _snapshot(state, place, row, known.get(place)))
    for row in state.scan(Table.LEDGER, f"d/{scope}"):
        place = place_of(row.key)
        if wanted is None or place[1] in wanted:
            found.setdefault(place, Kept()).changes[row.key] = row.doc
    for place, row in _ats(state, scope).items():
        same = place in before and before[place].version == row.version
        if not same and (wanted is None or place[1] in wanted):
            found[place] = _read_one(state, place, known.get(place))
    return found


def _read_one(state: State, place: tuple[str, TopicPartition], known: str | None) -> Kept:
    key = key_of("at", *place)
    at = state.get(Table.LEDGER, key)
    for _ in range(_ATTEMPTS):
        kept = Kept(at, _snapshot(state, place, at, known))
        kept.changes = {row.key: row.doc for row in state.scan(Table.LEDGER, key_of("d", *place, ""))}
        before, at = at, state.get(Table.LEDGER, key)
        if (before and before.version) == (at and at.version):
            return kept
    raise Unavailable(f"the ledger of {place[1].topic}/{place[1].partition} changes faster than it can be read")


def _snapshot(
    state: State, place: tuple[str, TopicPartition], at: Row | None, known: str | None
) -> list[Mapping[str, Any]]:
    if at is None or known == at.doc["generation"]:
        return []
    return [row.doc for row in state.scan(Table.LEDGER, key_of("s", *place, str(at.doc["generation"]), ""))]


def _number(generation: str) -> int:
    return int(generation.partition("-")[0] or 0)


def _ats(state: State, scope: str) -> dict[tuple[str, TopicPartition], Row]:
    return {place_of(row.key): row for row in state.scan(Table.LEDGER, f"at/{scope}")}
