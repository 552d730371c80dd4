"""Who runs beside whom: a file's tests stay together; all that use the real servers share one set, and take turns.

What takes long begins first, so that nobody waits for it at the end.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

_SERVERS = ("[elastic", "[kafka")
_LONG = ("servers", "tests/faults/test_sight.py", "tests/faults/test_demo_once.py", "tests/browser", "tests/faults")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    yield
    items.sort(key=lambda item: _place(groups[item]))


def _group(item: pytest.Item) -> str:
    file = item.nodeid.partition("::")[0]
    uses_servers = file.startswith("tests/stack/") or any(mark in item.nodeid for mark in _SERVERS)
    return "servers" if uses_servers else file


def _place(group: str) -> int:
    return next((place for place, prefix in enumerate(_LONG) if group.startswith(prefix)), len(_LONG))
