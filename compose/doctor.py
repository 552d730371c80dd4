"""`lastbeat doctor`: looks at this installation from outside, and says of each thing how it is and what to do.

Every check is a function of its own that can't fail: what it can't find out is what it reports. Changes nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alerts.audit.statement import Statement, read_statement
from alerts.audit.vouching import doubts, last_counted
from alerts.fleet import Fleet, read_fleet
from alerts.incidents import Status, read_incidents
from alerts.staleness import Verdict
from alerts.words import count, duration
from collector.ports import Where
from shippers.clock import Clock, SystemClock
from shippers.errors import LastbeatError

from . import machine
from .backlog import backlog
from .check import Check, Grade
from .running import at, running
from .settings import Settings
from .wiring import journal_words, state_words

_BEHIND_RECORDS = 20_000
_BEHIND_BYTES = 64 * 1024**2
_ROWS_AGE_S = 5.0  # the watch writes what it sees every few seconds only
_AUDIT_AGE_S = 60.0
_SKEW_S, _WILD_SKEW_S = 2.0, 60.0
_HOUR_S = 3600.0


def run(settings: Settings) -> int:
    """Print all checks. Returns the exit code: 1 if any is bad."""
    found = checks(settings, SystemClock())
    table = Table(box=None, header_style="bright_black", pad_edge=False)
    for column in ("", "Check", "Found, and what to do"):
        table.add_column(column)
    for check in found:
        sign, style = _SIGNS[check.grade]
        words = Text(check.words)
        if check.todo:
            words.append(f"\n→ {check.todo}", "bold")
        table.add_row(Text(sign, style), check.name, words)
    Console(highlight=False).print(table)
    return int(any(check.grade is Grade.BAD for check in found))


_SIGNS = {Grade.GOOD: ("●", "green"), Grade.WARN: ("◔ warn", "yellow"), Grade.BAD: ("✖ bad", "red")}


def checks(settings: Settings, clock: Clock) -> list[Check]:
    """Everything there is to say about this installation, in the order in which to mend it."""
    up = running(settings)
    here = at(settings, up) if up else settings
    door = gateway(here, clock, up is not None)
    alive = up is not None or door[0].grade is Grade.GOOD
    return [
        machine.python(),
        machine.libraries(here),
        machine.binding(settings),
        machine.folder(settings),
        machine.disk(settings),
        *door,
        boards(here),
        indexer(here),
        store(here, clock),
        *state(here, clock, alive),
        notifiers(settings),
    ]


def _log(settings: Settings, role: str) -> str:
    """Where a role says what ails it: under `lastbeat up` in a file, else where it was started."""
    return str(settings.run_path / f"{role}.log") if running(settings) else f"the log of the {role}"


def _kept(settings: Settings, path: Path) -> str:
    """Where events and state are kept: what to look at if they can't be read."""
    return state_words(settings) if settings.elastic else f"{path} and its disk"


def gateway(settings: Settings, clock: Clock, is_up: bool) -> list[Check]:
    """Does the gateway answer, does its journal take batches, and does it know what time it is?"""
    url, start = settings.gateway_url, "start it with `lastbeat up`"
    try:
        asked_at = clock.time()
        answer = httpx.get(f"{url}/ready", timeout=3.0, trust_env=False)
    except httpx.HTTPError as error:
        return [_no_gateway(settings, error, is_up, start)]
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        words = f"{url} answers, but its journal takes nothing: {answer.text[:200]}"
        return [Check("Gateway", Grade.BAD, words, f"see {_log(settings, 'gateway')} and the disk")]
    if answer.status_code != httpx.codes.OK:
        words = f"{url}/ready answers {answer.status_code}: that is no lastbeat gateway"
        return [Check("Gateway", Grade.BAD, words, "end what listens there, or set [gateway] port")]
    found = [Check("Gateway", Grade.GOOD, f"{url} answers, its journal takes batches")]
    return [*found, clocks(answer.headers.get("Date", ""), (asked_at + clock.time()) / 2)]


def _no_gateway(settings: Settings, error: Exception, is_up: bool, start: str) -> Check:
    words = f"no answer from {settings.gateway_url}: {error or type(error).__name__}"
    if is_up:
        return Check("Gateway", Grade.BAD, words, f"see {_log(settings, 'gateway')}")
    if taken := _taken(settings.gateway.host, settings.gateway.port):
        return Check("Gateway", Grade.BAD, f"{words}; {taken}", "end what listens there, or set [gateway] port")
    return Check("Gateway", Grade.WARN, "not running", start)


def _taken(host: str, port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"port {port} at {host} can't be opened: {error.strerror}"
    return ""


def clocks(date: str, now: float) -> Check:
    """Do the gateway's clock (its answer's Date) and ours agree?"""
    try:
        skew = parsedate_to_datetime(date).timestamp() + 0.5 - now  # the header has whole seconds only
    except ValueError:
        return Check("Clocks", Grade.WARN, f"the gateway's answer has no readable Date: {date!r}", "ask it directly")
    words = f"the gateway's clock is {duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} ours"
    if abs(skew) > _SKEW_S:
        grade = Grade.BAD if abs(skew) > _WILD_SKEW_S else Grade.WARN
        return Check("Clocks", grade, words, "run NTP (chrony, timesyncd) on both machines")
    return Check("Clocks", Grade.GOOD, "the gateway's and ours agree")


def boards(settings: Settings) -> Check:
    """Do the boards answer?"""
    url = settings.boards_url
    try:
        good = httpx.get(f"{url}/_stcore/health", timeout=3.0, trust_env=False).is_success
    except httpx.HTTPError:
        good = False
    if good:
        return Check("Boards", Grade.GOOD, url)
    return Check("Boards", Grade.WARN, f"no answer from {url}", f"`lastbeat up`; else see {_log(settings, 'boards')}")


def indexer(settings: Settings) -> Check:
    """How far is the store behind the journal?"""
    group, into = ("elastic", "Elasticsearch") if settings.elastic else ("lake", "the lake")
    try:
        behind = backlog(settings, group)
    except (LastbeatError, OSError) as error:
        return Check("Indexer", Grade.BAD, str(error), f"check {journal_words(settings)}")
    if behind is None:
        return Check("Indexer", Grade.WARN, "has never run here", "start it with `lastbeat up`")
    total = sum(behind.values())
    amount = f"{total:,} records" if settings.kafka else f"{total / 1024**2:,.1f} MiB"
    words = f"{amount} of the journal are not in {into} yet"
    if total > (_BEHIND_RECORDS if settings.kafka else _BEHIND_BYTES):
        worst = max(behind, key=behind.__getitem__)
        todo = f"see {_log(settings, 'indexer')}; if it runs, it catches up"
        return Check("Indexer", Grade.WARN, f"{words}, most of {worst.topic}", todo)
    return Check("Indexer", Grade.GOOD, words)


def store(settings: Settings, clock: Clock) -> Check:
    """Can what keeps the events be asked?"""
    from .wiring import open_store

    now = clock.time()
    try:
        volume = open_store(settings).volume(Where(now - _HOUR_S, now), _HOUR_S)
    except (LastbeatError, OSError) as error:
        return Check("Store", Grade.BAD, str(error), f"check {_kept(settings, settings.lake_path)}")
    events = sum(sum(counts) for counts in volume.series.values())
    return Check("Store", Grade.GOOD, f"{events:,} events in the last hour")


def state(settings: Settings, clock: Clock, alive: bool) -> list[Check]:
    """What does the watch see, how is the fleet, and did every notice go out?"""
    from .wiring import open_state

    if not settings.elastic and not settings.state_path.exists():
        return [Check("Watch", Grade.WARN, "has never run here", "start it with `lastbeat up`")]
    try:
        opened = open_state(settings)
        try:
            fleet, incidents, statement = read_fleet(opened), read_incidents(opened), read_statement(opened)
        finally:
            opened.close()
    except (LastbeatError, OSError) as error:
        return [Check("Watch", Grade.BAD, str(error), f"check {_kept(settings, settings.state_path)}")]
    stuck = [
        f"{notice.notifier}: {notice.error}"
        for incident in incidents
        if incident.status is not Status.RESOLVED
        for notice in incident.notices
        if notice.delivered_at is None and notice.error
    ]
    now = clock.time()
    return [
        watch(settings, fleet, now, alive),
        services(fleet, now),
        notices(stuck),
        audit(settings, statement, now, alive),
    ]


def watch(settings: Settings, fleet: Fleet, now: float, alive: bool) -> Check:
    """Does the watch see, on every path? `alive`: something of the platform runs, so it should."""
    log = f"see {_log(settings, 'watch')}"
    if not fleet.sights:
        return Check("Watch", Grade.WARN, "has seen no canary yet", f"is a gateway running? else {log}")
    oldest = min(fleet.sights, key=lambda sight: sight.last_canary_at)
    age = now - oldest.last_canary_at
    words = f"last canary of {oldest.region} through {oldest.ingress} {duration(age)} ago"
    blind = [f"{sight.region} through {sight.ingress}" for sight in fleet.sights if sight.blind]
    if not alive and age > _ROWS_AGE_S:
        return Check("Watch", Grade.WARN, f"not running; {words}", "start it with `lastbeat up`")
    if blind:
        return Check("Watch", Grade.BAD, f"blind for {', '.join(blind)}; {words}", f"is that gateway running? {log}")
    if age > settings.alerts.blind_after_s + _ROWS_AGE_S:
        return Check("Watch", Grade.BAD, words, f"are watch and gateway running? {log}")
    return Check("Watch", Grade.GOOD, f"sees {count(len(fleet.sights), 'path')}; {words}")


def audit(settings: Settings, statement: Statement | None, now: float, alive: bool) -> Check:
    """Is every event accounted for, and does anybody look?"""
    log = f"see {_log(settings, 'auditor')}"
    if statement is None:
        return Check(
            "Audit", Grade.WARN, "there is no statement yet", f"start the auditor with `lastbeat up`; else {log}"
        )
    age_s = now - statement.head.at
    if not statement.is_balanced:
        lost = sum(each.missing for each in statement.open)
        words = f"{lost:,} events are lost" if lost else "what was counted does not agree"
        if statement.unreadable and not lost:
            words = f"{count(len(statement.unreadable), 'finding')} can't be read"
        return Check(
            "Audit", Grade.BAD, words, "`lastbeat audit` names the ranges, `lastbeat resend` asks for them again"
        )
    if age_s > _AUDIT_AGE_S:
        grade = Grade.BAD if alive else Grade.WARN
        return Check("Audit", grade, f"the last statement is {duration(age_s)} old", f"does the auditor run? {log}")
    behind = sum(statement.head.behind.values())
    more = f"; {count(behind, 'partition')} not read to the end yet" if behind else ""
    if open_questions := doubts(statement.head, now):
        return Check("Audit", Grade.WARN, f"nothing is known to be lost{more}", "; ".join(open_questions))
    words = f"every event is accounted for, as of {duration(age_s)} ago{more}; {last_counted(statement.head, now)}"
    return Check("Audit", Grade.GOOD, words)


def services(fleet: Fleet, now: float) -> Check:
    """Who has not been heard of?"""
    if not fleet.instances:
        return Check("Services", Grade.WARN, "none has ever reported", "add three lines to one: see `lastbeat up`")
    ill = [row for row in fleet.services if row.verdict not in _WELL]
    youngest = max(row.last_notify_time for row in fleet.instances)
    if ill:
        names = ", ".join(f"{row.verdict} {row.service} in {row.region}" for row in ill[:3])
        more = f" and {len(ill) - 3} more" if len(ill) > 3 else ""
        return Check("Services", Grade.WARN, names + more, "`lastbeat incidents` tells why")
    words = f"{count(len(fleet.services), 'service')}, youngest beat {duration(now - youngest)} ago"
    return Check("Services", Grade.GOOD, words)


_WELL = frozenset({Verdict.UP, Verdict.NEW, Verdict.STOPPED})


def notices(stuck: Iterable[str]) -> Check:
    """Did every notice go out?"""
    if failed := list(stuck):
        words = f"{count(len(failed), 'notice')} not delivered: {failed[0]}"
        return Check("Notices", Grade.BAD, words, "mend that notifier in [alerts]; it is tried again by itself")
    return Check("Notices", Grade.GOOD, "none is waiting")


def notifiers(settings: Settings) -> Check:
    """Is anybody told?"""
    kinds = [notifier.name for notifier in settings.alerts.notifiers if notifier.kind != "console"]
    if not kinds:
        todo = "add [[alerts.notifiers]] with a webhook or an apprise url"
        return Check("Notifiers", Grade.WARN, "alerts go to the watch's own output only", todo)
    if not settings.alerts.dead_mans_switch_url:
        words = f"{', '.join(kinds)}, but nobody notices if the watch itself dies"
        return Check(
            "Notifiers", Grade.WARN, words, "set [alerts] dead_mans_switch_url to an outside monitor's ping url"
        )
    return Check("Notifiers", Grade.GOOD, ", ".join(kinds))
