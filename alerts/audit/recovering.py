"""Between findings and whoever gets ranges back: what is asked for, and what came of it in words. Pure."""

from __future__ import annotations

from collector.resend.wanted import Recovered, Wanted, count_of, spelled

from .findings import Finding

BEFORE_S, AFTER_S = 3_600.0, 60.0
"""The journal took it in before the beat that said so, and seldom long before."""


def wanted(finding: Finding) -> Wanted:
    """What to ask for."""
    since, until = finding.since - BEFORE_S, finding.since + AFTER_S
    who = finding.region, finding.service, finding.instance
    return Wanted(finding.stream, finding.holes, since, until, *who)


def outcome(found: Recovered) -> tuple[dict[str, int], str]:
    """How many numbers were found where, and the words for people."""
    counts = {source: count_of(numbers) for source, numbers in found.found.items() if numbers}
    words = [f"{source} had {spelled(numbers)}" for source, numbers in found.found.items() if numbers]
    if found.pending:
        words.append(f"its service was asked for {spelled(found.pending)}")
    words += [f"{source} can't be asked: {why}" for source, why in found.trouble.items()]
    if not words:
        words = ["nobody has a copy"]
    return counts, "; ".join(words)
