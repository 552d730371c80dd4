"""What the boards say of the statement, worked out from its lines. Pure: no state, no Streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo

import pandas as pd

from alerts.audit.findings import Finding
from alerts.audit.reconcile import by_reason, ranges
from alerts.audit.statement import Line, Statement, grouped, total
from alerts.audit.vouching import doubts, last_counted
from alerts.words import count, duration

from .encodings import AMBER, MUTED, RED
from .figures import count as short
from .figures import moment
from .scope import Choice, Scope

SILENT_S = 60.0
"""After this long without a statement, nobody should take it for the present."""
FATES = {"stored": "Stored", "dead": "Dead letters", "drops": "Dropped, counted", "flight": MUTED, "tail": AMBER,
         "unaccounted": RED}  # fmt: skip
SLOTS = {"Stored": 0, "Dead letters": 1, "Dropped, counted": 3}

WELL, LOST = ("●", "green"), ("≠", "red")


def chosen(statement: Statement, choice: Choice, scope: Scope | None = None) -> Statement:
    """What the filters leave of a statement; with a scope, of its days alone. What is lost stays, whenever it was."""

    def fits(region: str, service: str) -> bool:
        return (not choice.regions or not region or region in choice.regions) and (
            not choice.services or not service or service in choice.services
        )

    days = ("", "9") if scope is None else (_day(scope.start), _day(scope.end))
    head = statement.head
    return Statement(
        replace(
            head,
            tails=tuple(each for each in head.tails if fits(each.region, each.service)),
            liars=tuple(each for each in head.liars if fits(each.region, each.service)),
            differences=tuple(each for each in head.differences if fits(each.region, "")),
        ),
        tuple(line for line in statement.lines if fits(line.region, line.service) and _within(line, days)),
        tuple(each for each in statement.findings if fits(each.region, each.service)),
        statement.unreadable,
    )


def _within(line: Line, days: tuple[str, str]) -> bool:
    return days[0] <= line.day <= days[1] or line.unaccounted > 0


def shown_sink(statement: Statement) -> str:
    """The store whose counts the figures show: the one that lacks most, else the first."""
    kept = [sink for sink in statement.sinks if sink not in statement.head.absent]
    return max(kept, key=lambda sink: statement.of(sink).unaccounted, default="")


def sentence(statement: Statement, now: float) -> tuple[str, str, str]:
    """Sign, colour and words: what is lost, where, since when, or that nothing is."""
    lost, head = statement.open, statement.head
    if lost:
        services = sorted({each.service for each in lost})
        where = sorted({each.region for each in lost})
        who = services[0] if len(services) == 1 else count(len(services), "service")
        place = f" in {where[0]}" if len(where) == 1 else ""
        number = max(sum(each.missing for each in lost if each.sink == sink) for sink in {each.sink for each in lost})
        return *LOST, f"{short(number)} events of {who}{place} are lost · {duration(now - min(e.since for e in lost))}"
    if head.differences:
        return *LOST, f"two stores differ in {count(len(head.differences), 'stream')}"
    if statement.unaccounted:
        return "◔", "orange", f"{short(statement.unaccounted)} events are missed, for less than two beats"
    if head.liars:
        return "◔", "orange", f"{count(len(head.liars), 'stream')} can't be believed: what they say contradicts itself"
    if statement.unreadable:
        return "◔", "orange", f"{count(len(statement.unreadable), 'finding')} can't be read: nothing is proven"
    if doubts(head, now):
        return "◌", "gray", "nothing is known to be lost"
    if not statement.lines:
        return "○", "gray", "nothing was emitted yet"
    return *WELL, "every event is accounted for"


def known(statement: Statement, sink: str, now: float) -> str:
    """What else is known, for the line under the sentence."""
    line = statement.of(sink)
    words = [f"{short(line.emitted)} emitted", f"{short(line.stored)} stored"]
    if line.drops:
        words.append(f"{short(line.drops)} dropped and counted")
    if line.flight:
        words.append(f"{short(line.flight)} on their way")
    if line.tail:
        words.append(f"{short(line.tail)} cut off with their process")
    if waiting := sum(statement.head.behind.values()):
        words.append(f"{count(waiting, 'partition')} not read to the end yet")
    return " · ".join([*words, *(doubts(statement.head, now) or [last_counted(statement.head, now)])])


def by_day(statement: Statement, sink: str) -> list[Line]:
    """One line a day, the oldest first."""
    return grouped((line for line in statement.lines if line.sink == sink), "day")


def lines_frame(statement: Statement) -> pd.DataFrame:
    """Every day, service and store, the worst first, each with its why."""
    lines = grouped(statement.lines, "day", "region", "service", "sink")
    lines.sort(
        key=lambda line: (-line.unaccounted, -line.tail, _reverse(line.day), line.service, line.region, line.sink)
    )
    return pd.DataFrame([
        {
            "State": [_state(line)],
            "Day": line.day,
            "Service": line.service,
            "Region": line.region,
            "Store": line.sink,
            "Emitted": line.emitted,
            "Stored": line.stored,
            "Dead": line.dead,
            "Dropped": line.drops,
            "On the way": line.flight,
            "Cut off": line.tail,
            "Lost": line.unaccounted,
            "Why": _why(line),
        }
        for line in lines
    ])  # fmt: skip


STATES = {"≠ LOST": "red", "◔ CUT OFF": "orange", "◌ ON THE WAY": "gray", "● BALANCED": "green"}


def _state(line: Line) -> str:
    if line.unaccounted:
        return "≠ LOST"
    if line.tail:
        return "◔ CUT OFF"
    return "◌ ON THE WAY" if line.flight else "● BALANCED"


def _why(line: Line) -> str:
    reasons = dict(line.dropped)
    if line.void:
        reasons["given up after sealing"] = line.void
    words = []
    if line.unaccounted:
        words.append("durable by the sender's beats, and nowhere to be found")
    if line.tail:
        words.append("numbered, never sent before the process ended")
    if reasons:
        words.append(f"dropped: {by_reason(reasons)}")
    return "; ".join(words)


def lost_frame(statement: Statement, zone: tzinfo, now: float) -> pd.DataFrame:
    """Every range that is lost, contradicted or cut off, the worst first."""
    rows = [_lost(each, zone, now) for each in statement.open]
    rows += [
        _row("≠ LOST", "", other.region, other.stream, "", f"{other.day}: {other.words}")
        for other in statement.head.differences
    ]
    rows += [_row("◔ LYING", liar.service, liar.region, liar.stream, "", liar.words) for liar in statement.head.liars]
    for tail in statement.head.tails:
        since = moment(tail.at, zone, now, seconds=True)
        rows.append(
            _row(
                "■ COUNTED" if tail.counted else "◔ CUT OFF",
                tail.service,
                tail.region,
                tail.stream,
                ranges(tail.ranges),
                tail.words,
                since,
            )
        )
    return pd.DataFrame(rows)


def _lost(each: Finding, zone: tzinfo, now: float) -> dict[str, object]:
    tried = f"; asked for again {count(each.tries, 'time')}: {each.tried}" if each.tries else ""
    why = f"beat {each.beat} said that it is durable; {each.sink} has it not{tried}"
    since = moment(each.since, zone, now, seconds=True)
    return _row("≠ LOST", each.service, each.region, each.stream, ranges(each.holes), why, since)


def _row(
    state: str, service: str, region: str, stream: str, numbers: str, why: str, since: str = ""
) -> dict[str, object]:
    return {"State": [state], "Service": service, "Region": region, "Stream": stream, "Numbers": numbers,
            "Since": since, "Why": why}  # fmt: skip


LOST_STATES = {"≠ LOST": "red", "◔ LYING": "orange", "◔ CUT OFF": "orange", "■ COUNTED": "gray"}


def filled_frame(statement: Statement, zone: tzinfo, now: float) -> pd.DataFrame:
    """What was lost and is there again, the newest first."""
    over = sorted(
        (each for each in statement.findings if each.ended_at is not None), key=lambda each: -(each.ended_at or 0)
    )
    return pd.DataFrame([
        {
            "Service": each.service,
            "Region": each.region,
            "Numbers": f"{each.dataset} {ranges(each.found)}",
            "Was missing for": duration((each.ended_at or now) - each.since),
            "Filled": moment(each.ended_at or now, zone, now, seconds=True),
            "From": by_reason(each.sources) or "it came late",
            "Store": each.sink,
        }
        for each in over
    ])  # fmt: skip


def fates_frame(days: Sequence[Line], *, stored: bool) -> pd.DataFrame:
    """What became of each day's events, as t (ms), t2, series, value, words; without `stored`, of the rest."""
    rows = []
    for line in days:
        start = datetime.fromisoformat(f"{line.day}T00:00:00+00:00").timestamp() if line.day[:1].isdigit() else None
        for name, series in FATES.items():
            number = getattr(line, name)
            if start is not None and number and (stored or name != "stored"):
                rows.append((line.day, series, number, _WORDS[name]))
    return pd.DataFrame(rows, columns=["day", "series", "value", "words"])


_WORDS = {"stored": "stored", "dead": "in the dead letters", "drops": "dropped and counted", "flight": "on their way",
          "tail": "cut off with their process", "unaccounted": "lost"}  # fmt: skip


def rest_words(days: Sequence[Line]) -> str:
    """`594 dropped and counted · 200 lost`, the most first; '' if all is stored."""
    counts = {words: sum(getattr(day, name) for day in days) for name, words in _WORDS.items() if name != "stored"}
    most_first = sorted(counts.items(), key=lambda each: -each[1])
    return " · ".join(f"{short(number)} {words}" for words, number in most_first if number)


def everything(statement: Statement, sink: str) -> Line:
    """All days together."""
    return total((line for line in statement.lines if line.sink == sink), Line("", "", "", "", sink))


def _reverse(day: str) -> str:
    """Sorts the newest first."""
    return "".join(chr(255 - ord(letter)) for letter in day)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
