"""The live tail: what has come in since, by each shard's own sequence numbers, which are the order of arrival there.

The cursor holds one number a shard. It moves only up to what the shard has completed and made visible, so that nothing
is passed over that was written at the same moment.
"""

from __future__ import annotations

import base64
import heapq
import json
import zlib
from collections.abc import Mapping
from typing import Any

from collector.ports import Event, Tail, Where
from shippers.batch import DATASETS

from .client import quoted
from .events import event_of
from .query import patterns, query_of
from .searching import Searching

Cursor = dict[str, int]
_NOTHING = -1


class Tailing:
    """Follows all event indices of a prefix. Keeps nothing: everything is in the cursor."""

    def __init__(self, searching: Searching, prefix: str) -> None:
        self._searching, self._prefix = searching, prefix

    def tail(self, where: Where, after: str | None, limit: int) -> Tail:
        """See Store.tail."""
        ends = self._ends()
        if after is None:
            return Tail((), _encode(ends))
        seen = _decode(after)
        grown = [place for place, end in ends.items() if end > seen.get(place, _NOTHING)]
        wanted = [place for place in grown if self._fits(place, where)]
        if wanted:
            indices = ",".join(sorted({quoted(place.rpartition("/")[0]) for place in wanted}))
            self._searching.ask("POST", f"/{indices}/_refresh?ignore_unavailable=true")
        found: dict[str, list[tuple[int, Event]]] = {
            place: self._since(where, place, seen.get(place, _NOTHING), ends[place], limit) for place in wanted
        }
        events, taken = _merged(found, limit)
        cursor = dict(ends)
        for place in wanted:
            if taken[place] < len(found[place]) or len(found[place]) == limit:
                last = found[place][taken[place] - 1][0] if taken[place] else seen.get(place, _NOTHING)
                cursor[place] = last
        return Tail(tuple(events), _encode(cursor))

    def _ends(self) -> Cursor:
        """How far each shard has completed: `<index>/<shard>` to its global checkpoint."""
        indices = patterns(self._prefix, Where(0, 0, datasets=DATASETS))
        keep = "indices.*.shards.*.seq_no.global_checkpoint,indices.*.shards.*.routing.primary"
        path = f"/{indices}/_stats/docs?level=shards&ignore_unavailable=true&filter_path={keep}"
        found: Cursor = {}
        for index, stats in self._searching.ask("GET", path).get("indices", {}).items():
            for number, copies in stats["shards"].items():
                for copy in copies:
                    if copy["routing"]["primary"]:
                        found[f"{index}/{number}"] = copy["seq_no"]["global_checkpoint"]
        return found

    def _fits(self, place: str, where: Where) -> bool:
        """Whether such events can be in this index, by its name."""
        prefixes = [pattern[:-1] for pattern in patterns(self._prefix, where).split(",")]
        return place.startswith(tuple(prefixes))

    def _since(self, where: Where, place: str, after: int, end: int, limit: int) -> list[tuple[int, Event]]:
        index, _, shard = place.rpartition("/")
        query = {"bool": {"filter": [query_of(where, timed=False), {"range": {"_seq_no": {"gt": after, "lte": end}}}]}}
        body = {"size": limit, "track_total_hits": False, "query": query, "sort": [{"_seq_no": "asc"}]}
        path = f"/{quoted(index)}/_search?preference=_shards:{shard}&ignore_unavailable=true"
        hits = self._searching.ask("POST", path, body)["hits"]["hits"]
        return [(hit["sort"][0], event_of(hit)) for hit in hits]


def _merged(found: Mapping[str, list[tuple[int, Event]]], limit: int) -> tuple[list[Event], dict[str, int]]:
    """The first `limit` of all, each shard's in its order, shards interleaved by time; how many of each were taken."""
    taken = dict.fromkeys(found, 0)
    runs = [[(event.at, place, number, event) for number, event in events] for place, events in found.items()]
    events: list[Event] = []
    for _, place, _, event in heapq.merge(*runs, key=lambda one: one[0]):
        if len(events) == limit:
            break
        events.append(event)
        taken[place] += 1
    return events, taken


def _encode(cursor: Cursor) -> str:
    return base64.b85encode(zlib.compress(json.dumps(cursor, separators=(",", ":")).encode())).decode()


def _decode(text: str) -> Cursor:
    found: Any = json.loads(zlib.decompress(base64.b85decode(text)))
    return {str(place): int(number) for place, number in found.items()}
