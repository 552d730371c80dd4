"""Index names: pure functions of a batch's header, so that a resend lands where its first copy did.

`<prefix>-<dataset>-<region>-<yyyy.mm.dd>`, or `…-skewed.<yyyy.mm>`, by the month in which it came, for days that no
sound clock gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from shippers.batch import DATASETS, Header

SKEWED = "skewed"
_SKEWED_IN = f"{SKEWED}-"
AHEAD_DAYS = 2


def index_of(prefix: str, header: Header) -> str:
    """The index of the batch's day."""
    return f"{prefix}-{header.dataset}-{header.region}-{header.day.replace('-', '.')}"


def skewed_index(prefix: str, header: Header, now: float) -> str:
    """Where a batch of an impossible day goes that comes now: one index a dataset, region and month, however wild the
    clocks are. By the month, because the events' own times can't tell when they are old."""
    return f"{prefix}-{header.dataset}-{header.region}-{SKEWED}.{today(now):%Y.%m}"


def skewed_pattern(prefix: str, dataset: str, region: str) -> str:
    """What matches the skewed indices of a dataset and region, and perhaps some of another region: see `split`."""
    return f"{prefix}-{dataset}-{region}-{SKEWED}.*"


def is_skewed(day: str) -> bool:
    """Whether what `split` says of an index isn't a day but a month of impossible ones."""
    return day.startswith(SKEWED)


def skewed_until(day: str) -> date:
    """The day after the month of a skewed index."""
    year, month = map(int, day.removeprefix(_SKEWED_IN).split("-"))
    return date(year + month // 12, month % 12 + 1, 1)


def day_of(index: str) -> str:
    """The day, as `yyyy-mm-dd`, or `skewed-yyyy-mm`, of an index as the functions above name it."""
    return index.rpartition("-")[2].replace(".", "-")


def split(prefix: str, index: str) -> tuple[str, str, str] | None:
    """(dataset, region, day) of an event index; None for any other name."""
    head, _, _ = index.rpartition("-")
    for dataset in DATASETS:
        start = f"{prefix}-{dataset}-"
        day = day_of(index)
        if head.startswith(start) and (
            _is_day(day) or (is_skewed(day) and _is_day(f"{day.removeprefix(_SKEWED_IN)}-01"))
        ):
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
    return _sound_days(today(now), keep_days)


@lru_cache(maxsize=8)
def _sound_days(here: date, keep_days: int) -> tuple[str, str]:
    """Asked for each batch, and the same all day."""
    return (here - timedelta(days=keep_days)).isoformat(), (here + timedelta(days=AHEAD_DAYS)).isoformat()


def _is_day(day: str) -> bool:
    try:
        return date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False
