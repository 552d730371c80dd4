"""Waits until all is quiet, then holds the senders' own logs against what is there. Asks; breaks nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from alerts.audit.statement import Statement, read_statement
from alerts.incidents import Incident, read_incidents
from compose.backlog import backlog
from compose.wiring import open_state
from shippers.errors import LastbeatError

from .crew import Crew
from .evidence import Beats, Letters, Rows, count_stored, in_elastic, in_lake, letters
from .play import Player
from .poison import Poisoner
from .reckoning import Alarms, Balance, Kept, Rules, Run, Truth, alarms, balance
from .site import BLIND_AFTER_S, GRACE_S, Site
from .stated import Fate, Stated, fates, hold, is_of

QUIET_WITHIN_S = 90.0
_TOLD_WITHIN_S = 30.0
_STATED_WITHIN_S = 60.0
"""An auditor that was killed works again once its lease has run out."""
_LOOKS_AGAIN_S = 10.0
"""What is found missing is looked for again for so long: a store may be about to show it."""
_STEP_S = 0.25


@dataclass(slots=True)
class Account:
    """What one store holds of every run. `sink` is the product's name for it."""

    store: str
    sink: str
    balances: list[Balance] = field(default_factory=list)
    twice: int = 0

    def total(self, name: str) -> int:
        """The sum of one column."""
        return sum(int(getattr(one, name)) for one in self.balances)

    @property
    def fates(self) -> list[Fate]:
        """What became of every service's events."""
        return fates(self.sink, self.balances)

    @property
    def wrong(self) -> list[Balance]:
        """The runs whose account isn't sound."""
        return [one for one in self.balances if not one.is_good]


@dataclass(slots=True)
class Quiet:
    """How it came to be quiet: how long that took, how much there was to catch up with, and how fast that went."""

    took_s: float = 0.0
    behind: int = 0
    rate: float = 0.0
    trouble: str = ""
    since: float = 0.0
    """By the wall clock."""


class Auditor:
    """Looks at one drill from outside."""

    def __init__(
        self, site: Site, crew: Crew, player: Player, poisoner: Poisoner, beats: Beats, say: Callable[[str], None]
    ) -> None:
        self._site, self._crew, self._player, self._poisoner, self._beats = site, crew, player, poisoner, beats
        self._clock, self._say = site.clock, say

    def wait_quiet(self) -> Quiet:
        """Until nothing is under way any more, for a bounded time; then it says what still is."""
        began, emitted, first = self._clock.monotonic(), self._crew.emitted, self._stored()
        highest, highest_at, why = first, began, ""

        def is_quiet() -> bool:
            nonlocal highest, highest_at, why
            if (stored := self._stored()) > highest:
                highest, highest_at = stored, self._clock.monotonic()
            before, why = why, self._unquiet()
            if why.partition(":")[0] != before.partition(":")[0] and why:
                self._say(f"  {self._clock.monotonic() - began:.0f} s: {why}")
            return not why

        self._until(is_quiet, QUIET_WITHIN_S)
        rate = (highest - first) / max(highest_at - began, _STEP_S)
        return Quiet(self._clock.monotonic() - began, max(0, emitted - first), rate, why, self._clock.time())

    def _unquiet(self) -> str:
        """What is still under way, in words; '' if nothing."""
        try:
            if not self._crew.drained:
                return "senders have still something to send"
            if not self._crew.inherited:
                return "what the dead left in the spool is not sent yet"
            groups = ("elastic", "lake") if self._site.stack else ("lake",)
            for group in groups:
                behind = backlog(self._site.settings, group) or {}
                left = {tp.topic: size for tp, size in behind.items() if size and not tp.topic.endswith(".heartbeat")}
                if left:
                    return f"{group} is behind: {left}"
            self._beats.read()
            for sender in self._crew.senders:
                if sender.alive and not self._has_told(sender.lives[-1].side.boot, sender.lives[-1].side.returned):
                    return f"{sender.service} has not told its last count yet"
        except (LastbeatError, OSError) as error:
            return str(error)
        return ""

    def _has_told(self, boot: str, emitted: int) -> bool:
        """Whether the last beat was made after all was sent. What it says is judged by the audit, not here."""
        said = self._beats.said.get(boot)
        return said is not None and said.acked == said.last and (said.last + said.dropped >= emitted)

    def _stored(self) -> int:
        try:
            return count_stored(self._site.settings)
        except (LastbeatError, OSError):
            return 0

    def accounts(self) -> list[Account]:
        """The account of every store; what seems to be missing is looked for again for a while."""
        found: list[Account] = []

        def good() -> bool:
            found[:] = self._accounts()
            return not any(account.wrong for account in found)

        self._until(good, _LOOKS_AGAIN_S)
        return found

    def _accounts(self) -> list[Account]:
        settings, dead = self._site.settings, letters(self._site.settings)
        if settings.elastic is None:
            return [self._account("lake", "lake", in_lake(settings.lake_path), dead["lake"],
                                  in_lake(settings.lake_path, "heartbeat"))]  # fmt: skip
        return [
            self._account("Elasticsearch", "elastic", in_elastic(settings.elastic), dead["elastic"],
                          in_elastic(settings.elastic, "heartbeat")),
            self._account("archive", "lake", in_lake(settings.lake_path), dead.get("lake", Letters()),
                          in_lake(settings.lake_path, "heartbeat")),
        ]  # fmt: skip

    def _account(self, store: str, sink: str, rows: Rows, gone: Letters, beats: Rows) -> Account:
        self._beats.read()
        account = Account(store, sink, twice=rows.twice + beats.twice)
        for sender in self._crew.senders:
            for run, _ in sender.runs():
                stream = f"{run.boot}.business"
                said = self._beats.said.get(run.boot)
                kept = Kept(
                    rows.by_run.pop(run.name, {}),
                    len(gone.dead[stream]),
                    len(gone.void[stream] - gone.dead[stream]),
                    said.dropped if said else 0,
                    said.acked if said else 0,
                )
                account.balances.append(balance(run, kept))
        for run in self._poisoner.runs:
            kept = Kept(rows.by_stream.get(run.name, {}), len(gone.dead[run.name] - set(rows.by_stream[run.name])))
            account.balances.append(balance(run, kept))
        for name, numbers in rows.by_run.items():  # what nobody emitted
            account.balances.append(balance(Run(name, 0, 0), Kept(numbers)))
        return account

    def stated(self, accounts: list[Account], quiet: Quiet) -> Stated:
        """What the platform's own statement, once it is of this quiet, says that isn't so; for a bounded time. What is
        missing may be got back meanwhile: then `accounts` become those of now."""
        found = Stated(wrong=("there is no statement",))

        def good() -> bool:
            nonlocal found
            if (statement := self._statement()) is None:
                return False
            found = self._held(statement, accounts)
            if not is_of(statement, quiet.since):
                found = replace(found, wrong=(f"it is not of now: {statement.head}", *found.wrong))
            elif found.wrong:
                accounts[:] = self._accounts()
                found = self._held(statement, accounts)
            return not found.wrong

        self._until(good, _STATED_WITHIN_S)
        return found

    def _held(self, statement: Statement, accounts: Sequence[Account]) -> Stated:
        return hold(statement, [fate for account in accounts for fate in account.fates], self._poisoner.streams)

    def _statement(self) -> Statement | None:
        try:
            with closing(open_state(self._site.settings)) as state:
                return read_statement(state)
        except LastbeatError:
            return None

    def alarms(self, accounts: Sequence[Account]) -> Alarms:
        """What was told, once it is all told, for a bounded time."""
        found: list[Alarms] = [Alarms()]
        lost = {one.run.service for account in accounts for one in account.balances if one.unaccounted}

        def good() -> bool:
            found[0] = self._alarms(lost)
            return not found[0].missed and not found[0].false

        self._until(good, _TOLD_WITHIN_S)
        return found[0]

    def _alarms(self, lost: Collection[str]) -> Alarms:
        troubles = [*self._player.troubles(), *(one for sender in self._crew.senders for one in sender.troubles())]
        truth = Truth(troubles, self._crew.dead, lost, self._poisoner.streams, self._site.pager.calls)
        return alarms(self.incidents(), truth, Rules(GRACE_S, BLIND_AFTER_S), self._clock.time())

    def incidents(self) -> Sequence[Incident]:
        """All that the watch has told."""
        try:
            with closing(open_state(self._site.settings)) as state:
                return read_incidents(state)
        except LastbeatError:
            return ()

    def _until(self, good: Callable[[], bool], within_s: float) -> bool:
        deadline, waited = self._clock.monotonic() + within_s, threading.Event()
        while not good():
            if self._clock.monotonic() > deadline:
                return False
            self._clock.wait(waited, _STEP_S)
        return True
