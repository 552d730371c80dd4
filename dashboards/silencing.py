"""Silences as people put them into State from a board: one row for each service, changed by compare-and-set.

The watch reads them (`alerts.silences`): incidents are kept as ever, but nobody is told while one holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from alerts.settings import SilenceSettings
from collector.ports import Conflict, State, Table
from shippers.errors import Unavailable

ANY = "*"
MOST_TRIES = 8


@dataclass(frozen=True, slots=True)
class Held:
    """A silence that holds now."""

    key: str
    service: str
    region: str
    ends_at: float
    comment: str


def silence(state: State, region: str, service: str, minutes: float, comment: str, now: float) -> float:
    """Silence a service in a region for a while from now; one that holds already is replaced. Returns when it ends.

    An empty service or region means any. Raises Unavailable.
    """
    asked = SilenceSettings(
        service=service or ANY, region=region or ANY, starts_at=now, ends_at=now + 60 * minutes, comment=comment
    )
    _put(state, f"{asked.region}/{asked.service}", asked)
    return asked.ends_at


def lift(state: State, key: str, now: float) -> None:
    """End a silence now. Raises Unavailable."""
    row = state.get(Table.SILENCES, key)
    if row is not None:
        held = SilenceSettings.model_validate(row.doc)
        _put(state, key, held.model_copy(update={"ends_at": now}))


def holding(state: State, now: float) -> list[Held]:
    """The silences that hold now, the longest first. Raises Unavailable."""
    found = []
    for row in state.scan(Table.SILENCES):
        try:
            stated = SilenceSettings.model_validate(row.doc)
        except ValidationError:
            continue  # the watch says so in its log; it silences nothing
        if stated.starts_at <= now < stated.ends_at:
            found.append(Held(row.key, stated.service, stated.region, stated.ends_at, stated.comment))
    return sorted(found, key=lambda held: -held.ends_at)


def _put(state: State, key: str, asked: SilenceSettings) -> None:
    for _ in range(MOST_TRIES):
        row = state.get(Table.SILENCES, key)
        try:
            state.put(Table.SILENCES, key, asked.model_dump(), row.version if row else None)
            return
        except Conflict:
            continue
    raise Unavailable(f"the silence of {key} is changed by others without end; try again")
