"""Beats that arrive and are turned away (token, region, quota): their senders live, so they are REFUSED, not down.

One incident for a region and a code, however many senders; a warning, and a page once a service is missing for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from .book import Book
from .incidents import Severity
from .processes import Instance, Refusal
from .roster import Roster
from .staleness import Verdict
from .transitions import Draft
from .words import count

STRANGER_S = 60.0
"""How long a sender that never got through is remembered after it was last turned away."""


def is_active(refusal: Refusal) -> bool:
    """Whether its sender is still being turned away, as far as its promised interval can tell."""
    instance = refusal.instance
    shown = instance.shown() if instance is not None else None
    return refusal.age_s <= (shown.policy.allowed_s if shown is not None else STRANGER_S)


def draft(region: str, code: str, refusals: Sequence[Refusal], began_at: float) -> Draft:
    """The incident of one region and code."""
    missing = sorted({
        each.instance.service.name
        for each in refusals
        if each.instance is not None and each.instance.verdict is Verdict.REFUSED
    })  # fmt: skip
    names = sorted({each.key.partition("/")[2].partition("/")[0] or "?" for each in refusals})
    who = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
    why = f"beats of {count(len(refusals), 'sender')} reach the gateway and are turned away with {code!r}"
    if missing:
        why += f"; nothing is heard of {', '.join(missing[:5])} any more, though it beats"
    return Draft(
        kind="refused",
        dedup_key=f"refused/{region}/{code}",
        severity=Severity.PAGE if missing else Severity.WARNING,
        summary=f"beats of {who} are refused in {region}: {code}",
        why=why,
        began_at=began_at,
        region=region,
        service=names[0] if len(names) == 1 else "",
        evidence={"code": code, "senders": sorted(each.key for each in refusals)[:50], "missing": missing[:50]},
    )


class Refusals:
    """Keeps those incidents."""

    def __init__(self, roster: Roster, book: Book) -> None:
        self._roster = roster
        self._book = book
        self._open: set[str] = {each.dedup_key for each in book.opens() if each.kind == "refused"}

    def step(self) -> None:
        """Open, raise and resolve. Costs nothing while nobody is refused."""
        if not self._roster.refusals and not self._open:
            return
        groups: dict[tuple[str, str], list[Refusal]] = defaultdict(list)
        for refusal in list(self._roster.refusals.values()):
            if is_active(refusal):
                groups[refusal.region, refusal.code].append(refusal)
            else:
                del self._roster.refusals[refusal.key]
                if refusal.instance is not None:
                    self._judge_again(refusal.instance)
        wanted = set()
        for (region, code), refusals in groups.items():
            began_at = min(each.first_at for each in refusals)
            wanted.add(self._book.open(draft(region, code, refusals, began_at)).dedup_key)
        for key in self._open - wanted:
            self._book.resolve(key, "nobody is turned away any more")
        self._open = wanted

    def _judge_again(self, instance: Instance) -> None:
        """Nothing of it reaches the gateway any more: from now on its silence is its own."""
        instance.refused = None
        for process in instance.processes.values():
            if process.verdict is Verdict.REFUSED:
                self._roster.turn(process, Verdict.LATE)
                process.path.schedule(process, process.heard)
