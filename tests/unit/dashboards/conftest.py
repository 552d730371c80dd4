"""Boards under AppTest, over the shop in memory, an empty platform, or one whose store or state is out of reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from tests.browser.shop import fill_state, fill_store
from tests.unit.dashboards import given
from tests.unit.dashboards.given import Given

SCRIPT = str(Path(__file__).with_name("script.py"))


class Boards:
    """A viewer: opens pages, and reads what they say."""

    def __init__(self, ports: Given) -> None:
        self.ports = ports
        self.app = AppTest.from_file(SCRIPT, default_timeout=60)

    def open(self, page: str, **query: str) -> AppTest:
        for name, value in query.items():
            self.app.query_params[name] = value
        self.app._page_hash = calc_hash("" if page == "fleet" else page)
        self.app.run()
        assert not self.app.exception, [error.message for error in self.app.exception]
        return self.app

    @property
    def words(self) -> str:
        """All text of the page."""
        parts = [*self.app.header, *self.app.markdown, *self.app.metric, *self.app.code]
        return "\n".join(f"{getattr(part, 'label', '')} {part.value}" for part in parts).replace("\\", "")


@pytest.fixture(autouse=True)
def no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each AppTest would look through all that is installed for components, which a server does once."""
    monkeypatch.setattr("streamlit.components.v2.manifest_scanner.scan_component_manifests", list)


@pytest.fixture
def ports() -> Iterator[Given]:
    st.cache_resource.clear()
    given.held = Given()
    yield given.held
    given.held = None
    st.cache_resource.clear()


@pytest.fixture
def boards(ports: Given) -> Boards:
    return Boards(ports)


@pytest.fixture
def shop(boards: Boards) -> Boards:
    fill_state(boards.ports.state, boards.ports.clock)
    fill_store(boards.ports.store.store, boards.ports.clock, count=2_500)
    return boards
