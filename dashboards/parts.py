"""The elements that pages are made of: headline, figures, cards with a finding for a title, and what stands there when
there is nothing to show. They draw what they are given and ask nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal

import streamlit as st

from alerts.words import duration

from .charts import BRUSH, Chart
from .figures import moment
from .theme import Colour

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|>~:$<&])")

FIRST_LINES = """import logging, lastbeat
lastbeat.init("checkout")
logging.info("paid", extra={"order_id": "A1", "amount": 12.5, "duration_ms": 182})"""

STYLE = """<style>
@media (max-width: 640px) {
  :has(> .st-key-charts), .st-key-charts { order: 2; }
}
/* Live pages refresh every few seconds: what is about to be replaced must not fade meanwhile. */
[data-stale="true"] { opacity: 1 !important; transition: none !important; }
/* The dark theme's accent is light: what stands on it must be dark. */
button[kind="primary"], button[kind="primary"] * { color: light-dark(#ffffff, #0f151b) !important; }
.stMainBlockContainer { max-width: 1680px; margin: 0 auto; padding-left: 3rem; padding-right: 3rem; }
@media (max-width: 640px) { .stMainBlockContainer { padding-left: 1rem; padding-right: 1rem; } }
</style>"""


def plain(text: str) -> str:
    """Text from outside, so that Markdown shows it as it is."""
    return _MARKDOWN.sub(r"\\\1", text)


def headline(sentence: str, rest: str) -> None:
    """The one sentence that a tired person understands, and what else is known, in grey. Both are Markdown."""
    with st.container(gap=2):
        st.header(sentence, anchor=False)
        if rest:
            st.markdown(f":gray[{rest}]")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its trend. `change` is how it moved (an arrow stands before `+` and `−` only), `note` what else to
    say; `colour` is that of both and of the line."""

    label: str
    value: str
    change: str | None = None
    note: str | None = None
    colour: Colour | Literal["primary"] = "primary"
    line: Sequence[float] | None = None
    help: str | None = None
    kind: Literal["area", "bar"] = "area"


def figures(shown: Sequence[Figure]) -> None:
    """Figures in a row: five on a desk, two on a phone."""
    with st.grid(len(shown), min_column_width=150, gap="small"):
        for figure in shown:
            moved = figure.change
            st.metric(
                figure.label,
                figure.value,
                delta=moved if moved is not None else figure.note,
                delta_description=figure.note if moved is not None else None,
                delta_color=figure.colour,
                delta_arrow="up" if moved and moved[0] in "+×" else "down" if moved and moved[0] == "−" else "off",
                chart_data=list(figure.line) if figure.line and len(figure.line) > 1 else None,
                chart_type=figure.kind,
                border=True,
                height="stretch",
                help=figure.help,
            )


def title(name: str, finding: str) -> None:
    """A card's title: what it shows, then what is found, both in words."""
    st.markdown(f"**{name}** :gray[· {finding}]" if finding else f"**{name}**")


def chart(drawn: Chart, alt: str) -> None:
    """Draw a chart."""
    frame, spec = drawn
    st.vega_lite_chart(frame, spec, alt=alt)


def brushed_chart(drawn: Chart, alt: str, key: str) -> tuple[float, float] | None:
    """Draw a chart that can be brushed; the period (seconds) that was brushed out just now."""
    frame, spec = drawn
    event: Any = st.vega_lite_chart(frame, spec, key=key, on_select="rerun", alt=alt)
    span = (event.selection.get(BRUSH) or {}).get("t") if event else None
    if not span or len(span) != 2 or span[1] - span[0] < 2_000:
        return None
    return span[0] / 1_000, span[1] / 1_000


def quiet(text: str) -> None:
    """A place that has nothing to show says why."""
    with st.container(height=120, border=False, vertical_alignment="center", horizontal_alignment="center"):
        st.markdown(f":gray[{text}]", text_alignment="center")


def empty(sentence: str) -> None:
    """An empty page: the three lines of code that would fill it."""
    with st.container(border=True):
        st.markdown(f"**{sentence}** :gray[· three lines in any Python service fill this page]")
        st.code(FIRST_LINES, language="python")
        st.markdown(":gray[Anything else that can make a request is welcome too:]")
        st.code("curl -X POST 'http://127.0.0.1:7411/beat/checkout?region=local'", language="bash")
        st.markdown(":gray[A service elsewhere finds its gateway by] `LASTBEAT_URL`:gray[.]")


def unreachable(what: str, why: str, since: float, now: float, zone: tzinfo, still: str) -> None:
    """What can't be reached, since when, and what is still true."""
    lasted = f"since {moment(since, zone, now, seconds=True)}"
    if now - since >= 1:
        lasted += f" ({duration(now - since)})"
    with st.container(border=True):
        st.markdown(f":red[✖] **The {what} can't be reached** :gray[· {lasted}]")
        st.markdown(plain(why))
        st.markdown(f":gray[{still} This page tries again by itself.]")
