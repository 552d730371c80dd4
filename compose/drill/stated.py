"""What the product itself says of every event, held against what really became of them: its statement, as the auditor
wrote it once all was quiet. Pure.

A statement that claims a balance that isn't there is as wrong as one that accuses what is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from alerts.audit.findings import Finding
from alerts.audit.reconcile import by_reason, size
from alerts.audit.statement import Line, Statement, grouped

from .reckoning import Balance

_DATASET = "business"


@dataclass(frozen=True, slots=True)
class Fate:
    """What really became of one service's events in one sink. `cut_off`: ended with their processes; what these had
    spoken of is all that anybody can know of that. `lost`: not accounted for."""

    service: str
    sink: str
    emitted: int = 0
    stored: int = 0
    dead: int = 0
    given_up: int = 0
    cut_off: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Stated:
    """What came of it. `called_lost`: events that the statement calls lost, or once did; `wrong`: what it says that
    isn't so, in words."""

    called_lost: int = 0
    wrong: tuple[str, ...] = ()


def fates(sink: str, balances: Iterable[Balance]) -> list[Fate]:
    """By service, from the account of every run."""
    found: dict[str, Fate] = {}
    for one in balances:
        was = found.get(one.run.service, Fate(one.run.service, sink))
        found[one.run.service] = Fate(
            was.service,
            sink,
            was.emitted + one.emitted,
            was.stored + one.once,
            was.dead + one.dead,
            was.given_up + one.counted,
            was.cut_off + one.cut_off,
            was.lost + one.unaccounted,
        )
    return [found[service] for service in sorted(found)]


def is_of(statement: Statement, moment: float) -> bool:
    """Whether it is as of `moment` or later, all sinks were read to the end, and the stores were counted since."""
    head = statement.head
    return head.at >= moment and not any(head.behind.values()) and (head.counted_at or 0.0) >= moment


def hold(statement: Statement, truths: Sequence[Fate], poisoned: Collection[str]) -> Stated:
    """Hold it against the truth. `poisoned`: streams that may rightly be told to contradict themselves, or to be more
    than they should."""
    lines = {(each.service, each.sink): each for each in grouped(_business(statement), "service", "sink")}
    wrong: list[str] = []
    for truth in truths:
        line = lines.pop((truth.service, truth.sink), Line("", "", truth.service, _DATASET, truth.sink))
        wrong += [f"of {truth.service} in {truth.sink} it says {words}" for words in _differences(line, truth)]
    wrong += [f"it has {each.emitted} of {each.service} in {each.sink}, who emitted nothing" for each in lines.values()]
    wrong += [
        f"of {each.dataset} of {each.service} in {each.sink} it calls {each.unaccounted} lost"
        for each in statement.lines
        if each.dataset != _DATASET and each.unaccounted
    ]
    lost = {(truth.service, truth.sink) for truth in truths if truth.lost}
    wrong += [_accusation(each) for each in statement.findings if (each.service, each.sink) not in lost]
    wrong += [f"{each.stream} contradicts itself: {each.words}" for each in statement.head.liars
              if each.stream not in poisoned]  # fmt: skip
    if not lost:
        wrong += [f"stores differ: {each.day} {each.stream}: {each.words}" for each in statement.head.differences
                  if each.lacking or each.stream not in poisoned]  # fmt: skip
    return Stated(called_lost(statement), tuple(wrong))


def called_lost(statement: Statement) -> int:
    """How many events it calls lost, or did so before they came or were got back, in the sink that lacks most."""
    ever = [
        sum(each.missing + size(each.found) for each in statement.findings if each.sink == sink)
        for sink in statement.sinks
    ]
    return max(statement.unaccounted, *ever, 0)


def _business(statement: Statement) -> Iterable[Line]:
    return (line for line in statement.lines if line.dataset == _DATASET)


def _differences(line: Line, truth: Fate) -> list[str]:
    """What of one line isn't so. How many are emitted can't be known where a process took its end with it."""
    found = [
        f"{name} {said}, and it is {really}"
        for name, said, really in (
            ("stored", line.stored, truth.stored),
            ("dead-lettered", line.dead, truth.dead),
            ("given up", line.drops, truth.given_up),
            *(
                []
                if truth.cut_off
                else [("emitted", line.emitted, truth.emitted), ("lost", line.unaccounted, truth.lost)]
            ),
        )
        if said != really
    ]
    if (open_ := line.flight + line.tail) > truth.cut_off:
        found.append(f"{open_} on their way or cut off, and {truth.cut_off} can be")
    if truth.cut_off and bool(line.unaccounted) is not bool(truth.lost):
        found.append(f"lost {line.unaccounted}, and it is {truth.lost}")
    return found


def _accusation(finding: Finding) -> str:
    over = "" if finding.ended_at is None else f", and then not any more (sent again: {by_reason(finding.sources)})"
    return f"it called {finding.missing + size(finding.found)} lost in {finding.sink}: {finding.words}{over}"
