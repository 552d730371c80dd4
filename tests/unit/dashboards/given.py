"""What the script under AppTest is given: set by a test before it runs the script, in the same process."""

from __future__ import annotations

from collections import Counter
from typing import Any

from alerts.state.memory import MemoryState
from collector.memory import MemoryStore
from shippers.clock import FakeClock
from shippers.errors import Unavailable

NOON = 1_763_726_400.0


class CountingStore:
    """Passes questions on and counts them."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        def ask(*arguments: Any) -> Any:
            self.asked[name] += 1
            return method(*arguments)

        return ask


class DownState(MemoryState):
    """A state that can't be reached."""

    def scan(self, table: Any, prefix: str = "") -> Any:
        raise Unavailable("the state's file /data/state.db can't be opened: Permission denied")

    get = scan  # type: ignore[assignment]


class Given:
    def __init__(self) -> None:
        self.clock = FakeClock(NOON)
        self.store = CountingStore(MemoryStore(self.clock))
        self.state: MemoryState = MemoryState()


held: Given | None = None
