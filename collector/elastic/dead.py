"""Dead letters in Elasticsearch: what could not be stored, with its reason, its source and its original bytes.

They are durable before anybody says that an event is dead. Their ids say what they hold, so that one that is written
twice is there once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from collector.dead_letters import Among, DeadLetter, id_of, is_among, is_void, old_id, void_id
from collector.ledger.intervals import IntervalSet
from collector.settings import ElasticSettings
from shippers.batch import Header
from shippers.errors import Unavailable

from . import names
from .client import NDJSON, ElasticClient, documents_of, quoted
from .outcomes import FILTER, Fate, read
from .placement import skewed_indices

_REQUEST_BYTES = 8 * 1024 * 1024
_PAGE, _IDS = 200, 1_000
_ORDER = ("at", "stream", "first", "source")
_TEXT = ("stream", "region", "service", "dataset", "reason", "source", "instance", "day")


class ElasticDeadLetters:
    """Keeps, lists and drops dead letters; see the port DeadLetters. From any thread."""

    def __init__(self, client: ElasticClient, settings: ElasticSettings) -> None:
        self._client, self._prefix = client, settings.prefix

    def keep(
        self, letters: Sequence[DeadLetter], replaces: Callable[[DeadLetter], bool] = lambda _: False
    ) -> list[bool]:
        """Store letters; durable on return. One that `replaces` takes the place of an older one of its name.

        For each whether it is new; False: it was kept before. Raises Unavailable: then write all again.
        """
        fresh: list[bool] = []
        lines: list[bytes] = []
        size = 0
        for letter in letters:
            what = "index" if replaces(letter) else "create"
            action = {what: {"_index": _index(self._prefix, letter.day), "_id": id_of(letter)}}
            lines.append(json.dumps(action).encode() + b"\n" + json.dumps(_to_doc(letter)).encode() + b"\n")
            size += len(lines[-1])
            if size > _REQUEST_BYTES:
                fresh += self._send(lines)
                lines, size = [], 0
        return fresh + self._send(lines) if lines else fresh

    def accounted(self, header: Header, *indices: str) -> tuple[IntervalSet, IntervalSet]:
        """Which numbers of a batch are stored in `indices` or among impossible days, and which others are dead letters
        by themselves. Raises Unavailable."""
        skewed = skewed_indices(self._client, self._prefix, header.dataset, header.region)
        stored = self._found(header, (*indices, *skewed))
        return stored, self._found(header, (_index(self._prefix, header.day),)).without(stored)

    def find(self, among: Among, limit: int) -> list[DeadLetter]:
        """See DeadLetters.find."""
        found: list[DeadLetter] = []
        for hit in self._hits(_query_of(among), "desc", leave_out="original"):
            letter = _from_doc(hit["_source"])
            if is_among(letter, among):
                found.append(letter)
                if len(found) >= limit:
                    break
        return found

    def get(self, id: str) -> DeadLetter | None:
        """See DeadLetters.get."""
        for name in filter(None, (id, old_id(id), void_id(id))):
            for hit in self._hits({"ids": {"values": [name]}}, "desc"):
                letter = _from_doc(hit["_source"])
                if name == id or is_void(letter):
                    return letter
        return None

    def stored(self, header: Header) -> int:
        """See DeadLetters.stored."""
        skewed = skewed_indices(self._client, self._prefix, header.dataset, header.region)
        return len(self._found(header, (names.index_of(self._prefix, header), *skewed)))

    def drop(self, letters: Sequence[DeadLetter]) -> None:
        """See DeadLetters.drop."""
        sources = {(name, letter.source) for letter in letters for name in (id_of(letter), old_id(id_of(letter)))}
        ids = sorted({name for name, _ in sources if name})
        for start in range(0, len(ids), _IDS):
            query = {"ids": {"values": ids[start : start + _IDS]}}
            hits = [hit for hit in self._hits(query, "asc", leave_out="original")
                    if (hit["_id"], hit["_source"].get("source")) in sources]  # fmt: skip
            self.delete(hits)

    def age(self, before: float, most: int = 100_000) -> int:
        """Delete letters that came before a time, the oldest first and `most` of them at once; says how many.

        Their indices stay, empty: to delete one could take a letter with it that comes at that moment.
        """
        gone = 0
        old = {"range": {"at": {"lt": before}}}
        while gone < most:
            hits = list(islice(self._hits(old, "asc", leave_out="*"), _IDS))
            self.delete(hits)
            gone += len(hits)
            if len(hits) < _IDS:
                break
        return gone

    def delete(self, hits: Sequence[Mapping[str, Any]]) -> None:
        """Delete documents by their index and id. Raises Unavailable."""
        lines = [json.dumps({"delete": {"_index": hit["_index"], "_id": hit["_id"]}}).encode() + b"\n" for hit in hits]
        for start in range(0, len(lines), _IDS):
            some = lines[start : start + _IDS]
            answer = self._client.send("POST", f"/_bulk?{FILTER}", b"".join(some), NDJSON)
            if answer.status != 200:
                raise Unavailable(f"dead letters can't be deleted: {self._client.error_of(answer)}")
            left = [item for item in read(answer.body, len(some)) or () if item.fate is not Fate.STORED]
            if left:
                raise Unavailable(f"{len(left)} dead letters can't be deleted: {left[0].why}")

    def without_originals(self) -> Iterator[DeadLetter]:
        """Every letter, the oldest first, without its original bytes. Raises Unavailable."""
        for hit in self._hits({"match_all": {}}, "asc", leave_out="original"):
            yield _from_doc(hit["_source"])

    def __iter__(self) -> Iterator[tuple[str, DeadLetter]]:
        """Every letter with its id, the oldest first. Raises Unavailable."""
        for hit in self._hits({"match_all": {}}, "asc"):
            yield hit["_id"], _from_doc(hit["_source"])

    def _hits(self, query: Mapping[str, Any], order: str, *, leave_out: str = "") -> Iterator[Mapping[str, Any]]:
        indices = quoted(f"{self._prefix}-dead-*")
        self._client.ask("POST", f"/{indices}/_refresh")
        body: dict[str, Any] = {"size": _PAGE, "query": query, "sort": [{name: order} for name in _ORDER]}
        if leave_out:
            body["_source"] = {"excludes": [leave_out]}
        while True:
            hits = self._client.ask("POST", f"/{indices}/_search", body)["hits"]["hits"]
            yield from hits
            if len(hits) < _PAGE:
                return
            body["search_after"] = hits[-1]["sort"]

    def _found(self, header: Header, indices: Sequence[str]) -> IntervalSet:
        found = IntervalSet()
        for start in range(header.first, header.last + 1, _IDS):
            ids = [f"{header.stream}:{number}" for number in range(start, min(start + _IDS, header.last + 1))]
            for place in indices:
                answer = self._client.ask("POST", f"/{quoted(place)}/_mget?_source=false", {"ids": ids}, allow=(404,))
                for doc in documents_of(answer):
                    if doc.get("found"):
                        number = int(doc["_id"].rpartition(":")[2])
                        found.add(number, number)
        return found

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


def _query_of(among: Among) -> dict[str, Any]:
    """What Elasticsearch can tell apart; the reason's text isn't indexed."""
    terms = {name: getattr(among, name) for name in ("region", "service", "dataset", "stream")}
    filters: list[dict[str, Any]] = [{"term": {name: value}} for name, value in terms.items() if value]
    if among.since:
        filters.append({"range": {"at": {"gte": among.since}}})
    return {"bool": {"filter": filters}}


def _index(prefix: str, day: str) -> str:
    return names.dead_index(prefix, day if "2000" <= day[:4] < "2100" else names.SKEWED)


def _to_doc(letter: DeadLetter) -> dict[str, object]:
    return {
        "at": letter.at,
        "first": letter.first,
        "count": letter.count,
        **{name: getattr(letter, name) for name in _TEXT},
        "kind": letter.reason.partition(":")[0],
        "original": base64.b64encode(letter.original).decode(),
    }


def _from_doc(doc: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        **{name: str(doc.get(name, "")) for name in _TEXT},
        first=int(doc["first"]),
        count=int(doc["count"]),
        original=base64.b64decode(str(doc.get("original", ""))),
        at=float(doc["at"]),
    )
