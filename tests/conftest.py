"""Marks the tests that need the real servers, so that they run apart from the others, on one or two sets of them.

Of the others, what takes long begins first, so that nobody waits for it at the end.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

_LONG = ("tests/faults/test_sight.py", "tests/faults/test_demo_once.py", "tests/browser", "tests/faults")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    for item in items:
        if item.nodeid.startswith("tests/stack/") or "[elastic" in item.nodeid:
            item.add_marker("servers")
    yield
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    return next((place for place, prefix in enumerate(_LONG) if item.nodeid.startswith(prefix)), len(_LONG))
