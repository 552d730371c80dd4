"""What can be said of a service or an instance, and the pure decision on one process: late, down, or well.

All times here are *sighted* time (see `sight`): they grow only while beats could have been seen. Nothing here does I/O.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The watch's word on a row. Ordered worst first, as boards list them."""

    DOWN = "DOWN"
    UNREACHABLE = "UNREACHABLE"
    LOSSY = "LOSSY"
    REFUSED = "REFUSED"
    FLAPPING = "FLAPPING"
    LATE = "LATE"
    BLIND = "BLIND"
    NEW = "NEW"
    UP = "UP"
    STOPPED = "STOPPED"


SIGNS = {
    Verdict.DOWN: "✖",
    Verdict.UNREACHABLE: "∅",
    Verdict.LOSSY: "▽",
    Verdict.REFUSED: "⊘",
    Verdict.FLAPPING: "≈",
    Verdict.LATE: "◔",
    Verdict.BLIND: "◌",
    Verdict.NEW: "○",
    Verdict.UP: "●",
    Verdict.STOPPED: "■",
}
"""The sign beside each verdict: a state is never told by colour alone."""

LIVE = frozenset({Verdict.UP, Verdict.LATE})
"""The verdicts under which a process, and so its instance, counts as live."""

MAX_EXTENSIONS = 10


@dataclass(frozen=True, slots=True)
class Policy:
    """How often a process promised to beat, and how long it may be silent beyond that."""

    interval_s: float
    grace_s: float

    @property
    def allowed_s(self) -> float:
        """The silence after which it is down."""
        return self.interval_s + self.grace_s

    @property
    def tolerance_s(self) -> float:
        """How late a healthy beat may come: its send timeout is a third of the interval."""
        return min(2.0, self.interval_s / 3)

    @property
    def late_s(self) -> float:
        """The silence after which it is late, for the boards."""
        return self.interval_s + min(self.tolerance_s, self.grace_s)

    @property
    def fresh_s(self) -> float:
        """What a healthy process needs to be heard after sight returned: a send that hangs, then one interval."""
        return self.interval_s * 4 / 3 + 1

    @property
    def patience_s(self) -> float:
        """For how long after its time scopes that come and go may keep it from being judged."""
        return max(300.0, MAX_EXTENSIONS * self.fresh_s)


@dataclass(frozen=True, slots=True)
class Sighted:
    """A path's clock: sighted time now, when sight last returned after a gap, and when a lost gateway was given up."""

    now: float
    returned_at: float = -math.inf
    moved_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class Judgement:
    """UP, LATE or DOWN, and the sighted time before which that can't become worse (infinite once DOWN)."""

    verdict: Verdict
    next_at: float


def deadline(sighted: Sighted, heard_at: float, policy: Policy, not_before: float = -math.inf) -> float:
    """The sighted time past which a process that was last heard at `heard_at` is down.

    After each gap of sight it has `fresh_s` again, so that a healthy one can be heard; MAX_EXTENSIONS of these in all,
    so that sight which flickers can't hide a death for ever (a healthy process is then missed with a chance of e^-10,
    and only while sight flickers faster than it beats). `not_before` is when its scope's return gives it up.
    """
    plain = heard_at + policy.allowed_s
    after_gap = min(sighted.returned_at + policy.fresh_s, plain + MAX_EXTENSIONS * policy.fresh_s)
    return max(plain, after_gap, sighted.moved_at + policy.allowed_s, not_before)


def evaluate(sighted: Sighted, heard_at: float, policy: Policy, not_before: float = -math.inf) -> Judgement:
    """The decision on one process that has not said goodbye."""
    down_at = deadline(sighted, heard_at, policy, not_before)
    if sighted.now > down_at:
        return Judgement(Verdict.DOWN, math.inf)
    late_at = heard_at + policy.late_s
    if sighted.now > late_at:
        return Judgement(Verdict.LATE, down_at)
    return Judgement(Verdict.UP, late_at)
