"""From the store's answers to the small frames and findings that pages show. Pure: no store, no Streamlit."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from collector.latency import lower_ns, merge, percentile_ns
from collector.ports import Latency, Volume

from .scope import Scope

OTHER = "other"
MOST_SERIES = 6
HEAT_COLUMNS = 96
HEAT_MERGE = 5  # five fine buckets make one row of the heat map: about ten rows a decade
SPARK_POINTS = 60
LAST_STEP_SHARE = 0.2  # a last step that has hardly begun says nothing about its rate


@dataclass(frozen=True, slots=True)
class Top:
    """The highest point of a volume: events a second, when, who had most of it, and which share."""

    at: float
    per_s: float
    name: str
    share: float


def total(volume: Volume) -> int:
    """All events."""
    return sum(map(sum, volume.series.values()))


def merge_series(volume: Volume, name_of: Callable[[str], str]) -> Volume:
    """The same volume with some series added up."""
    series: dict[str, tuple[int, ...]] = {}
    for key, counts in volume.series.items():
        name = name_of(key)
        series[name] = tuple(map(sum, zip(series[name], counts, strict=True))) if name in series else counts
    return Volume(volume.step_s, volume.times, series)


def ranked(volume: Volume, favoured: Container[str] = ()) -> list[str]:
    """The series' names, the biggest first. Those favoured count half again, so that two that are nearly equal don't
    take turns in a legend, which would draw its chart anew."""

    def size(name: str) -> float:
        return sum(volume.series[name]) * (1.5 if name in favoured else 1.0)

    return sorted(volume.series, key=lambda name: (-size(name), name))


def sums(volume: Volume) -> list[int]:
    """Counts a step over all series."""
    return [sum(step) for step in zip(*volume.series.values(), strict=True)] or [0] * len(volume.times)


def shown_steps(volume: Volume, scope: Scope) -> int:
    """How many of the steps can be drawn as a rate: all, but for a last one that has hardly begun."""
    steps = len(volume.times)
    if steps > 1 and scope.length_of(volume.times[-1]) < LAST_STEP_SHARE * scope.step_s:
        return steps - 1
    return steps


def rates(volume: Volume, scope: Scope, names: Sequence[str]) -> pd.DataFrame:
    """Columns t (ms), series, value (events a second): one row a step and name; all other series together, as OTHER."""
    steps = shown_steps(volume, scope)
    kept = {name: volume.series[name] for name in names if name in volume.series}
    rest = [counts for name, counts in volume.series.items() if name not in kept]
    if rest:
        kept[OTHER] = tuple(map(sum, zip(*rest, strict=True)))
    rows = [
        (volume.times[index] * 1_000, name, counts[index] / _length(volume, scope, index))
        for name, counts in kept.items()
        for index in range(steps)
    ]
    return pd.DataFrame(rows, columns=["t", "series", "value"])


def trend(volume: Volume, name: str, scope: Scope) -> Sequence[int]:
    """One series' counts, over whole steps only: a part of one would look like a fall."""
    counts = volume.series.get(name, ())
    cut = len(counts) > 1 and scope.length_of(volume.times[-1]) < scope.step_s
    return counts[:-1] if cut else counts


def rate_line(volume: Volume, scope: Scope) -> list[float]:
    """Events a second, a step, over all series."""
    counts = sums(volume)
    return [counts[index] / _length(volume, scope, index) for index in range(shown_steps(volume, scope))]


def _length(volume: Volume, scope: Scope, index: int) -> float:
    # Steps of the period before are whole; of this period's, only the last can be a part.
    at = volume.times[index]
    return (scope.length_of(at) if at >= scope.start else scope.step_s) or scope.step_s


def top_of(volume: Volume, scope: Scope) -> Top | None:
    """The peak, of whole steps only (a part of one, scaled up, may be chance); None where nothing happened."""
    line = rate_line(volume, scope)
    if len(line) > 1 and scope.length_of(volume.times[len(line) - 1]) < scope.step_s:
        line.pop()
    if not line or max(line) == 0:
        return None
    index = max(range(len(line)), key=line.__getitem__)
    name = max(volume.series, key=lambda each: (volume.series[each][index], each))
    return Top(volume.times[index], line[index], name, volume.series[name][index] / sums(volume)[index])


def spark(line: Sequence[float]) -> list[float]:
    """At most SPARK_POINTS means, for a line the size of a word."""
    width = math.ceil(len(line) / SPARK_POINTS) or 1
    parts = [line[start : start + width] for start in range(0, len(line), width)]
    return [sum(part) / len(part) for part in parts]


def ratio_line(part: Volume, whole: Volume) -> list[float]:
    """The share of `part` in `whole`, a step; 0 where there is nothing."""
    return [few / all_ if all_ else 0.0 for few, all_ in zip(sums(part), sums(whole), strict=True)]


def counts_of(latency: Latency, start: float, end: float = math.inf) -> dict[int, int]:
    """The buckets of all series over the steps that begin within [start, end)."""
    return merge(
        step
        for series in latency.series.values()
        for at, step in zip(latency.times, series, strict=True)
        if start <= at < end
    )


def counts_by(latency: Latency) -> dict[str, dict[int, int]]:
    """The buckets of each series, over all steps."""
    return {name: merge(series) for name, series in latency.series.items()}


def coarse(latency: Latency, scope: Scope) -> Latency:
    """The period's durations in at most HEAT_COLUMNS steps."""
    width = math.ceil(scope.steps / HEAT_COLUMNS)
    within = [index for index, at in enumerate(latency.times) if scope.start <= at < scope.end]
    starts = range(within[0], within[-1] + 1, width) if within else range(0)
    return Latency(
        width * latency.step_s,
        tuple(latency.times[index] for index in starts),
        {
            name: tuple(merge(steps[index : index + width]) for index in starts)
            for name, steps in latency.series.items()
        },
    )


def percentile_line(latency: Latency, q: float, start: float, end: float = math.inf) -> list[tuple[float, float]]:
    """(time, milliseconds) of every step in [start, end) that has a duration."""
    found = []
    for index, at in enumerate(latency.times):
        if start <= at < end:
            value = percentile_ns(merge(series[index] for series in latency.series.values()), q)
            if value is not None:
                found.append((at, value / 1e6))
    return found


def percentile_frame(latency: Latency, start: float) -> pd.DataFrame:
    """Columns t (ms), series (p50, p95, p99), value (milliseconds), from `start` on."""
    rows = [
        (at * 1_000, name, value)
        for name, q in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
        for at, value in percentile_line(latency, q, start)
    ]
    return pd.DataFrame(rows, columns=["t", "series", "value"])


def heat(columns: Latency, scope: Scope) -> pd.DataFrame:
    """Columns t, t2 (ms), low, high (milliseconds), count: one row a cell that has anything, and no other."""
    cells: dict[tuple[float, int], int] = {}
    for series in columns.series.values():
        for at, step in zip(columns.times, series, strict=True):
            for bucket, number in step.items():
                cells[at, bucket // HEAT_MERGE] = cells.get((at, bucket // HEAT_MERGE), 0) + number
    rows = [
        (
            at * 1_000,
            min(at + columns.step_s, scope.end) * 1_000,
            lower_ns(row * HEAT_MERGE) / 1e6,
            lower_ns((row + 1) * HEAT_MERGE) / 1e6,
            number,
        )
        for (at, row), number in sorted(cells.items())
    ]
    return pd.DataFrame(rows, columns=["t", "t2", "low", "high", "count"])


def slots(taken: Mapping[str, int], wanted: Sequence[str]) -> dict[str, int]:
    """Give each wanted name (at most MOST_SERIES count) a colour's number. Who had one keeps it, shown or not, for as
    long as nobody else needs it."""
    names = list(wanted[:MOST_SERIES])
    kept = {name: taken[name] for name in names if name in taken}
    absent = {name: slot for name, slot in taken.items() if name not in names}
    for name in names:
        if name not in kept:
            used = set(kept.values()) | {taken[other] for other in names if other in taken}
            free = [slot for slot in range(MOST_SERIES) if slot not in used]
            unclaimed = [slot for slot in free if slot not in absent.values()]
            kept[name] = (unclaimed or free)[0]
    still = {name: slot for name, slot in absent.items() if slot not in kept.values()}
    return still | kept
