"""How far a statement can be vouched for: when the stores were last counted, and what nobody looks at.

In words, the same for everybody who shows them; no alarm hangs on them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from alerts.words import ago, duration

from .statement import Head

LATE = 3
"""So many times as long as it should be since the stores were counted is for too long."""


def last_counted(head: Head, now: float) -> str:
    """When the stores were last counted."""
    if head.counted_at is None:
        return "the stores have not been counted yet"
    return f"the stores were counted {ago(head.counted_at, now)}"


def doubts(head: Head, now: float) -> list[str]:
    """What a balance doesn't speak of, each with what to do."""
    return list(_doubts(head, now))


def _doubts(head: Head, now: float) -> Iterator[str]:
    for sink in head.absent:
        yield f"{sink} has no account yet, so nothing is known of it: does the role that fills it run?"
    for sink, number in sorted(head.unjudged.items()):
        yield (
            f"{sink} lacks {number:,} events that were durable before anything is known of their processes, so "
            "nobody can say whether it ever had them: were journal and state lost, or put back?"
        )
    since = head.since if head.counted_at is None else head.counted_at
    if head.count_every_s and now - since > LATE * head.count_every_s:
        why = f": {head.trouble}" if head.trouble else "; see the auditor's log"
        yield f"{last_counted(head, now)}, which is due every {duration(head.count_every_s)}{why}"
    elif head.counted_sinks:
        for sink in sorted(head.behind.keys() - {*head.counted_sinks, *head.absent}):
            yield f"{sink} was not counted: its files are not on the auditor's host"
