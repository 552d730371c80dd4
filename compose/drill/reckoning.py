"""The audit: what the senders' own logs say, held against what is really in the store, and incidents against the truth.

Pure: records in, verdicts out. It uses none of the product's own accounts but the two that the promise is about: the
drops that a process says it counted, and the numbers that void batches and dead letters account for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alerts.incidents import Incident, Severity
from alerts.scopes import MIN_SERVICES

_CANARY_S = 2.0
"""How old the last canary may be when sight is lost: one a second, and up to as much for its way."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one sender, from its start to its end, as its side log has it. `killed`: its end may have cut off what
    it had not sent; `stopped`: it was asked to end; `poison`: what it sent may be a dead letter."""

    name: str
    intent: int
    returned: int
    boot: str = ""
    killed: bool = False
    stopped: bool = False
    spooled: bool = False
    poison: bool = False
    buffer_events: int = 50_000
    service: str = ""

    @property
    def may_overflow(self) -> bool:
        """Whether it logged so much that its memory may once have been full: of bytes, at half of its events."""
        return 2 * self.intent >= self.buffer_events


@dataclass(frozen=True, slots=True)
class Kept:
    """What is there of one run: how often each of its events is stored, and by number of events what was
    dead-lettered, what void batches account for, and what its last beat in the journal said was dropped, and durable
    (`acked`)."""

    stored: Mapping[int, int] = field(default_factory=dict)
    dead: int = 0
    void: int = 0
    dropped: int = 0
    acked: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """One run's account. `unaccounted` is never negative: what is said to be gone and isn't counts as wrong as well."""

    run: Run
    emitted: int
    once: int
    dead: int
    counted: int
    cut_off: int
    duplicates: int
    unaccounted: int
    why: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is missing, and nothing is there twice."""
        return not self.unaccounted and not self.duplicates


def balance(run: Run, kept: Kept) -> Balance:
    """The account of one run.

    What its last log call had only begun counts as emitted if it is anywhere, and else not at all. What a SIGKILL cut
    off of a run without a spool is its own column. What can't be so, whoever says it, excuses nothing.
    """
    beyond = [number for number in kept.stored if not 0 < number <= run.intent]
    duplicates = sum(times - 1 for times in kept.stored.values())
    counted = kept.void + kept.dropped
    there = len(kept.stored) - len(beyond)
    missing = run.returned - sum(number <= run.returned for number in kept.stored if number not in beyond)
    missing -= kept.dead + counted
    emitted = run.returned
    if run.intent > run.returned and (run.intent in kept.stored or missing == -1):
        emitted += 1
        missing += run.intent not in kept.stored
    cut_off, why = 0, []
    if run.killed and not run.spooled and missing > 0:
        cut_off, missing = missing, 0
    elif missing:
        lacking = _ranges(set(range(1, run.returned + 1)) - set(kept.stored))
        why.append(
            f"{missing:+d}: not stored are {lacking}; dead {kept.dead}, void {kept.void}, dropped {kept.dropped}"
        )
    unaccounted = abs(missing) + len(beyond)
    if beyond:
        why.append(f"stored, but never emitted: {_ranges(beyond)}")
    if kept.dead and not run.poison:
        unaccounted += kept.dead
        why.append(f"{kept.dead} sound events are dead letters")
    if kept.dropped and not (run.stopped or run.may_overflow):
        unaccounted += kept.dropped
        why.append(f"{kept.dropped} said to be dropped, and its memory was never full")
    if no_end := _no_end(run, kept, cut_off):
        unaccounted += cut_off + kept.void
        cut_off = 0
        why.append(no_end)
    once = there - sum(times > 1 for number, times in kept.stored.items() if number not in beyond)
    return Balance(run, emitted, once, kept.dead, counted, cut_off, duplicates, unaccounted, "; ".join(why))


def _no_end(run: Run, kept: Kept, cut_off: int) -> str:
    """Why what was cut off, or is void, can't be the end of a run that had not been sent; '' if it can.

    What is sent is sent in order, and what was durable by its last beat was sent. Where memory was full, what came then
    is lacking, and not the end.
    """
    if not (gone := cut_off + kept.void):
        return ""
    if gone > (most := max(0, run.intent - kept.dropped - kept.acked)):
        return f"{cut_off} cut off and {kept.void} void, and by its last beat all but {most} were durable"
    if kept.dropped and run.may_overflow:
        return ""
    first = next((number for number in range(1, run.returned + 1) if number not in kept.stored), run.intent)
    late = [number for number in kept.stored if first < number <= run.intent]
    return f"missing, and not the end: what came after is stored, {_ranges(late)}" if late else ""


def _ranges(numbers: Collection[int]) -> str:
    """Numbers as a person reads them: 3-7, 9."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    words = [f"{first}-{last}" if last > first else f"{first}" for first, last in found[:5]]
    return ", ".join(words) + (f" and {len(found) - 5} ranges more" if len(found) > 5 else "") or "none"


# --- alarms ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that was really wrong: with one service, or, `service` being '', with the platform's sight.

    Times are seconds since the epoch. `until`, None for what was never healed, is when its effect was over at the
    latest; `healed_at` at the earliest. `zone`: the service's. Nothing at all came through meanwhile if `blind_from_s`
    is given: somebody must be told if it lasted so long.
    """

    began_at: float
    until: float | None
    service: str = ""
    zone: str = ""
    words: str = ""
    blind_from_s: float | None = None
    healed_at: float | None = None

    def lasted_s(self, now: float) -> float:
        """How long it lasted, or lasts by now."""
        return (now if self.until is None else min(self.until, now)) - self.began_at


@dataclass(frozen=True, slots=True)
class Alarms:
    """False and missed alarms, each in words."""

    false: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    longest_blind_s: float = 0.0
    told: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """What the on-call's telephone was told, once or again: of which incident, at which of its turns."""

    incident: str
    dedup_key: str
    turn: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known for certain. `dead`: services that died for good. `lost`: services of which events are really
    unaccounted for. `poisoned`: the streams that poison was sent as, or claims to be. `calls`: all that was told."""

    troubles: Sequence[Trouble] = ()
    dead: Collection[str] = ()
    lost: Collection[str] = ()
    poisoned: Collection[str] = ()
    calls: Collection[Call] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be called late: `grace_s` of the senders, how long nothing must have been seen before the watch calls
    itself blind, how many restarts in a short time are a crash loop, and how long after the end of a trouble it may
    still be told: of a service, because the watch had to catch up first; of sight, until the next canary is read."""

    grace_s: float
    blind_after_s: float
    crash_loop_restarts: int = 5
    tells_late_s: float = 20.0
    sees_late_s: float = 8.0


def alarms(incidents: Iterable[Incident], truth: Truth, rules: Rules, now: float) -> Alarms:
    """Hold the incidents of one drill against what was really wrong in it."""
    known = list(incidents)
    why = [_false(each, truth, rules, now) for each in known]
    false = [_words(each, words) for each, words in zip(known, why, strict=True) if words]
    right = [each for each, words in zip(known, why, strict=True) if not words]
    false += _told_too_often(right, truth, rules, now)
    owed = {(one.id, notice.turn): one.dedup_key for one in known for notice in one.notices}
    false += [
        f"the telephone was told “{call.title}” ({call.incident}, {call.turn}), and no incident says so"
        for call in truth.calls
        if owed.get((call.incident, call.turn)) != call.dedup_key
    ]
    told = {(call.incident, call.turn) for call in truth.calls}
    missed = [
        f"{one.kind}: {one.summary}: “{notice.turn}” is noted as delivered, and the telephone never heard it"
        for one in known
        for notice in one.notices
        if notice.delivered_at is not None and (one.id, notice.turn) not in told
    ]
    heard = {call.incident for call in truth.calls}
    for service in sorted(truth.dead):
        pages = [one for one in known if one.kind == "down" and one.service == service and one.is_open]
        if not pages:
            missed.append(f"{service} died, and nobody was told")
        elif pages[0].id not in heard:
            missed.append(f"{service} died, and the page never went out")
    for service in sorted(truth.lost):
        pages = [one for one in known if one.kind == "lossy" and one.service in ("", service) and one.is_open]
        if not any(one.id in heard for one in pages):
            missed.append(f"events of {service} are lost, and {'the page never went out' if pages else 'nobody knows'}")
    missed += _untold(known, truth.troubles, rules, now)
    blind = [(one.resolved_at or now) - one.began_at for one in known if one.kind in ("blind", "unreachable")]
    return Alarms(tuple(false), tuple(missed), max(blind, default=0.0), len(known))


def _told_too_often(known: Iterable[Incident], truth: Truth, rules: Rules, now: float) -> list[str]:
    """What began anew more often than there were faults, be it in one incident or in several of one key."""
    found: dict[str, list[Incident]] = {}
    for each in known:
        if each.kind not in ("lossy", "lying"):
            found.setdefault(each.dedup_key, []).append(each)
    return [
        _words(same[-1], f"told {openings} times, for {most} faults at most")
        for same in found.values()
        if (openings := sum(1 + each.reopened for each in same))
        > (most := _reasons(same[-1], truth.troubles, rules, now))
    ]


def _untold(known: Iterable[Incident], troubles: Sequence[Trouble], rules: Rules, now: float) -> list[str]:
    """Times without sight of which nobody was told. Where the platform had another trouble, that may be why."""
    told = [
        (one.opened_at, now if one.resolved_at is None else one.resolved_at)
        for one in known
        if one.kind in ("blind", "unreachable")
    ]
    found: dict[str, None] = {}
    for trouble in troubles:
        if trouble.blind_from_s is None or trouble.healed_at is None:
            continue
        others = _spans([each for each in troubles if not each.service and each.words != trouble.words], now)
        upset = [(began, until + _CANARY_S) for began, until in others]
        left = _without((trouble.began_at, trouble.healed_at), upset)
        alone_s = max((until - began for began, until in left), default=0.0)
        last = trouble.healed_at + rules.sees_late_s
        if alone_s >= trouble.blind_from_s and not any(b <= last and trouble.began_at <= u for b, u in told):
            found[f"{trouble.words}: nothing was seen for {alone_s:.1f} s, and nobody was told"] = None
    return list(found)


def _false(incident: Incident, truth: Truth, rules: Rules, now: float) -> str:
    """Why an incident is a false alarm; '' if it is none."""
    if incident.kind in ("lossy", "lying"):
        return _falsely_accuses(incident, truth)
    if not _is_explained(incident, truth.troubles, rules, now):
        return "nothing was wrong there"
    is_of_the_dead = incident.kind in ("down", "instance") and incident.service in truth.dead
    if incident.is_open and incident.calm_since is None and not is_of_the_dead:
        return "it is over, and still open"
    return ""


def _falsely_accuses(incident: Incident, truth: Truth) -> str:
    """Of losses and lies. What was over before anybody was told of it is no alarm: the statement is judged for that."""
    streams = set(incident.evidence.get("streams", ()))
    is_poison = bool(streams) and streams <= set(truth.poisoned)
    if incident.kind == "lying":
        return "" if is_poison else "nobody lied"
    if is_poison and incident.severity is Severity.WARNING:  # a store has more than it should
        return ""
    if not incident.is_open and not incident.notices and incident.evidence.get("pending_s"):
        return ""
    is_true = incident.service in truth.lost if incident.service else bool(truth.lost)
    return "" if is_true else "nothing is lost there"


def _is_explained(incident: Incident, troubles: Sequence[Trouble], rules: Rules, now: float) -> bool:
    """Whether there is a good reason for an incident: it had begun, and had lasted, and wasn't long over.

    A service is silent for longer than interval and grace only if it was ill for the grace at least: its last beat may
    have been due just then. It had been so for that long when it was told. So it is with blindness and the last canary.
    """
    opened = incident.opened_at
    sight = [
        min(until, opened) - began
        for began, until in _spans([each for each in troubles if not each.service], now, _CANARY_S)
        if began <= opened <= until + rules.sees_late_s
    ]
    if incident.kind == "blind":
        return any(lasted >= rules.blind_after_s - _CANARY_S for lasted in sight)
    ill = [
        each
        for each in troubles
        if each.service and each.began_at <= opened <= (now if each.until is None else each.until) + rules.tells_late_s
    ]
    if incident.kind == "flapping":
        return any(each.service == incident.service for each in ill)
    silent = [each for each in ill if each.lasted_s(opened) >= rules.grace_s]
    if incident.kind == "unreachable":
        services = {each.service for each in silent if incident.zone in ("", each.zone)}
        return any(lasted >= rules.grace_s for lasted in sight) or len(services) >= MIN_SERVICES
    return incident.kind in ("down", "instance") and any(each.service == incident.service for each in silent)


Span = tuple[float, float]


def _spans(troubles: Iterable[Trouble], now: float, apart_s: float = 0.0) -> list[Span]:
    """When there was any of these, in order. What is `apart_s` at most from the next is one with it."""
    found: list[Span] = []
    for began, until in sorted((each.began_at, now if each.until is None else each.until) for each in troubles):
        if found and began <= found[-1][1] + apart_s:
            found[-1] = found[-1][0], max(found[-1][1], until)
        else:
            found.append((began, until))
    return found


def _without(span: Span, others: Iterable[Span]) -> list[Span]:
    """What is left of a span outside of others, which are in order."""
    began, until = span
    found: list[Span] = []
    for first, last in others:
        found.append((began, min(first, until)))
        began = max(began, last)
    return [each for each in (*found, (began, until)) if each[0] < each[1]]


def _reasons(incident: Incident, troubles: Sequence[Trouble], rules: Rules, now: float) -> int:
    """How often an incident may have begun: once for each trouble that could be its reason."""
    if incident.kind == "flapping":
        return int(sum(trouble.service == incident.service for trouble in troubles) >= rules.crash_loop_restarts)
    if incident.kind in ("blind", "unreachable"):
        return (
            sum(not trouble.service for trouble in troubles) + sum(bool(trouble.service) for trouble in troubles) // 3
        )
    return sum(trouble.service == incident.service and trouble.lasted_s(now) >= rules.grace_s for trouble in troubles)


def _words(incident: Incident, why: str) -> str:
    return f"{incident.kind}: {incident.summary} ({incident.why}): {why}"
