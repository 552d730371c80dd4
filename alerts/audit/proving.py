"""Whether an old day of the hot store may go: whoever deletes days asks by a row in State, the auditor counts and
answers by another, since counting is too heavy for those who store. It is counted once each time it is asked about.

An answer holds for as many events as were asked about: one that came late makes it void.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from collector.ledger.intervals import Interval, IntervalSet
from collector.ledger.inventory import Held, Inventory
from collector.ports import State, Table
from shippers.clock import Clock

from .counting import Booked, Books, Place, differing, elsewhere, held_by, listed
from .statement import Difference

log = logging.getLogger("lastbeat.audit")

ASKED, PROVEN = "asked/", "proven/"
MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Proof:
    """`left` is in the hot store and not in the archive: while there is any, the day must stay. `nowhere` is in none of
    them, though the ledger has it as stored: that the day stays would not bring it back."""

    left: tuple[Difference, ...] = ()
    nowhere: tuple[Difference, ...] = ()


Prove = Callable[[str, str, str], Proof]
"""Counts a day of a dataset and region in both. Raises Unavailable."""


class Proofs:
    """Both sides of asking, in State's table AUDIT. Every method raises Unavailable."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state, self._clock = state, clock

    def is_archived(self, dataset: str, region: str, day: str, events: int) -> bool:
        """Whether the archive is proven to have all of a day, which has so many events; asks for it if not."""
        name = f"{dataset}/{region}/{day}"
        asked, proven = self._state.get(Table.AUDIT, f"{ASKED}{name}"), self._state.get(Table.AUDIT, f"{PROVEN}{name}")
        answer = {} if proven is None else proven.doc
        if not events or (answer.get("events") == events and not answer.get("left")):
            return True
        if asked is None or asked.doc["asked_at"] == answer.get("asked_at"):  # else it is being counted
            doc = {"dataset": dataset, "region": region, "day": day, "events": events, "asked_at": self._clock.time()}
            self._state.put_many(Table.AUDIT, {f"{ASKED}{name}": doc})
        return False

    def answer(self, prove: Prove, deleted: Iterable[tuple[str, str, str]]) -> list[Difference]:
        """Count what was asked about since; every difference of all days that are asked about. Forgets days that are
        deleted."""
        gone = set(deleted)
        proven = {row.key.removeprefix(PROVEN): dict(row.doc) for row in self._state.scan(Table.AUDIT, PROVEN)}
        found: list[Difference] = []
        for row in list(self._state.scan(Table.AUDIT, ASKED)):
            name, asked = row.key.removeprefix(ASKED), row.doc
            where = asked["dataset"], asked["region"], asked["day"]
            if where in gone:
                for prefix in (PROVEN, ASKED):
                    self._state.delete(Table.AUDIT, f"{prefix}{name}")
                continue
            if proven.get(name, {}).get("asked_at") != asked["asked_at"]:
                proven[name] = _doc(asked, prove(*where), self._clock.time())
                self._state.put_many(Table.AUDIT, {f"{PROVEN}{name}": proven[name]})
            found += [Difference(asked["day"], asked["region"], asked["dataset"], stream, words, lacking=False)
                      for stream, words in proven[name]["differences"]]  # fmt: skip
        return found


def _doc(asked: Mapping[str, object], proof: Proof, now: float) -> dict[str, object]:
    both = [*proof.left, *proof.nowhere]
    words = [[each.stream, each.words] for each in both[:MOST_NAMED]]
    if len(both) > MOST_NAMED:
        words.append(["", f"and {len(both) - MOST_NAMED:,} more streams differ"])
    return {"events": asked["events"], "asked_at": asked["asked_at"], "counted_at": now, "left": len(proof.left),
            "differences": words}  # fmt: skip


def no_archive(path: object) -> Prove:
    """What is proven where the archive's files are not."""

    def prove(dataset: str, region: str, day: str) -> Proof:
        words = (
            f"is old and kept: the archive at {path} can't be counted from the auditor's host; run the auditor where "
            "the archive is, or set [elastic] archive = false"
        )
        return Proof((Difference(day, region, dataset, "", words, lacking=False),))

    return prove


def prove(
    dataset: str, region: str, day: str, hot: Inventory, archive: Inventory, books: Books, names: tuple[str, str]
) -> Proof:
    """Hold one day of both against each other, number by number. `names`: of hot store and archive, as sinks."""
    mine, theirs = (books(name, day, region) for name in names)
    here, there = held_by(hot, day, region), held_by(archive, day, region)
    left: list[Difference] = []
    nowhere: list[Difference] = []
    nothing = Booked(IntervalSet(), IntervalSet())
    for place in sorted(each for each in {*mine, *here} if each[0] == dataset):
        archived = IntervalSet(_runs(archive, place, there))
        archived.merge(theirs.get(place, nothing).other)
        counted, stored = IntervalSet(_runs(hot, place, here)), mine.get(place, nothing).stored
        lacks = elsewhere(archive, place, counted.without(archived))
        # A line that says another stream than its header is counted under a name that is no event's.
        foreign = lacks.without(stored)
        lacks = lacks.without(foreign.without(hot.identified(*place, foreign))) if foreign else lacks
        gone = elsewhere(archive, place, stored.without(counted).without(archived))
        lost = elsewhere(hot, place, gone)
        lacks.merge(gone.without(lost))
        if lacks:
            words = f"is old and kept: {names[1]} lacks {listed(lacks)}"
            left.append(differing(day, place, words))
        if lost:
            words = f"neither {names[0]} nor {names[1]} has {listed(lost)}, which {names[0]} had stored"
            nowhere.append(differing(day, place, words))
    for each in (*left, *nowhere)[:MOST_NAMED]:
        log.warning("%s of %s in %s: %s: %s", day, dataset, region, each.stream, each.words)
    return Proof(tuple(left), tuple(nowhere))


def _runs(store: Inventory, place: Place, held: Mapping[Place, Held]) -> list[Interval]:
    one = held.get(place)
    if one is None:
        return []
    return [(one.first, one.last)] if one.whole else store.runs(one)
