"""State in one SQLite file: any number of threads and processes of one machine.

Every write is on the disk when it returns (WAL, synchronous=FULL). The file is opened at first use, and again after it
failed, so that a full or missing disk is an outage and not the end.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from collector.ports import Conflict, Row, Table
from shippers.errors import Unavailable

from .document import encode

_SCHEMA = """CREATE TABLE IF NOT EXISTS rows (
    kind TEXT NOT NULL, key TEXT NOT NULL, doc TEXT NOT NULL, version TEXT NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID"""
_UPSERT = """INSERT INTO rows (kind, key, doc, version) VALUES (?, ?, ?, ?)
    ON CONFLICT (kind, key) DO UPDATE SET doc = excluded.doc, version = excluded.version"""
_SCAN = "SELECT key, doc, version FROM rows WHERE kind = ? AND key >= ? AND key < ? ORDER BY key"
BUSY_S = 5.0
"""How long a call waits for another process's write before it is Unavailable."""


class SqliteState:
    """State in a file. One connection behind a lock: calls are short, and SQLite has one writer anyway."""

    def __init__(self, path: str | Path, *, busy_s: float = BUSY_S) -> None:
        self._path = Path(path)
        self._busy_s = busy_s
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def get(self, table: Table, key: str) -> Row | None:
        with self._open() as db:
            held = db.execute("SELECT doc, version FROM rows WHERE kind = ? AND key = ?", (table, key)).fetchone()
        return None if held is None else Row(key, json.loads(held[0]), held[1])

    def put(self, table: Table, key: str, doc: Mapping[str, Any], version: str | None) -> str:
        text, new = encode(table, key, doc), secrets.token_hex(8)
        with self._open() as db:
            if version is None:
                done = db.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?)", (table, key, text, new))
            else:
                done = db.execute(
                    "UPDATE rows SET doc = ?, version = ? WHERE kind = ? AND key = ? AND version = ?",
                    (text, new, table, key, version),
                )
            if done.rowcount != 1:
                raise Conflict(f"{table} {key}: somebody else changed the row first")
        return new

    def put_many(self, table: Table, docs: Mapping[str, Mapping[str, Any]]) -> None:
        version = secrets.token_hex(8)
        rows = [(str(table), key, encode(table, key, doc), version) for key, doc in docs.items()]
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(_UPSERT, rows)
            db.execute("COMMIT")

    def scan(self, table: Table, prefix: str = "") -> Iterator[Row]:
        values = (table, prefix, f"{prefix}\U0010ffff")  # a range of the primary key
        with self._open() as db:
            held = db.execute(_SCAN, values).fetchall()
        return (Row(key, json.loads(doc), version) for key, doc, version in held)

    def delete(self, table: Table, key: str) -> None:
        with self._open() as db:
            db.execute("DELETE FROM rows WHERE kind = ? AND key = ?", (table, key))

    def delete_many(self, table: Table, keys: Collection[str]) -> None:
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("DELETE FROM rows WHERE kind = ? AND key = ?", [(str(table), key) for key in keys])
            db.execute("COMMIT")

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection or self._connect()
            except (sqlite3.Error, OSError) as error:
                self._recover()
                raise Unavailable(
                    f"state {self._path} can't be used: {error}; is the disk there, and not full?"
                ) from None

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Autocommit: each statement is its own transaction, except where BEGIN says otherwise.
        db = sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(_SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
        self._connection = db
        return db

    def _recover(self) -> None:
        """Throw away a connection that failed: the transaction with it; the next call opens a new one."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
