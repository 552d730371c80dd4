"""How boards write figures and times: short, with SI units, in the viewer's zone, on a 24-hour clock.

Durations of outages are `alerts.words.duration`; here is what only boards need.
"""

from __future__ import annotations

from datetime import datetime, tzinfo

NOTHING = "–"


def count(number: float) -> str:
    """`0`, `12,480`, `1.08 M`, `2.4 B`."""
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if number >= size:
            return f"{_short(number / size)} {unit}"
    return f"{number:,.0f}"


def rate(per_s: float) -> str:
    """`8.8 /h`, `0.40 /s`, `12,480 /s`, `1.20 M/s`."""
    if 0 < per_s < 0.01:
        return f"{_short(per_s * 3_600)} /h"
    if per_s >= 1e6:
        return f"{_short(per_s / 1e6)} M/s"
    return f"{per_s:,.0f} /s" if per_s >= 10 or per_s == 0 else f"{_short(per_s)} /s"


def percent(share: float | None) -> str:
    """`0 %`, `0.84 %`, `38.2 %`, `100 %`."""
    if share is None:
        return NOTHING
    if 0 < share < 0.0001:
        return "< 0.01 %"
    value = 100 * share
    return f"{value:.0f} %" if value in (0, 100) else f"{value:.1f} %" if value >= 10 else f"{value:.2f} %"


def latency(ns: float | None) -> str:
    """`85 µs`, `4.2 ms`, `182 ms`, `1.42 s`, `95 s`."""
    if ns is None:
        return NOTHING
    for size, unit in ((1e9, "s"), (1e6, "ms")):
        if ns >= size:
            return f"{_short(ns / size)} {unit}"
    return f"{_short(ns / 1e3)} µs"


def size(in_bytes: float | None) -> str:
    """`0 B`, `340 kB`, `1.2 GB`."""
    if in_bytes is None:
        return NOTHING
    for unit_size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if in_bytes >= unit_size:
            return f"{_short(in_bytes / unit_size)} {unit}"
    return f"{in_bytes:.0f} B"


def change(now: float | None, before: float | None) -> str | None:
    """`+4 %`, `−12 %`, `× 3.1`; None where there is nothing to compare with, or a hundredth of it."""
    if now is None or not before or now >= 100 * before:
        return None
    ratio = now / before
    if ratio >= 2.5:
        return f"× {_short(ratio)}"
    moved = round(100 * (ratio - 1))
    return "± 0 %" if moved == 0 else f"+{moved} %" if moved > 0 else f"−{-moved} %"


def time_of(at: float, zone: tzinfo, *, seconds: bool = False) -> str:
    """`20:04`, or `20:04:31`."""
    return datetime.fromtimestamp(at, zone).strftime("%H:%M:%S" if seconds else "%H:%M")


def moment(at: float, zone: tzinfo, now: float, *, seconds: bool = False) -> str:
    """A time, with its day unless that is today: `20:04`, `Sat 21 Nov 20:04`."""
    there, here = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone)
    day = "" if there.date() == here.date() else there.strftime("%a %-d %b ")
    return day + time_of(at, zone, seconds=seconds)


def _short(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
