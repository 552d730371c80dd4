"""The boards: pages over one store and one state. `main` is called by a script that Streamlit runs, once a run.

Pages import nothing of each other; what they share is in `board`, `parts` and `controls`.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from alerts.fleet import Fleet
from collector.ports import State, Store
from shippers.clock import Clock
from shippers.errors import Unavailable

from . import parts
from .board import Board, viewers_zone
from .controls import controls, options_of
from .pages import fleet, incidents, latency, logs, statement, volume
from .queries import Questions
from .settings import BoardSettings

PAGES: tuple[tuple[str, str, str, Callable[[Board], None]], ...] = (
    ("fleet", "Fleet", ":material/favorite:", fleet.page),
    ("volume", "Volume", ":material/area_chart:", volume.page),
    ("latency", "Latency", ":material/speed:", latency.page),
    ("logs", "Logs", ":material/subject:", logs.page),
    ("incidents", "Incidents", ":material/notifications:", incidents.page),
    ("statement", "Statement", ":material/balance:", statement.page),
)


def main(store: Store, state: State, settings: BoardSettings, clock: Clock) -> None:
    """Draw the page that the viewer is on."""
    del settings  # where the boards are served is the launcher's business
    st.set_page_config(page_title="lastbeat", page_icon="💓", layout="wide")
    st.html(parts.STYLE)
    board: list[Board] = []  # filled below: pages are named before the frame around them is drawn
    page = st.navigation(
        [
            st.Page(_page(body, board), title=title, icon=icon, url_path=path, default=path == PAGES[0][0])
            for path, title, icon, body in PAGES
        ],
        position="top",
    )
    questions = Questions(store, state, clock)
    zone = viewers_zone()
    head, right = st.columns([3, 2], vertical_alignment="top", gap="medium")
    with right:
        choice = controls(options_of(_fleet_or_none(questions)), zone, clock.time())
    board.append(Board(questions, choice, zone, clock, head))
    page.run()


def _page(body: Callable[[Board], None], board: list[Board]) -> Callable[[], None]:
    def draw() -> None:
        body(board[0])

    return draw


def _fleet_or_none(questions: Questions) -> Fleet:
    # The filters can do without; the page itself says what can't be reached.
    try:
        return questions.fleet()
    except Unavailable:
        return Fleet()
