"""The busiest steps of a volume, for stores that have no cheaper way to them. Pure."""

from __future__ import annotations

from .ports import Peak, Volume


def peaks_of(volume: Volume, limit: int) -> list[Peak]:
    """The `limit` busiest steps, the highest first, the earlier first among equals; who had most of it by name then."""
    found = []
    for index, at in enumerate(volume.times):
        counts = {value: series[index] for value, series in volume.series.items() if series[index]}
        if counts:
            top = min(counts, key=lambda value: (-counts[value], value))
            found.append(Peak(at, volume.step_s, sum(counts.values()), top, counts[top]))
    return sorted(found, key=lambda peak: (-peak.count, peak.at))[:limit]
