"""The charts of things that last: an order's way over services, and incidents over time. One bar each, by lane."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from .charts import Chart
from .encodings import MS_LABEL, Spec, colour, ms_tip, of_kind, time_axis, when


def path_chart(frame: pd.DataFrame, slot_of: Mapping[str, int]) -> Chart:
    """One order's way over services. `frame`: start, end (ms since its first event), lane, series, words, level."""
    spec: Spec = {
        "height": {"step": 24},
        "mark": {"type": "bar", "cornerRadius": 2, "minBandSize": 2, "height": {"band": 0.6}},
        "encoding": {
            "x": {
                "field": "start",
                "type": "quantitative",
                "title": None,
                "axis": {"labelExpr": f"datum.value == 0 ? 'start' : {MS_LABEL}", "tickCount": 6},
            },
            "x2": {"field": "end"},
            "y": _lanes(),
            "color": colour(slot_of, []),
            "tooltip": [
                {"field": "words", "type": "nominal", "title": "What"},
                {"field": "level", "type": "nominal", "title": "Level"},
                ms_tip("start", "After (ms)"),
            ],
        },
    }
    return frame, spec


def incidents_chart(frame: pd.DataFrame) -> Chart:
    """Incidents over time. `frame`: t, t2 (ms), lane, series (one of the inks), words, lasted, and kind: "value", or
    "bounds" for the two rows that say where the period starts and ends."""
    bars: Spec = {
        "transform": [of_kind("value")],
        "mark": {"type": "bar", "cornerRadius": 2, "minBandSize": 3, "height": {"band": 0.55}},
        "encoding": {
            "x": time_axis(),
            "x2": {"field": "t2"},
            "y": _lanes(),
            "color": colour({}, []),
            "tooltip": [
                {"field": "words", "type": "nominal", "title": "What"},
                {"field": "lasted", "type": "nominal", "title": "Lasted"},
                when("Began"),
            ],
        },
    }
    bounds: Spec = {
        "transform": [of_kind("bounds")],
        "mark": {"type": "tick", "opacity": 0, "tooltip": None},
        "encoding": {"x": time_axis()},
    }
    return frame, {"height": {"step": 24}, "layer": [bars, bounds]}


def _lanes() -> Spec:
    axis = {"labelLimit": 240, "domain": False, "ticks": False, "grid": False}
    return {"field": "lane", "type": "nominal", "sort": None, "title": None, "axis": axis}
