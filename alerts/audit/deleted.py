"""What a store had once, by its ledger or another store's, and was counted not to have any more: as findings, so that
it is got back in the same way as what never came.

They are the auditor's own, and not kept: whoever starts anew counts anew. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from collector.ledger.intervals import IntervalSet

from .findings import MAX_RANGES, Finding
from .reconcile import size
from .statement import Difference

PREFIX = "counted/"


def deleted(differences: Iterable[Difference], before: Mapping[str, Finding], now: float) -> dict[str, Finding]:
    """One for each store and stream that lacks something, by its key; what was tried `before` is not forgotten."""
    found: dict[str, Finding] = {}
    for each in differences:
        if not (each.sink and each.lacks):
            continue
        key = f"{PREFIX}{each.sink}/{each.stream}"
        first = found.get(key) or replace(before.get(key) or _new(each, now), holes=(), since=now)
        numbers = IntervalSet((*first.holes, *each.lacks))
        found[key] = replace(
            first,
            holes=tuple(numbers)[:MAX_RANGES],
            missing=size(numbers),
            since=min(first.since, _begin_of(each.day, now)),
        )
    return found


def _new(each: Difference, now: float) -> Finding:
    # Who sent it is looked up by whoever gets it back.
    return Finding(each.sink, each.stream, each.region, "", "", each.dataset, each.day, now, 0, opened_at=now)


def _begin_of(day: str, now: float) -> float:
    try:
        return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return now
