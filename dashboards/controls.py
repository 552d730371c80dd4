"""The controls: period, comparison and filters. The same on every page, in the same place, kept in the URL.

A period brushed out of a chart is `from` and `to` in the URL; it is kept beside the widgets, which can't hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

import streamlit as st

from alerts.fleet import Fleet

from .figures import moment
from .scope import DEFAULT_RANGE, RANGES, Choice

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FILTERS = ("region", "service", "level", "version")
ZOOM = "zoom"


@dataclass(frozen=True, slots=True)
class Options:
    """What there is to choose from."""

    regions: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


def options_of(fleet: Fleet) -> Options:
    """Everything that ever reported."""
    rows = fleet.services
    return Options(
        tuple(sorted({row.region for row in rows})),
        tuple(sorted({row.service for row in rows})),
        tuple(sorted({version for row in rows for version in row.versions})),
    )


def controls(options: Options, zone: tzinfo, now: float) -> Choice:
    """Draw the controls and say what they say."""
    zoom = _zoom_in_url()
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="xsmall"):
        if zoom is not None:
            words = f"{moment(zoom[0], zone, now)} – {moment(zoom[1], zone, now)}"
            st.button(words, icon=":material/close:", key="unzoom", type="primary", on_click=unzoom)
        chosen = st.segmented_control(
            "Period",
            list(RANGES),
            default=DEFAULT_RANGE,
            required=True,
            key="range",
            bind="query-params",
            label_visibility="collapsed",
            on_change=unzoom,
        )
        in_use = sum(bool(st.session_state.get(name)) for name in FILTERS)
        label = f"Filters · {in_use}" if in_use else "Filters"
        with st.popover(label, icon=":material/filter_list:", key="filters", type="primary" if in_use else "secondary"):
            compare = st.toggle("Compare with the period before", value=True, key="compare", bind="query-params")
            regions = _filter("Region", "region", options.regions)
            services = _filter("Service", "service", options.services)
            levels = _filter("Level", "level", LEVELS)
            versions = _filter("Version", "version", options.versions)
            if in_use:
                st.button("Clear all filters", on_click=_clear, type="tertiary", icon=":material/close:")
    return Choice(chosen or DEFAULT_RANGE, zoom, compare, regions, services, levels, versions)


def zoom_to(span: tuple[float, float]) -> None:
    """Narrow every page to a period that was brushed out of a chart."""
    st.session_state[ZOOM] = (float(round(span[0])), float(round(span[1])))
    st.rerun()


def unzoom() -> None:
    """Back to the period that the range says."""
    st.session_state[ZOOM] = None
    for name in ("from", "to"):
        st.query_params.pop(name, None)


def _zoom_in_url() -> tuple[float, float] | None:
    if ZOOM not in st.session_state:
        st.session_state[ZOOM] = _read_zoom()
    zoom: tuple[float, float] | None = st.session_state[ZOOM]
    if zoom is not None:
        st.query_params["from"], st.query_params["to"] = f"{zoom[0]:.0f}", f"{zoom[1]:.0f}"
    return zoom


def _read_zoom() -> tuple[float, float] | None:
    try:
        start, end = float(st.query_params["from"]), float(st.query_params["to"])
    except (KeyError, ValueError):
        return None
    return (start, end) if 0 < start < end < 1e11 else None


def _filter(label: str, key: str, options: tuple[str, ...]) -> tuple[str, ...]:
    # New options are taken, so that a link keeps its filter even while the fleet can't be read.
    chosen = st.multiselect(
        label, options, key=key, bind="query-params", placeholder="all", accept_new_options=True, max_selections=20
    )
    return tuple(chosen)


def _clear() -> None:
    for name in FILTERS:
        st.session_state[name] = []
