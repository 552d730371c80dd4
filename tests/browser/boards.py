"""A script for `streamlit run`: the boards over the shop in memory. SHOP says how it is (full, empty or down),
SHOP_EVENTS how much it has logged."""

import os
import threading

import streamlit as st

from alerts.state.memory import MemoryState
from collector.memory import MemoryStore
from dashboards import app
from dashboards.settings import BoardSettings
from shippers.clock import SystemClock
from tests.browser.shop import DEAD_FOR_S, fill_state, fill_store, newcomers


@st.cache_resource(show_spinner=False)
def shop(how: str) -> tuple[MemoryStore, MemoryState, SystemClock]:
    clock = SystemClock()
    store, state = MemoryStore(clock), MemoryState()
    if how != "empty":
        fill_state(state, clock)
        fill_store(store, clock, int(os.environ.get("SHOP_EVENTS", "60000")))
    if how == "down":
        store.unavailable = "the lake at /data/lake can't be opened: Permission denied"
    if how != "empty":
        threading.Thread(target=live, args=(store, state, clock), daemon=True).start()
    return store, state, clock


def live(store: MemoryStore, state: MemoryState, clock: SystemClock) -> None:
    """Beats and events go on coming in."""
    died_at = clock.time() - DEAD_FOR_S
    while True:
        clock.wait(threading.Event(), 1.0)
        fill_state(state, clock, died_at)
        for event in newcomers(clock):
            store.add(event)


store, state, clock = shop(os.environ.get("SHOP", "full"))
app.main(store, state, BoardSettings(), clock)
