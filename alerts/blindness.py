"""Says when the watch itself sees nothing: one incident for the widest scope, and nobody is accused.

Silence is measured by the watch's own monotonic clock, a step at a time and only while everything there is was read: a
watch that was stopped, or that has much to read, is not blind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .book import Book
from .incidents import Severity
from .paths import Path
from .roster import Roster
from .transitions import Draft
from .words import count, duration

KEY = "blind"
MAX_STEP_S = 2.0
"""The most that one step may count: a longer one says that the watch was stopped."""
SUSPECT_S = 2.5
"""Two canaries are missing. Before this, a path is seen; until all that are suspect are seen or blind, no scope is
certain."""
BEHIND_S = 120.0
"""A watch that could not read up to the end for this long sees as little as one without canaries."""


@dataclass(frozen=True, slots=True)
class PathFacts:
    """One path that live processes use: how long it has been unseen, since when by the journal, and by the fault of
    which gateways."""

    region: str
    ingress: str
    unseen_s: float
    seen_at: float
    gateways: tuple[str, ...]
    all_gateways: int


def describe(blind: Sequence[PathFacts], seen: Sequence[PathFacts]) -> str:
    """The widest scope that explains which paths are blind, in words."""
    if not seen:
        regions = sorted({path.region for path in blind})
        where = f" ({', '.join(regions)})" if len(regions) > 1 else f" in {regions[0]}"
        return f"blind to everything{where}"
    for name in ("ingress", "region"):
        values = {getattr(path, name) for path in blind}
        if len(values) == 1 and not values & {getattr(path, name) for path in seen}:
            return f"blind to {name} {values.pop() or 'without a name'}"
    places = sorted({f"{path.region} through ingress {path.ingress or 'without a name'}" for path in blind})
    return f"blind to {', '.join(places[:5])}" + (" …" if len(places) > 5 else "")


def explain_gateways(blind: Iterable[PathFacts]) -> str:
    """Whose canaries are missing, in words."""
    paths = list(blind)
    if not any(path.all_gateways for path in paths):
        return "no gateway's canary has ever arrived there"
    missing = sorted({name for path in paths for name in path.gateways})
    return f"no canary of {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}"


class Blindness:
    """Keeps the one incident. `step` marks each path blind or seen."""

    def __init__(self, roster: Roster, book: Book, blind_after_s: float) -> None:
        self._roster = roster
        self._book = book
        self._after_s = blind_after_s
        self._unread_s = 0.0
        self._behind_s = 0.0

    def step(self, elapsed_s: float, journal_error: str) -> bool:
        """Count `elapsed_s` of the watch's own time; whether any path turned. `journal_error`: why nothing was read."""
        step_s = min(max(elapsed_s, 0.0), MAX_STEP_S)
        self._unread_s = self._unread_s + step_s if journal_error else 0.0
        is_behind = any(not partition.caught_up for partition in self._roster.partitions.values())
        self._behind_s = self._behind_s + step_s if is_behind and not journal_error else 0.0
        blind, seen, suspect = self._survey(0.0 if journal_error else step_s)
        turned = False
        for path in self._roster.paths.values():
            now_blind = path in blind or (bool(path.live) and self._unread_s >= self._after_s)
            if path.blind != now_blind:
                path.blind, path.since, turned = now_blind, self._roster.now(), True
        self._tell(list(map(_facts, blind)), list(map(_facts, seen)), settled=not suspect, journal_error=journal_error)
        return turned

    def _survey(self, step_s: float) -> tuple[list[Path], list[Path], list[Path]]:
        blind: list[Path] = []
        seen: list[Path] = []
        suspect: list[Path] = []
        for path in self._roster.paths.values():
            if path.partition.caught_up:
                path.sight.elapse(step_s)
            if path.live:
                unseen_s, _ = path.sight.unseen()
                chosen = blind if unseen_s >= self._after_s else suspect if unseen_s > SUSPECT_S else seen
                chosen.append(path)
        return blind, seen, suspect

    def _tell(self, blind: list[PathFacts], seen: list[PathFacts], *, settled: bool, journal_error: str) -> None:
        is_open = self._book.find(KEY) is not None
        if self._unread_s >= self._after_s:
            self._open("blind: the journal can't be read", journal_error, began_at=self._roster.now())
        elif self._behind_s >= BEHIND_S:
            why = f"the watch has been behind the journal's end for {duration(BEHIND_S)}"
            self._open("blind: the watch can't keep up", why, began_at=self._roster.now())
        elif blind and (settled or is_open):
            began_at = min(path.seen_at for path in blind)
            why = f"{explain_gateways(blind)} for over {duration(self._after_s)}; until then nobody is called down"
            evidence = {"paths": [_doc(path) for path in blind], "seen": len(seen), "after_s": self._after_s}
            self._open(describe(blind, seen), why, began_at=began_at, evidence=evidence)
        elif is_open and settled and not blind and not journal_error and not self._behind_s:
            live = sum(path.live for path in self._roster.paths.values())
            self._book.resolve(KEY, f"every path in use is seen again; {count(live, 'process', 'processes')} watched")

    def _open(self, summary: str, why: str, *, began_at: float, evidence: dict[str, object] | None = None) -> None:
        held = self._book.find(KEY)
        if held is not None and held.summary == summary and held.calm_since is None:
            return
        self._book.open(Draft("blind", KEY, Severity.PAGE, summary, why, began_at, evidence=evidence or {}))


def _facts(path: Path) -> PathFacts:
    unseen_s, gateways = path.sight.unseen()
    seen_at = path.sight.seen_at or path.since
    return PathFacts(path.partition.region, path.ingress, unseen_s, seen_at, gateways, len(path.sight.gateways))


def _doc(path: PathFacts) -> dict[str, object]:
    return {
        "region": path.region,
        "ingress": path.ingress,
        "unseen_s": round(path.unseen_s, 3),
        "gateways": list(path.gateways),
    }
