"""Which tests share a worker: all that break the real servers or need both, of which there is one set; the contracts
on Elasticsearch, which has a second one for that; and elsewhere each file's.

What takes long begins first, so that nobody waits for it at the end. Of those on servers, the ones with an eye on the
clock come last: all workers start processes at first.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

_LONG = (
    "tests/stack",
    "tests/contracts",
    "tests/faults/test_sight.py",
    "tests/faults/test_demo_once.py",
    "tests/browser",
    "tests/faults",
)
_TIMED = ("tests/stack/test_compose_roles.py", "tests/stack/test_kafka_faults.py", "tests/stack/test_demo_stack.py")


class _Together(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return _servers(nodeid) or super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Together:
    return _Together(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    for item in items:
        if _servers(item.nodeid):
            item.add_marker("servers")
    yield
    items.sort(key=lambda item: _place(item.nodeid))


def _servers(nodeid: str) -> str:
    """The real servers that a test needs; '' if none."""
    if nodeid.startswith("tests/contracts/") and "[elastic" in nodeid:
        return "elasticsearch"
    return "servers" if nodeid.startswith("tests/stack/") else ""


def _place(nodeid: str) -> int:
    if nodeid.startswith(_TIMED):
        return len(_LONG) + 1
    return next((place for place, prefix in enumerate(_LONG) if nodeid.startswith(prefix)), len(_LONG))
