"""The charts over time, as Vega-Lite: one frame a chart, and a spec that changes only when its names do, so that new
data moves a chart that is there instead of drawing a new one.

Colours are positions in the theme's chartCategoricalColors and chartSequentialColors, which the browser fills in for
light or dark: nothing here knows which of the two is on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .encodings import (
    INK,
    MUTED,
    RED,
    Spec,
    colour,
    count_tip,
    ms_axis,
    ms_tip,
    of_kind,
    rate_tip,
    si_axis,
    time_axis,
    when,
)
from .shaping import OTHER

LEVEL_SLOTS = {"INFO": 0, "WARNING": 1, "CRITICAL": 3, "ERROR": 5}
PERCENTILE_SLOTS = {"p50": 4, "p95": 0, "p99": 5}
BRUSH = "brush"
HEIGHT = 250

Chart = tuple[pd.DataFrame, Spec]
NO_MARKS = pd.DataFrame(columns=["t", "series", "value", "kind", "words"])


def marks_frame(
    *,
    peak: tuple[float, float, str] | None = None,
    incidents: Sequence[tuple[float, str]] = (),
    deploys: Sequence[tuple[float, str]] = (),
    before: Sequence[tuple[float, float]] = (),
) -> pd.DataFrame:
    """What is drawn over a chart. Times in seconds: the peak (time, height, words), incidents and deploys as vertical
    lines (time, words), and the period before as a dashed line (time, height)."""
    rows: list[tuple[float, str, float | None, str, str]] = []
    if peak is not None:
        rows.append((peak[0] * 1_000, INK, peak[1], "peak", peak[2]))
    rows += [(at * 1_000, RED, None, "incident", words) for at, words in incidents]
    rows += [(at * 1_000, MUTED, None, "deploy", words) for at, words in deploys]
    rows += [(at * 1_000, MUTED, value, "before", "the period before") for at, value in before]
    return pd.DataFrame(rows, columns=["t", "series", "value", "kind", "words"])


def volume_chart(
    rates: pd.DataFrame, marks: pd.DataFrame, slot_of: Mapping[str, int], *, brush: bool, height: int = HEIGHT
) -> Chart:
    """A stacked area of events a second. `rates` has t (ms), series, value."""
    names = [*sorted(slot_of, key=lambda name: slot_of[name]), OTHER]
    present = set(rates["series"])
    shown = [name for name in names if name in present]
    hue = colour(slot_of, shown)
    area: Spec = {
        "transform": [of_kind("value")],
        "mark": {"type": "area", "interpolate": "monotone"},
        "encoding": {
            "x": time_axis(),
            "y": {"field": "value", "type": "quantitative", "stack": "zero", "title": None, "axis": si_axis("/s")},
            "color": hue,
            "order": {"field": "rank", "type": "quantitative"},
            "tooltip": [when(), {"field": "series", "type": "nominal", "title": "Who"}, rate_tip()],
        },
        **_brush(brush),
    }
    frame = _together(rates, marks)
    frame["rank"] = frame["series"].map({name: rank for rank, name in enumerate(shown)})
    return frame, {**_layered([area, _before(hue), *_vertical(hue), *_peak(hue)]), "height": height}


def latency_chart(lines: pd.DataFrame, marks: pd.DataFrame) -> Chart:
    """Lines of p50, p95, p99 on a log axis. `lines` has t (ms), series, value (ms)."""
    hue = colour(PERCENTILE_SLOTS, list(PERCENTILE_SLOTS), "stroke")
    line: Spec = {
        "transform": [of_kind("value")],
        "mark": {"type": "line", "interpolate": "monotone", "strokeWidth": 1.8},
        "encoding": {
            "x": time_axis(),
            "y": ms_axis("value"),
            "color": hue,
            "tooltip": [when(), {"field": "series", "type": "nominal", "title": "Line"}, ms_tip("value")],
        },
        **_brush(True),
    }
    return _together(lines, marks), _layered([line, _before(hue), *_vertical(hue)])


def heat_chart(cells: pd.DataFrame, p95: Sequence[tuple[float, float]]) -> Chart:
    """Counts as a heat map over time and a log axis of milliseconds, p95 as a line over it.

    `cells` has t, t2 (ms), low, high (milliseconds), count; empty cells are not in it, so they show the ground.
    """
    line = pd.DataFrame([(at * 1_000, ms, INK, "line") for at, ms in p95], columns=["t", "value", "series", "kind"])
    rect: Spec = {
        "transform": [of_kind("value")],
        "mark": {"type": "rect", "strokeWidth": 0},
        "encoding": {
            "x": time_axis(),
            "x2": {"field": "t2"},
            "y": ms_axis("low"),
            "y2": {"field": "high"},
            "color": {
                "field": "count",
                "type": "quantitative",
                "legend": None,
                "scale": {"type": "sqrt", "nice": False, "zero": True},
            },
            "tooltip": [when(), ms_tip("low", "From (ms)"), ms_tip("high", "To (ms)"), count_tip()],
        },
    }
    over: Spec = {
        "transform": [of_kind("line")],
        "mark": {"type": "line", "interpolate": "monotone", "strokeWidth": 1.6},
        "encoding": {
            "x": time_axis(),
            "y": ms_axis("value"),
            "color": colour({}, []),
            "tooltip": [when(), ms_tip("value", "p95 (ms)")],
        },
    }
    frame = pd.concat([cells.assign(kind="value"), line], ignore_index=True)
    return frame, {**_layered([rect, over]), "resolve": {"scale": {"color": "independent"}}}


def _together(values: pd.DataFrame, marks: pd.DataFrame) -> pd.DataFrame:
    parts = [part for part in (values.assign(kind="value"), marks) if not part.empty]
    return pd.concat(parts, ignore_index=True) if parts else values.assign(kind="value", words="")


def _layered(layers: list[Spec]) -> Spec:
    # Room at the right for half a label of the time axis.
    return {"height": HEIGHT, "padding": {"left": 0, "top": 4, "right": 16, "bottom": 0}, "layer": layers}


def _brush(on: bool) -> dict[str, Any]:
    return {"params": [{"name": BRUSH, "select": {"type": "interval", "encodings": ["x"]}}]} if on else {}


def _before(hue: Spec) -> Spec:
    return {
        "transform": [of_kind("before")],
        "mark": {"type": "line", "interpolate": "monotone", "strokeDash": [4, 3], "strokeWidth": 1.4},
        "encoding": {"x": time_axis(), "y": {"field": "value", "type": "quantitative"}, "color": hue},
    }


def _vertical(hue: Spec) -> list[Spec]:
    tip = [{"field": "words", "type": "nominal", "title": "What"}, when()]
    return [
        {
            "transform": [of_kind(kind)],
            "mark": {"type": "rule", "strokeWidth": 1.2, "opacity": 0.7, "strokeDash": dash},
            "encoding": {"x": time_axis(), "color": hue, "tooltip": tip},
        }
        for kind, dash in (("incident", [1, 0]), ("deploy", [2, 3]))
    ]


def _peak(hue: Spec) -> list[Spec]:
    place = {"x": time_axis(), "y": {"field": "value", "type": "quantitative"}, "color": hue}
    inward = "scale('x', datum.t) > width * 0.85 ? 'right' : scale('x', datum.t) < width * 0.15 ? 'left' : 'center'"
    text = {"type": "text", "dy": -11, "fontSize": 11.5, "fontWeight": 600, "align": {"expr": inward}}
    return [
        {"transform": [of_kind("peak")], "mark": {"type": "point", "filled": True, "size": 46, "opacity": 1}}
        | {"encoding": place},
        {"transform": [of_kind("peak")], "mark": text, "encoding": {**place, "text": {"field": "words"}}},
    ]
