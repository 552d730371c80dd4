"""A service of somebody's as a real process, and the gateway that it sends to: for the tests of how services end."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.shippers.gateway import FakeGateway

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    fake = FakeGateway()
    yield fake
    fake.close()


def environment(**settings: str) -> dict[str, str]:
    """Ours without any settings of a person's own, and with these."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LASTBEAT_", "OTEL_"))}
    return {**plain, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **settings}


def python(start: str, script: str) -> list[str]:
    """The command that runs these lines."""
    return [sys.executable, "-c", start + textwrap.dedent(script)]


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it didn't happen in time"
        threading.Event().wait(0.01)
