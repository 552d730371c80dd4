"""Index names: pure functions of a batch's header, so that a resend lands where its first copy did.

`<prefix>-<dataset>-<region>-<yyyy.mm.dd>`, or `…-skewed` for days that no sound clock gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from shippers.batch import DATASETS, Header

SKEWED = "skewed"
AHEAD_DAYS = 2


def index_of(prefix: str, header: Header) -> str:
    """The index of the batch's day."""
    return f"{prefix}-{header.dataset}-{header.region}-{header.day.replace('-', '.')}"


def skewed_index(prefix: str, header: Header) -> str:
    """Where a batch of an impossible day goes: one index a dataset and region, however wild the clocks are."""
    return f"{prefix}-{header.dataset}-{header.region}-{SKEWED}"


def day_of(index: str) -> str:
    """The day, as `yyyy-mm-dd`, or `skewed`, of an index as the functions above name it."""
    return index.rpartition("-")[2].replace(".", "-")


def split(prefix: str, index: str) -> tuple[str, str, str] | None:
    """(dataset, region, day) of an event index; None for any other name."""
    head, _, _ = index.rpartition("-")
    for dataset in DATASETS:
        start = f"{prefix}-{dataset}-"
        day = day_of(index)
        if head.startswith(start) and (day == SKEWED or _is_day(day)):
            return dataset, head.removeprefix(start), day
    return None


def event_patterns(prefix: str, datasets: Iterable[str] = ()) -> list[str]:
    """What matches the event indices of these datasets (all of them, without any), and no other index."""
    return [f"{prefix}-{dataset}-*" for dataset in (tuple(datasets) or DATASETS)]


def dead_index(prefix: str, day: str) -> str:
    """Where dead letters of a day are kept: one index a month, so that they can be aged."""
    return f"{prefix}-dead-{day[:7].replace('-', '.')}"


def state_index(prefix: str, table: str) -> str:
    """Where State keeps a table."""
    return f"{prefix}-state-{table}"


def today(now: float) -> date:
    """The UTC day."""
    return datetime.fromtimestamp(now, UTC).date()


def sound_days(now: float, keep_days: int) -> tuple[str, str]:
    """The first day that is still kept, and the last that a sound clock can give already."""
    here = today(now)
    return (here - timedelta(days=keep_days)).isoformat(), (here + timedelta(days=AHEAD_DAYS)).isoformat()


def _is_day(day: str) -> bool:
    try:
        return date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False
