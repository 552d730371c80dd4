"""The script that Streamlit runs: the boards, on this installation's store and state. All else is in `dashboards`."""

import sys
from pathlib import Path

import streamlit as st

from collector.ports import State, Store
from compose.settings import load
from compose.wiring import CLOCK, open_state, open_store
from dashboards import app


@st.cache_resource(show_spinner=False)
def _ports(config: str | None) -> tuple[Store, State]:
    settings = load(Path(config) if config else None)
    return open_store(settings), open_state(settings)


_config = sys.argv[1] if len(sys.argv) > 1 else None
_store, _state = _ports(_config)
app.main(_store, _state, load(Path(_config) if _config else None).boards, CLOCK)
