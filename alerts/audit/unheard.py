"""Streams of which no beat was ever read: a process that was killed before its first one, or whose beats are gone.

Nobody says what of theirs is durable, so no finding is made of them and nobody is paged. But numbers that are missing
between others were emitted: once a stream is old enough they count as unaccounted for, and are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .accounts import Accounts, Key
from .assess import LIVES_BEFORE_S
from .counting import listed
from .reconcile import size
from .said import AUDITED, Roll, day_of
from .statement import Difference

OLD_S = 3_600.0
EVERY_S = 60.0


class Unsaid(NamedTuple):
    """Numbers that one sink lacks between others of a stream that nobody ever spoke of."""

    key: Key
    sink: str
    number: int
    difference: Difference


class Unheard:
    """Looks for them now and then. Used by the auditor's thread."""

    def __init__(self, roll: Roll, accounts: Accounts) -> None:
        self._roll, self._accounts = roll, accounts
        self._since: dict[tuple[str, str], float] = {}
        self._found: tuple[Unsaid, ...] = ()
        self._look_at = float("-inf")

    def step(self, sinks: Mapping[str, float], seen: float, now: float) -> Sequence[Unsaid]:
        """All that are old enough. `sinks`: since when each is known, by the wall clock; of streams that are older than
        that nothing is asked. `seen` is now by the monotonic clock."""
        if seen >= self._look_at:
            self._look_at = seen + EVERY_S
            self._found = tuple(each for sink, since in sinks.items() for each in self._look(sink, since, seen, now))
        return [each for each in self._found if not self._is_heard(each.difference.stream)]

    def _look(self, sink: str, since: float, seen: float, now: float) -> Sequence[Unsaid]:
        first_day, old_day = day_of(since - LIVES_BEFORE_S), day_of(now - OLD_S)
        before, self._since = self._since, {at: when for at, when in self._since.items() if at[0] != sink}
        found = []
        for gaps in self._accounts.gaps(sink):
            if gaps.dataset not in AUDITED or gaps.first_day < first_day or self._is_heard(gaps.stream):
                continue
            known_s = seen - self._since.setdefault((sink, gaps.stream), before.get((sink, gaps.stream), seen))
            if known_s < OLD_S and gaps.last_day >= old_day:
                continue
            day = self._accounts.day_of(sink, gaps.stream, gaps.holes[0][0] - 1) or gaps.first_day
            words = f"{sink} lacks {listed(gaps.holes)}: no beat of {gaps.service} said that they are durable"
            words += ", for no beat of that process was ever read"
            difference = Difference(day, gaps.region, gaps.dataset, gaps.stream, words, lacking=False)
            found.append(Unsaid(Key(day, gaps.region, gaps.service, gaps.dataset), sink, size(gaps.holes), difference))
        return found

    def _is_heard(self, stream: str) -> bool:
        boot = stream.partition(".")[0]
        return boot in self._roll.boots or boot in self._roll.graves or boot in self._roll.buried
