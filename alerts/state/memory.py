"""State in memory: for tests, and for trying things out. It dies with the process.

Documents go through JSON both ways, so that it keeps and refuses exactly what the other implementations do.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from collector.ports import Conflict, Row, Table

from .document import encode


class MemoryState:
    """The reference State."""

    def __init__(self) -> None:
        self._rows: dict[Table, dict[str, tuple[str, str]]] = {table: {} for table in Table}
        self._versions = itertools.count(1)
        self._lock = threading.Lock()

    def get(self, table: Table, key: str) -> Row | None:
        with self._lock:
            held = self._rows[table].get(key)
        return None if held is None else Row(key, json.loads(held[0]), held[1])

    def put(self, table: Table, key: str, doc: Mapping[str, Any], version: str | None) -> str:
        text = encode(table, key, doc)
        with self._lock:
            held = self._rows[table].get(key)
            if (None if held is None else held[1]) != version:
                raise Conflict(f"{table} {key}: somebody else changed the row first")
            new = str(next(self._versions))
            self._rows[table][key] = (text, new)
            return new

    def put_many(self, table: Table, docs: Mapping[str, Mapping[str, Any]]) -> None:
        texts = {key: encode(table, key, doc) for key, doc in docs.items()}
        with self._lock:
            version = str(next(self._versions))
            self._rows[table].update((key, (text, version)) for key, text in texts.items())

    def scan(self, table: Table, prefix: str = "") -> Iterator[Row]:
        with self._lock:
            held = sorted(item for item in self._rows[table].items() if item[0].startswith(prefix))
        return (Row(key, json.loads(text), version) for key, (text, version) in held)

    def delete(self, table: Table, key: str) -> None:
        with self._lock:
            self._rows[table].pop(key, None)

    def delete_many(self, table: Table, keys: Collection[str]) -> None:
        with self._lock:
            for key in keys:
                self._rows[table].pop(key, None)

    def close(self) -> None:
        """Nothing to let go of; what was kept can still be read, as after a restart."""
