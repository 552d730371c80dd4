"""State in Elasticsearch: one index a table, one document a row, compare-and-set by sequence number.

Reading one row is exact at once; a scan refreshes first, so that it sees every write before it. There are no
transactions: `put_many` that fails may have written a part, and is written again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from collector.elastic import names, template
from collector.elastic.client import NDJSON, ElasticClient, ElasticError, quoted
from collector.elastic.outcomes import FILTER, Fate, read
from collector.ports import Conflict, Row, Table
from collector.settings import ElasticSettings
from shippers.errors import LastbeatError, Unavailable

from .document import encode

_PAGE = 1_000
_PUT_BYTES = 4 * 1024 * 1024
_MAX_ID_BYTES = 512


class ElasticState:
    """State in a cluster. From any thread and any number of processes."""

    def __init__(self, settings: ElasticSettings, *, client: ElasticClient | None = None) -> None:
        self._settings = settings
        self._client = client or ElasticClient(settings)
        self._made = False

    def get(self, table: Table, key: str) -> Row | None:
        found = self._ask("GET", f"{self._path(table)}/_doc/{quoted(_id(key))}", allow=(404,))
        if not found.get("found"):
            return None
        return Row(key, json.loads(found["_source"]["doc"]), _version(found))

    def put(self, table: Table, key: str, doc: Mapping[str, Any], version: str | None) -> str:
        text = encode(table, key, doc)
        self._make()
        path = f"{self._path(table)}/_doc/{quoted(_id(key))}"
        if version is None:
            path += "?op_type=create"
        else:
            sequence, _, term = version.partition(":")
            path += f"?if_seq_no={quoted(sequence)}&if_primary_term={quoted(term)}"
        try:
            return _version(self._ask("PUT", path, {"key": key, "doc": text}))
        except ElasticError as error:
            if error.status in (400, 404, 409):  # 400: a version that isn't one of ours; 404: its index is gone
                raise Conflict(f"{table} {key}: somebody else changed the row first") from None
            raise

    def put_many(self, table: Table, docs: Mapping[str, Mapping[str, Any]]) -> None:
        rows = [_lines(key, encode(table, key, doc)) for key, doc in docs.items()]
        if rows:
            self._make()
        self._send(table, rows)

    def delete_many(self, table: Table, keys: Collection[str]) -> None:
        if keys and self._exists(self._path(table)):
            self._send(table, [json.dumps({"delete": {"_id": _id(key)}}).encode() + b"\n" for key in keys])

    def _send(self, table: Table, rows: Sequence[bytes]) -> None:
        start, size = 0, 0
        for end, row in enumerate(rows, 1):
            size += len(row)
            if size >= _PUT_BYTES or end == len(rows):
                self._bulk(table, rows[start:end])
                start, size = end, 0

    def scan(self, table: Table, prefix: str = "") -> Iterator[Row]:
        path = self._path(table)
        if not self._exists(path):
            return iter(())
        self._ask("POST", f"{path}/_refresh", allow=(404,))
        return self._pages(self._ask("POST", f"{path}/_pit?keep_alive=1m")["id"], prefix)

    def delete(self, table: Table, key: str) -> None:
        self._ask("DELETE", f"{self._path(table)}/_doc/{quoted(_id(key))}", allow=(404,))

    def close(self) -> None:
        self._client.close()

    def _pages(self, pit: str, prefix: str) -> Iterator[Row]:
        """Everything as it stood at that point in time, page by page."""
        try:
            after: list[Any] | None = None
            while True:
                query = {
                    "size": _PAGE,
                    "query": {"prefix": {"key": prefix}} if prefix else {"match_all": {}},
                    "pit": {"id": pit, "keep_alive": "1m"},
                    "sort": [{"key": "asc"}],
                    "seq_no_primary_term": True,
                    "track_total_hits": False,
                }
                hits = self._ask("POST", "/_search", query if after is None else {**query, "search_after": after})
                for hit in hits["hits"]["hits"]:
                    yield Row(hit["_source"]["key"], json.loads(hit["_source"]["doc"]), _version(hit))
                if len(hits["hits"]["hits"]) < _PAGE:
                    return
                after = hits["hits"]["hits"][-1]["sort"]
        finally:
            self._ask("DELETE", "/_pit", {"id": pit}, allow=(404,))

    def _bulk(self, table: Table, rows: Sequence[bytes]) -> None:
        path = f"{self._path(table)}/_bulk?{FILTER}"
        answer = self._client.send("POST", path, b"".join(rows), NDJSON)
        if answer.status != 200:
            raise _unavailable(self._client.error_of(answer))
        for item in read(answer.body, len(rows)) or ():
            if item.fate is not Fate.STORED:
                raise Unavailable(f"{table}: not every row could be written: {item.why}")

    def _make(self) -> None:
        """Every table's index, once a process, before anything is written: so that none is ever made with guessed
        mappings, and the first incident needn't wait for its index."""
        if self._made:
            return
        wanted = template.state_template(self._settings)
        try:
            for table in Table:
                self._client.create_index(names.state_index(self._settings.prefix, table), wanted["template"])
        except LastbeatError as error:
            raise _unavailable(error) from None
        self._made = True

    def _exists(self, path: str) -> bool:
        try:
            return self._client.exists(path)
        except LastbeatError as error:
            raise _unavailable(error) from None

    def _path(self, table: Table) -> str:
        return f"/{quoted(names.state_index(self._settings.prefix, table))}"

    def _ask(self, method: str, path: str, body: Any = None, *, allow: tuple[int, ...] = ()) -> Any:
        try:
            return self._client.ask(method, path, body, allow=allow)
        except ElasticError as error:
            if error.status in (400, 404, 409):
                raise
            raise _unavailable(error) from None


def _id(key: str) -> str:
    """The row's id: its key, or where that is too long, the key's hash."""
    raw = key.encode()
    return key if len(raw) <= _MAX_ID_BYTES else f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _lines(key: str, text: str) -> bytes:
    action = {"index": {"_id": _id(key)}}
    return json.dumps(action).encode() + b"\n" + json.dumps({"key": key, "doc": text}).encode() + b"\n"


def _version(found: Mapping[str, Any]) -> str:
    return f"{found['_seq_no']}:{found['_primary_term']}"


def _unavailable(error: LastbeatError) -> LastbeatError:
    return error if isinstance(error, Unavailable) else Unavailable(str(error))
