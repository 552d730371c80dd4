"""A script for `streamlit run`: the boards over the shop in memory. SHOP says how it is: full, empty or down."""

import os

import streamlit as st

from alerts.state.memory import MemoryState
from collector.memory import MemoryStore
from dashboards import app
from dashboards.settings import BoardSettings
from shippers.clock import SystemClock
from tests.browser.shop import fill_state, fill_store


@st.cache_resource(show_spinner=False)
def shop(how: str) -> tuple[MemoryStore, MemoryState, SystemClock]:
    clock = SystemClock()
    store, state = MemoryStore(clock), MemoryState()
    if how != "empty":
        fill_state(state, clock)
        fill_store(store, clock)
    if how == "down":
        store.unavailable = "the lake at /data/lake can't be opened: Permission denied"
    return store, state, clock


store, state, clock = shop(os.environ.get("SHOP", "full"))
app.main(store, state, BoardSettings(), clock)
