"""Charts: specs that stand still while data moves, colours by position, and valid Vega-Lite."""

from __future__ import annotations

import json
from typing import Any

import altair as alt
import pandas as pd
import pytest

from dashboards.charts import heat_chart, latency_chart, marks_frame, volume_chart
from dashboards.encodings import palette
from dashboards.events_view import path_frame
from dashboards.incidents_view import spans_frame
from dashboards.scope import Choice, scope_of
from dashboards.shaping import OTHER
from dashboards.spans import incidents_chart, path_chart
from shippers.clock import FakeClock
from tests.browser.shop import incidents, order_path

NOON = 1_763_726_400.0
MARKS = marks_frame(
    peak=(NOON, 5.0, "5 /s · 20:00"), incidents=[(NOON, "down")], deploys=[(NOON, "2 starts")], before=[(NOON, 3.0)]
)


def rates(*values: float) -> pd.DataFrame:
    return pd.DataFrame(
        [(NOON * 1_000 + index, name, value) for index, value in enumerate(values) for name in ("pay", OTHER)],
        columns=["t", "series", "value"],
    )


def charts() -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    cells = pd.DataFrame([(NOON, NOON + 1, 1.0, 1.2, 4)], columns=["t", "t2", "low", "high", "count"])
    bars = spans_frame(list(incidents(NOON, 192)), scope_of(Choice(), NOON))
    path = list(order_path(NOON))
    return {
        "volume": volume_chart(rates(1, 2), MARKS, {"pay": 0}, brush=True),
        "latency": latency_chart(rates(1, 2), MARKS),
        "heat": heat_chart(cells, [(NOON, 12.0)]),
        "path": path_chart(path_frame(path, {"order"}), {"order": 0}),
        "incidents": incidents_chart(bars),
    }


@pytest.mark.parametrize("name", sorted(charts()))
def test_a_chart_is_valid_vega_lite(name: str) -> None:
    frame, spec = charts()[name]
    whole = json.loads(json.dumps(spec)) | {"data": {"values": json.loads(frame.to_json(orient="records"))}}
    alt.Chart.from_dict(whole, validate=True)


def test_new_data_leaves_the_spec_as_it_was_so_that_nothing_flickers() -> None:
    _, before = volume_chart(rates(1, 2, 3), MARKS, {"pay": 0}, brush=True)
    _, after = volume_chart(rates(9, 8, 7, 6), marks_frame(), {"pay": 0}, brush=True)
    assert before == after


def test_names_stand_at_their_positions_and_other_at_its_own() -> None:
    names = palette({"pay": 4, "order": 0})
    assert (names[0], names[4], names[6]) == ("order", "pay", OTHER)
    assert len(set(names)) == 11


def test_the_legend_names_only_what_is_shown() -> None:
    _, spec = volume_chart(rates(1), MARKS, {"pay": 0, "gone": 1}, brush=False)
    assert spec["layer"][0]["encoding"]["color"]["legend"]["values"] == ["pay", OTHER]


def test_a_way_begins_with_what_began_first_and_bars_end_where_events_were_logged() -> None:
    events = list(order_path(FakeClock(NOON).time()))
    frame = path_frame(events, {"order"})
    assert frame["start"].is_monotonic_increasing
    assert frame["start"][0] == 0
    payment = frame[frame["words"].str.startswith("pay ")].iloc[0]
    assert payment["end"] - payment["start"] == pytest.approx(800, abs=0.5)
    assert set(frame["series"]) == {"order", OTHER}
    assert path_frame([], set()).empty
