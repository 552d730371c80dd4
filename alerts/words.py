"""How lastbeat speaks of durations: the one place, so that pages, boards and the terminal say the same."""

from __future__ import annotations

from datetime import UTC, datetime

from .fleet import InstanceRow


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 12 s`, `5 h 2 min`, `4 d 3 h`; a negative one as if it were none."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for size, unit, rest, rest_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            more = whole % size // rest
            return f"{whole // size} {unit}" + (f" {more} {rest_unit}" if more else "")
    return f"{whole} s"


def clock_time(at: float) -> str:
    """`12:03:10 UTC`, for texts that are read anywhere."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def ago(at: float, now: float) -> str:
    """`3 min 12 s ago`."""
    return f"{duration(now - at)} ago"


def last_beat(row: InstanceRow, now: float) -> str:
    """`last beat 3 min 12 s ago, allowed 20 s`."""
    ago, allowed = duration(now - row.last_notify_time), duration(row.interval_s + row.grace_s)
    return f"last beat {ago} ago, allowed {allowed}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 service`, `3 services`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
