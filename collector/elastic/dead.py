"""Dead letters in Elasticsearch: what could not be stored, with its reason, its source and its original bytes.

They are durable before anybody says that an event is dead. Their ids are made from what they hold, so that one that is
written twice is there once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence

from collector.ports import DeadLetter
from collector.settings import ElasticSettings
from shippers.errors import Unavailable

from . import names
from .client import NDJSON, ElasticClient, quoted
from .outcomes import FILTER, Fate, read

_REQUEST_BYTES = 8 * 1024 * 1024
_PAGE = 200


class ElasticDeadLetters:
    """Keeps, lists and drops dead letters. From any thread."""

    def __init__(self, client: ElasticClient, settings: ElasticSettings) -> None:
        self._client, self._prefix = client, settings.prefix

    def keep(self, letters: Sequence[tuple[str, DeadLetter]]) -> None:
        """Store letters, each with the day that its batch claims; durable on return. Raises Unavailable, then write
        all again."""
        lines: list[bytes] = []
        size = 0
        for day, letter in letters:
            action = {"create": {"_index": _index(self._prefix, day), "_id": id_of(letter)}}
            lines.append(json.dumps(action).encode() + b"\n" + json.dumps(_to_doc(letter)).encode() + b"\n")
            size += len(lines[-1])
            if size > _REQUEST_BYTES:
                self._send(lines)
                lines, size = [], 0
        if lines:
            self._send(lines)

    def __iter__(self) -> Iterator[tuple[str, DeadLetter]]:
        """Every letter with its id, the oldest first. Raises Unavailable."""
        indices = quoted(f"{self._prefix}-dead-*")
        self._client.ask("POST", f"/{indices}/_refresh")
        after: list[object] | None = None
        while True:
            query = {"size": _PAGE, "sort": [{"at": "asc"}, {"stream": "asc"}, {"first": "asc"}, {"source": "asc"}]}
            body = query if after is None else {**query, "search_after": after}
            hits = self._client.ask("POST", f"/{indices}/_search", body)["hits"]["hits"]
            for hit in hits:
                yield hit["_id"], _from_doc(hit["_source"])
            if len(hits) < _PAGE:
                return
            after = hits[-1]["sort"]

    def drop(self, ids: Sequence[str]) -> None:
        """Remove letters that were replayed. Raises Unavailable."""
        query = {"size": 10_000, "_source": False, "query": {"ids": {"values": list(ids)}}}
        hits = self._client.ask("POST", f"/{quoted(f'{self._prefix}-dead-*')}/_search", query)["hits"]["hits"]
        for hit in hits:
            self._client.ask("DELETE", f"/{quoted(hit['_index'])}/_doc/{quoted(hit['_id'])}", allow=(404,))

    def _send(self, lines: list[bytes]) -> None:
        answer = self._client.send("POST", f"/_bulk?{FILTER}", b"".join(lines), NDJSON)
        if answer.status != 200:
            error = self._client.error_of(answer)
            raise Unavailable(f"dead letters can't be kept: {error}") from None
        for item in read(answer.body, len(lines)) or ():
            if item.fate not in (Fate.STORED, Fate.DUPLICATE):
                raise Unavailable(f"a dead letter can't be kept: {item.why}")


def id_of(letter: DeadLetter) -> str:
    """The same for the same thing, however often it is read."""
    if not letter.stream:
        return letter.source
    numbers = str(letter.first) if letter.count == 1 else f"{letter.first}+{letter.count}"
    return f"{letter.stream}:{numbers}"


def _index(prefix: str, day: str) -> str:
    return names.dead_index(prefix, day if "2000" <= day[:4] < "2100" else names.SKEWED)


def _to_doc(letter: DeadLetter) -> dict[str, object]:
    return {
        "at": round(letter.at * 1000),
        "stream": letter.stream,
        "first": letter.first,
        "count": letter.count,
        "region": letter.region,
        "service": letter.service,
        "dataset": letter.dataset,
        "source": letter.source,
        "kind": letter.reason.partition(":")[0],
        "reason": letter.reason,
        "original": base64.b64encode(letter.original).decode(),
    }


def _from_doc(doc: dict[str, object]) -> DeadLetter:
    text = {name: str(doc.get(name, "")) for name in ("stream", "region", "service", "dataset", "reason", "source")}
    return DeadLetter(
        **text,
        first=int(str(doc["first"])),
        count=int(str(doc["count"])),
        original=base64.b64decode(str(doc["original"])),
        at=int(str(doc["at"])) / 1000,
    )
