"""The chart of what became of each day's events: stacked bars, one colour a fate."""

from __future__ import annotations

import pandas as pd

from .charts import Chart
from .encodings import Spec, colour, si_axis
from .statement_view import FATES, SLOTS

HEIGHT = 210


def fates_chart(frame: pd.DataFrame) -> Chart:
    """`frame`: day, series (a fate's name or one of the inks), value, words."""
    shown = [name for name in SLOTS if name in set(frame["series"])]
    ranks = {series: rank for rank, series in enumerate(FATES.values())}
    spec: Spec = {
        "height": HEIGHT,
        "mark": {"type": "bar", "cornerRadius": 2, "size": 34},
        "encoding": {
            "x": {"field": "day", "type": "ordinal", "title": None, "axis": {"labelAngle": 0, "labelOverlap": True}},
            "y": {"field": "value", "type": "quantitative", "stack": "zero", "title": None, "axis": si_axis("")},
            "color": colour(SLOTS, shown),
            "order": {"field": "rank", "type": "quantitative"},
            "tooltip": [
                {"field": "day", "type": "nominal", "title": "Day"},
                {"field": "words", "type": "nominal", "title": "What"},
                {"field": "value", "type": "quantitative", "title": "Events", "format": ","},
            ],
        },
    }
    return frame.assign(rank=frame["series"].map(ranks)), spec
