"""`lastbeat drill`: starts a platform's senders, breaks the platform by a schedule, heals it, and audits.

Nothing that was started here runs afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from alerts.fleet import read_fleet
from compose.wiring import open_state
from shippers.errors import LastbeatError, Unavailable

from .audit import Account, Auditor, Quiet
from .crew import Crew
from .evidence import Beats, count_stored
from .faults import Scene
from .play import Deed, Player
from .poison import Poisoner
from .reckoning import Alarms
from .schedule import Schedule
from .site import REGION, Site
from .stated import Stated

_SEEN_WITHIN_S = 120.0


@dataclass(slots=True)
class Result:
    """What came of one drill."""

    schedule: Schedule
    deeds: list[Deed]
    accounts: list[Account]
    stated: Stated
    alarms: Alarms
    quiet: Quiet
    rate: float
    """The events a second that were emitted."""
    took_s: float
    wrong: list[str] = field(default_factory=list)
    """What went wrong with the drill itself, or with answers that should not have come."""

    @property
    def main(self) -> Account:
        """The store that answers; others are its archive."""
        return self.accounts[0]

    @property
    def emitted(self) -> int:
        """By the senders' own logs."""
        return self.main.total("emitted")

    @property
    def unaccounted(self) -> int:
        """In all stores."""
        return sum(account.total("unaccounted") for account in self.accounts)

    @property
    def duplicates(self) -> int:
        """Events that are visible more than once, in all stores, and rows that bear a number of another."""
        return sum(max(account.total("duplicates"), account.twice) for account in self.accounts)

    @property
    def is_good(self) -> bool:
        """Whether every promise held."""
        false, missed = self.alarms.false, self.alarms.missed
        stated = self.stated.called_lost or self.stated.wrong
        return not (self.unaccounted or self.duplicates or stated or false or missed or self.wrong)


def drill(site: Site, schedule: Schedule, rate: float, say: Callable[[str], None], stop: threading.Event) -> Result:
    """Run one schedule on a site that serves. `rate` is the events a second of all senders together."""
    clock = site.clock
    began = clock.monotonic()
    crew = Crew(site, schedule.senders, rate)
    day = datetime.fromtimestamp(clock.time(), UTC).date().isoformat()
    poisoner = Poisoner(site.settings.gateway.port, REGION, clock, day)
    player = Player(Scene(site, crew, poisoner), schedule, clock, stop)
    crew.is_reachable = player.is_reachable
    try:
        crew.start()
        _wait_seen(site, crew, stop)
        say(f"{schedule.senders} senders are up; {len(schedule.faults)} faults in {schedule.span_s:g} s")
        started = clock.monotonic(), crew.emitted
        player.play()
        spent = clock.monotonic() - started[0]
        achieved = (crew.emitted - started[1]) / spent
        crew.hush()
        say("healing, and waiting until all is quiet …")
        site.heal()
        crew.inherit()
        with Beats(site.settings, clock) as beats:
            auditor = Auditor(site, crew, player, poisoner, beats, say)
            quiet = auditor.wait_quiet()
            say("auditing …")
            accounts = auditor.accounts()
            stated = auditor.stated(accounts, quiet)
            told = auditor.alarms(accounts)
        wrong = [
            *poisoner.wrong,
            *_errors(player.deeds),
            *([f"not quiet: {quiet.trouble}"] if quiet.trouble else []),
        ]
        return Result(schedule, player.deeds, accounts, stated, told, quiet, achieved, clock.monotonic() - began, wrong)
    finally:
        crew.end()


def _errors(deeds: Iterable[Deed]) -> list[str]:
    return [f"{deed.planned.kind} {deed.planned.part}: {deed.error}" for deed in deeds if deed.error]


def _wait_seen(site: Site, crew: Crew, stop: threading.Event) -> None:
    """Until the watch knows every sender (who dies before his first beat was never there), and the first events are
    stored: what is broken must have worked."""
    deadline = site.clock.monotonic() + _SEEN_WITHIN_S
    wanted = {sender.service for sender in crew.senders}
    while not stop.is_set():
        why = "the watch has not seen all senders, or nothing is stored yet"
        try:
            with closing(open_state(site.settings)) as state:
                seen = {row.service for row in read_fleet(state).services}
            if wanted <= seen and count_stored(site.settings):
                return
        except LastbeatError as error:
            why = str(error)
        if site.clock.monotonic() > deadline:
            raise Unavailable(f"the platform under drill does not work in {_SEEN_WITHIN_S:g} s: {why}")
        site.clock.wait(stop, 0.2)
