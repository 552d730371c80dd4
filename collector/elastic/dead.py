"""Dead letters in Elasticsearch: what could not be stored, with its reason, its source and its original bytes.

They are durable before anybody says that an event is dead. Their ids say what they hold, so that one that is written
twice is there once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence

from collector.ledger import IntervalSet
from collector.ports import DeadLetter
from collector.settings import ElasticSettings
from shippers.batch import Header
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

    def keep(self, letters: Sequence[tuple[str, str, DeadLetter]]) -> list[bool]:
        """Store letters, each with the day that its batch claims and its id; durable on return.

        For each whether it is new; False: it was kept before. Raises Unavailable: then write all again.
        """
        fresh: list[bool] = []
        lines: list[bytes] = []
        size = 0
        for day, id_, letter in letters:
            action = {"create": {"_index": _index(self._prefix, day), "_id": id_}}
            lines.append(json.dumps(action).encode() + b"\n" + json.dumps(_to_doc(letter)).encode() + b"\n")
            size += len(lines[-1])
            if size > _REQUEST_BYTES:
                fresh += self._send(lines)
                lines, size = [], 0
        return fresh + self._send(lines) if lines else fresh

    def accounted(self, header: Header, index: str) -> IntervalSet:
        """Which numbers of a batch are stored in `index` or are dead letters by themselves. Raises Unavailable."""
        ids = [f"{header.stream}:{number}" for number in range(header.first, header.last + 1)]
        found = IntervalSet()
        for place in (index, _index(self._prefix, header.day)):
            docs = self._client.ask("POST", f"/{quoted(place)}/_mget?_source=false", {"ids": ids}, allow=(404,))
            for doc in docs.get("docs", ()):
                if doc.get("found"):
                    number = int(doc["_id"].rpartition(":")[2])
                    found.add(number, number)
        return found

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

    def _send(self, lines: list[bytes]) -> list[bool]:
        answer = self._client.send("POST", f"/_bulk?{FILTER}", b"".join(lines), NDJSON)
        if answer.status != 200:
            raise Unavailable(f"dead letters can't be kept: {self._client.error_of(answer)}")
        items = read(answer.body, len(lines))
        if items is None:
            return [True] * len(lines)
        for item in items:
            if item.fate not in (Fate.STORED, Fate.DUPLICATE):
                raise Unavailable(f"a dead letter can't be kept: {item.why}")
        return [item.fate is Fate.STORED for item in items]


def _index(prefix: str, day: str) -> str:
    return names.dead_index(prefix, day if "2000" <= day[:4] < "2100" else names.SKEWED)


def _to_doc(letter: DeadLetter) -> dict[str, object]:
    return {
        "at": letter.at,
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
        at=float(str(doc["at"])),
    )
