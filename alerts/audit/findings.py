"""Findings: what is lost for longer than two beats, which ranges exactly, what was tried to get them back, and how they
were filled. One for each sink and stream; the watch makes incidents of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from alerts.document import UNREADABLE, checked, known, to_doc
from collector.ledger.intervals import Interval, IntervalSet
from collector.ports import State, Table

from .reconcile import filled, ranges, size

PREFIX = "finding/"
MAX_RANGES = 1_000
"""So many ranges are named in a document; all of them count."""
KEPT_S = 86_400.0
"""How long a finding that is over is kept, for whoever asks how it ended."""
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 600.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Numbers of one stream that one sink lacks though their sender was told that they are durable.

    `holes` are still missing, the first MAX_RANGES of them named, all counted in `missing`; `found` were and are there
    again. `since` is when the beat came that said they are durable, `beat` its number. `judged`: up to here all that is
    missing is lost, which stays true whoever asks. `sources`: how many numbers were got back from where, `got`: which.
    `ended_at` is set once nothing is missing any more, or it is given up: then `missing` is lost for good, and stays in
    the sum.
    """

    sink: str
    stream: str
    region: str
    service: str
    instance: str
    dataset: str
    day: str
    since: float
    beat: int
    opened_at: float
    holes: tuple[Interval, ...] = ()
    found: tuple[Interval, ...] = ()
    missing: int = 0
    judged: int = 0
    tries: int = 0
    tried: str = ""
    sources: Mapping[str, int] = field(default_factory=dict)
    ended_at: float | None = None
    given_up: bool = False
    got: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its key in State's table AUDIT."""
        return self.key_of(self.sink, self.stream)

    @staticmethod
    def key_of(sink: str, stream: str) -> str:
        """The key of a stream's finding. A stream's name has no slash, nor has a sink's."""
        return f"{PREFIX}{sink}/{stream}"

    @property
    def words(self) -> str:
        """Which numbers of which process, for people."""
        return f"{self.dataset} {ranges(self.holes or self.found)} of {self.instance} ({self.stream})"

    def now_missing(self, holes: Iterable[Interval], now: float) -> Finding:
        """The same, as these numbers are missing now."""
        still = tuple(holes)
        named, missing = still[:MAX_RANGES], size(still)
        if (named, missing) == (self.holes, self.missing) and (self.ended_at is None) == bool(still):
            return self
        found = IntervalSet((*self.found, *filled(self.holes, still)))
        return replace(
            self,
            holes=named,
            missing=missing,
            judged=max(self.judged, still[-1][1] if still else 0),
            found=tuple(found.without(IntervalSet(still)))[-MAX_RANGES:],
            ended_at=None if still else now,
            given_up=False,
        )

    def give_up(self, now: float) -> Finding:
        """The same, over though its numbers are missing: they are not asked for any more."""
        return replace(self, ended_at=now, given_up=True)

    def tried_again(self, sources: Mapping[str, Iterable[Interval]], words: str) -> Finding:
        """Somebody tried to get it back. The same numbers may come from several tries and sources, and count once."""
        got = {name: IntervalSet(numbers) for name, numbers in self.got.items()}
        before = IntervalSet(chain.from_iterable(self.got.values()))
        for name, numbers in sources.items():
            new = IntervalSet(numbers).without(before)
            got.setdefault(name, IntervalSet()).merge(new)
            before.merge(new)
        named = {name: tuple(numbers)[-MAX_RANGES:] for name, numbers in got.items()}
        counts = {name: max(self.sources.get(name, 0), size(numbers)) for name, numbers in got.items()}
        return replace(self, tries=self.tries + 1, tried=words, sources=counts, got=named)

    def retry_after_s(self) -> float:
        """When to try again to get it back, after the last try."""
        return float(min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**self.tries)) if self.tries else 0.0


def finding_doc(finding: Finding) -> dict[str, Any]:
    """A finding as State keeps it."""
    return {**to_doc(replace(finding, holes=(), found=())), "holes": list(finding.holes), "found": list(finding.found)}


def finding_from(doc: Mapping[str, Any]) -> Finding:
    """A finding from its document. Raises one of UNREADABLE if it is none."""
    pairs = {name: tuple((int(first), int(last)) for first, last in doc.get(name, ())) for name in ("holes", "found")}
    got = {name: tuple((int(first), int(last)) for first, last in some) for name, some in doc.get("got", {}).items()}
    finding = checked(Finding(**{**known(Finding, doc), **pairs, "got": got}))
    sum(finding.sources.values())
    return finding


def read_findings(state: State, unreadable: dict[str, str] | None = None) -> list[Finding]:
    """Every finding that State keeps, open ones first, the oldest first. Raises Unavailable. From any thread.

    A row that makes no sense is left out, and its key put in `unreadable`, with why: whoever calls anything balanced
    has to ask for that."""
    found = []
    for row in state.scan(Table.AUDIT, PREFIX):
        try:
            finding = finding_from(row.doc)
            if finding.key != row.key:
                raise ValueError(f"it is that of {finding.key}")
            found.append(finding)
        except UNREADABLE as error:
            if unreadable is not None:
                unreadable[row.key] = f"{type(error).__name__}: {error}"
    return sorted(found, key=lambda each: (each.ended_at is not None, each.opened_at, each.key))
