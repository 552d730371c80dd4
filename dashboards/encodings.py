"""Pieces of Vega-Lite that all charts share: axes, tooltips, and colours as positions in the theme's list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .shaping import MOST_SERIES, OTHER

Spec = dict[str, Any]

# Names that no series can have: what is not a series stands behind the series in the theme's list of colours.
INK, MUTED, RED, AMBER = "\u2060ink", "\u2060muted", "\u2060red", "\u2060amber"

TIME_LABEL = (
    "hours(datum.value) == 0 && minutes(datum.value) == 0 && seconds(datum.value) == 0 "
    "? timeFormat(datum.value, '%a %-d') "
    ": seconds(datum.value) == 0 ? timeFormat(datum.value, '%H:%M') : timeFormat(datum.value, '%H:%M:%S')"
)
MS_LABEL = "datum.value >= 1000 ? format(datum.value / 1000, '~g') + ' s' : format(datum.value, '~g') + ' ms'"
MS_TICKS = [0.01, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000]


def palette(slot_of: Mapping[str, int]) -> list[str]:
    """The domain of the colour scale, in the order of the theme's list: a name at each position that is taken."""
    names = [f"\u2060{position}" for position in range(MOST_SERIES)]
    for name, slot in slot_of.items():
        names[slot] = name
    return [*names, OTHER, INK, MUTED, RED, AMBER]


def colour(slot_of: Mapping[str, int], shown: Sequence[str], symbol: str = "circle") -> Spec:
    """Colour by name, with a legend of those that are shown (none for a single one)."""
    legend: Spec = {
        "values": list(shown),
        "orient": "top",
        "title": None,
        "symbolType": symbol,
        "offset": 16,
        "padding": 0,
    }
    legend["columns"] = {"expr": "width < 460 ? 3 : 8"}
    return {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": palette(slot_of)},
        "legend": legend if len(shown) > 1 else None,
    }


def of_kind(name: str) -> Spec:
    """Only the rows of one layer."""
    return {"filter": f"datum.kind === '{name}'"}


def time_axis() -> Spec:
    """Time along x, in the viewer's zone (the browser's), on a 24-hour clock."""
    return {
        "field": "t",
        "type": "temporal",
        "title": None,
        "scale": {"nice": False},
        "axis": {"labelExpr": TIME_LABEL, "tickCount": 8, "grid": False, "labelFlush": True},
    }


def si_axis(unit: str) -> Spec:
    """`0`, `10k /s`, `20k /s`."""
    label = f"datum.value == 0 ? '0' : (datum.value < 1 ? format(datum.value, '~g') : datum.label) + ' {unit}'"
    return {"format": "~s", "tickCount": 5, "labelExpr": label}


def ms_axis(field: str) -> Spec:
    """Milliseconds on a log axis with round ticks."""
    return {
        "field": field,
        "type": "quantitative",
        "title": None,
        "scale": {"type": "log", "nice": False},
        "axis": {"values": MS_TICKS, "labelExpr": MS_LABEL},
    }


def when(title: str = "Time") -> Spec:
    """A tooltip's time."""
    return {"field": "t", "type": "temporal", "title": title, "format": "%a %-d %b %H:%M:%S"}


def rate_tip() -> Spec:
    """A tooltip's rate."""
    return {"field": "value", "type": "quantitative", "title": "Events a second", "format": ",.1f"}


def ms_tip(field: str, title: str = "Milliseconds") -> Spec:
    """A tooltip's duration."""
    return {"field": field, "type": "quantitative", "title": title, "format": ",.3~r"}


def count_tip() -> Spec:
    """A tooltip's count."""
    return {"field": "count", "type": "quantitative", "title": "Requests", "format": ","}
