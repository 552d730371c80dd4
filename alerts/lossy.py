"""Incidents of what the auditor found: events lost though they were durable, streams that contradict themselves, stores
that differ. The watch reads findings and judges nothing of them; while State is away they stay as they are.

One incident a service and region; from SEVERAL services on one for the region, from several such regions one for all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from collector.ports import State
from shippers.clock import Clock
from shippers.errors import Unavailable

from .audit.findings import Finding, read_findings
from .audit.reconcile import by_reason, ranges
from .audit.statement import Difference, Head, Liar, read_head
from .book import Book
from .incidents import Severity
from .transitions import Draft
from .words import clock_time, count

EVERY_S, AFTER_FAILURE_S = 2.0, 10.0
SEVERAL = 3
MAX_NAMED = 20
KINDS = ("lossy", "lying")


class Losses:
    """Keeps those incidents. Used by the watch's thread."""

    def __init__(self, state: State, book: Book, clock: Clock) -> None:
        self._state, self._book, self._clock = state, book, clock
        self._open = {each.dedup_key for each in book.opens() if each.kind in KINDS}
        self._next_at = float("-inf")

    def step(self) -> None:
        """Open, raise and resolve. Never raises; costs one short read every few seconds."""
        now = self._clock.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + EVERY_S
        try:
            findings, head = read_findings(self._state), read_head(self._state)
        except Unavailable:
            self._next_at = now + AFTER_FAILURE_S
            return
        self._open |= {each.dedup_key for each in self._book.opens() if each.kind in KINDS}
        lost = [each for each in findings if each.ended_at is None]
        drafts = {key: loss(key, group) for key, group in scopes(lost, self._open).items()}
        if head is not None:
            drafts |= {draft.dedup_key: draft for draft in (*lies(head), *differences(head))}
        for draft in drafts.values():
            self._book.open(draft)
        for key in self._open - drafts.keys():
            self._book.resolve(key, over(key, findings, drafts))
        self._open = set(drafts)


def scopes(lost: Sequence[Finding], already: Collection[str] = ()) -> dict[str, list[Finding]]:
    """Which findings are told together, by their incident's key. What is told wide already stays so."""
    services: dict[str, set[str]] = defaultdict(set)
    for each in lost:
        services[each.region].add(each.service)
    wide = {region for region, names in services.items() if len(names) >= SEVERAL or f"lossy/{region}" in already}
    everywhere = len(wide) >= SEVERAL or ("lossy" in already and bool(wide))
    groups: dict[str, list[Finding]] = defaultdict(list)
    for each in lost:
        if each.region in wide:
            groups["lossy" if everywhere else f"lossy/{each.region}"].append(each)
        else:
            groups[f"lossy/{each.region}/{each.service}"].append(each)
    return groups


def loss(key: str, findings: Sequence[Finding]) -> Draft:
    """The incident of one scope. The sinks that lack the same are named together."""
    regions, services = {each.region for each in findings}, {each.service for each in findings}
    region = next(iter(regions)) if len(regions) == 1 else ""
    service = next(iter(services)) if key.count("/") == 2 else ""
    per_sink: dict[str, int] = defaultdict(int)
    for each in findings:
        per_sink[each.sink] += each.missing
    lacks = " and ".join(f"{sink} lacks {number:,}" for sink, number in sorted(per_sink.items()))
    who = service or count(len(services), "service")
    where = f" in {region}" if region else ""
    tried = sorted({each.tried for each in findings if each.tried})
    named = dict.fromkeys(each.words for each in sorted(findings, key=lambda each: each.key))
    why = f"they were durable, and are neither stored nor in the dead letters: {_listed(named, 5)}"
    return Draft(
        kind="lossy",
        dedup_key=key,
        severity=Severity.PAGE,
        summary=f"events of {who} are lost{where}: {lacks}",
        why=f"{why}; {'; '.join(tried[:3])}" if tried else why,
        began_at=min(each.since for each in findings),
        region=region,
        service=service,
        instance=findings[0].instance if len({each.instance for each in findings}) == 1 else "",
        evidence={"missing": dict(per_sink), "findings": [_doc(each) for each in findings[:MAX_NAMED]]},
    )


def over(key: str, findings: Iterable[Finding], drafts: Mapping[str, Draft]) -> str:
    """Why an incident is over, with the evidence."""
    region, _, service = key.partition("/")[2].partition("/")
    if key.startswith("lying"):
        return "what contradicted itself is no longer in the account"
    if key.startswith("lossy/store/"):
        return "the stores were counted again, and agree"
    if wider := [wide for wide in ("lossy", f"lossy/{region}") if wide in drafts and wide != key]:
        return f"told with others as {drafts[wider[0]].summary}"
    filled = [
        each
        for each in findings
        if each.ended_at is not None and region in ("", each.region) and service in ("", each.service)
    ]
    sources: dict[str, int] = defaultdict(int)
    for each in filled:
        for source, number in each.sources.items():
            sources[source] += number
    words = _listed(dict.fromkeys(f"{each.dataset} {ranges(each.found)} of {each.instance}" for each in filled), 5)
    return "nothing is missing any more" + (f": {words} came after all" if words else "") + (
        f"; got back: {by_reason(sources)}" if any(sources.values()) else ""
    )  # fmt: skip


def lies(head: Head) -> list[Draft]:
    """One incident for each service whose counts can't be believed."""
    groups: dict[tuple[str, str], list[Liar]] = defaultdict(list)
    for each in head.liars:
        groups[each.region, each.service].append(each)
    words = {who: dict.fromkeys(f"{each.stream}: {each.words}" for each in liars) for who, liars in groups.items()}
    return [
        Draft(
            kind="lying",
            dedup_key=f"lying/{region}/{service}",
            severity=Severity.WARNING,
            summary=f"what {service or 'an unknown service'} says of itself contradicts itself",
            why=f"nothing counted of it is proven: {_listed(words[region, service], 3)}",
            began_at=head.at,
            region=region,
            service=service,
            evidence={"streams": sorted({each.stream for each in liars})[:MAX_NAMED]},
        )
        for (region, service), liars in groups.items()
    ]


def differences(head: Head) -> list[Draft]:
    """One incident for each region in which stores that should have the same were counted and differ."""
    groups: dict[str, list[Difference]] = defaultdict(list)
    for each in head.differences:
        if each.lacking:
            groups[each.region].append(each)
    return [
        Draft(
            kind="lossy",
            dedup_key=f"lossy/store/{region}",
            severity=Severity.PAGE,
            summary=f"the stores of {region} differ in {count(len(found), 'stream')}",
            why=_listed(dict.fromkeys(f"{each.day} {each.words}" for each in found), 5),
            began_at=head.counted_at or head.at,
            region=region,
            evidence={"counted_at": head.counted_at, "streams": [each.stream for each in found[:MAX_NAMED]]},
        )
        for region, found in groups.items()
    ]


def _doc(finding: Finding) -> dict[str, Any]:
    return {
        "sink": finding.sink,
        "stream": finding.stream,
        "ranges": [list(each) for each in finding.holes[:MAX_NAMED]],
        "missing": finding.missing,
        "said_by_beat": finding.beat,
        "since": clock_time(finding.since),
        "tries": finding.tries,
        "got_back": dict(finding.sources),
    }


def _listed(words: Iterable[str], most: int) -> str:
    listed = list(words)
    return "; ".join(listed[:most]) + (f"; and {len(listed) - most} more" if len(listed) > most else "")
