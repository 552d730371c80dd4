"""What is really there: the stores' raw rows, the dead letters, the journal's beats. Reads; judges nothing.

The lake is read through Delta's own log and DuckDB, Elasticsearch by plain searches: by none of the product's code
for reading.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from collector.dead_letters import WHOLE_BATCH, Among, is_void
from collector.elastic.client import ElasticClient
from collector.ports import Gap
from collector.settings import ElasticSettings
from compose.settings import Settings
from compose.wiring import open_dead_letters, open_journal
from shippers.batch import DATASETS, Header
from shippers.clock import Clock

_ID = re.compile(r"drill (\S+) (\d+)")
_PAGE = 10_000
_ALL = 1_000_000
_POLL_BYTES = 8 * 1024 * 1024

Numbers = dict[str, Counter[int]]


@dataclass(slots=True)
class Rows:
    """What one store holds: how often each event is there, by the number in its message under its run's name, and by
    its number in its stream."""

    by_run: Numbers = field(default_factory=lambda: defaultdict(Counter))
    by_stream: Numbers = field(default_factory=lambda: defaultdict(Counter))
    events: int = 0

    def add(self, stream: str, sequence: int, message: str) -> None:
        """Count one row."""
        self.events += 1
        self.by_stream[stream][sequence] += 1
        if found := _ID.fullmatch(message):
            self.by_run[found[1]][int(found[2])] += 1

    @property
    def twice(self) -> int:
        """How many rows are copies of another by their numbers."""
        return sum(times - 1 for numbers in self.by_stream.values() for times in numbers.values())


def in_lake(lake: Path, dataset: str = "business") -> Rows:
    """Every row of one table of the lake."""
    rows = Rows()
    root = lake / dataset
    if not DeltaTable.is_deltatable(str(root)):
        return rows
    files = DeltaTable(root).file_uris()
    if not files:
        return rows
    with duckdb.connect() as con:
        found = con.execute("SELECT stream, sequence, coalesce(message, '') FROM read_parquet(?)", [files])
        while some := found.fetchmany(_PAGE):
            for stream, sequence, message in some:
                rows.add(stream, sequence, message)
    return rows


def in_elastic(settings: ElasticSettings, dataset: str = "business") -> Rows:
    """Every document of one dataset in Elasticsearch, made findable first."""
    rows = Rows()
    with closing(ElasticClient(settings)) as client:
        client.ask("POST", f"/{settings.prefix}-*/_refresh")
        for hit in _documents(client, f"{settings.prefix}-{dataset}-*"):
            stream, _, sequence = hit["_id"].rpartition(":")
            message = hit.get("_source", {}).get("message", "")
            rows.add(stream, int(sequence), message if isinstance(message, str) else "")
    return rows


def _documents(
    client: ElasticClient, pattern: str, query: Mapping[str, Any] | None = None
) -> Iterator[Mapping[str, Any]]:
    pit = client.ask("POST", f"/{pattern}/_pit?keep_alive=1m&ignore_unavailable=true")["id"]
    after: object = None
    try:
        while True:
            body = {
                "size": _PAGE, "_source": ["message"], "pit": {"id": pit, "keep_alive": "1m"},
                "sort": ["_shard_doc"], "track_total_hits": False, "query": query or {"match_all": {}},
            }  # fmt: skip
            hits = client.ask("POST", "/_search", body if after is None else {**body, "search_after": after})
            yield from (found := hits["hits"]["hits"])
            if len(found) < _PAGE:
                return
            after = found[-1]["sort"]
    finally:
        client.ask("DELETE", "/_pit", {"id": pit}, allow=(404,))


def count_in_lake(lake: Path, dataset: str = "business") -> int:
    """How many rows one table of the lake has, by Delta's log alone."""
    root = lake / dataset
    if not DeltaTable.is_deltatable(str(root)):
        return 0
    return int(sum(pa.table(DeltaTable(root).get_add_actions(flatten=True))["num_records"].to_pylist()))


def count_in_elastic(settings: ElasticSettings, dataset: str = "business") -> int:
    """How many documents of one dataset Elasticsearch finds by now."""
    with closing(ElasticClient(settings)) as client:
        return int(client.ask("GET", f"/{settings.prefix}-{dataset}-*/_count")["count"])


def count_stored(settings: Settings) -> int:
    """How many business events the store that answers has by now. Raises LastbeatError."""
    return count_in_elastic(settings.elastic) if settings.elastic else count_in_lake(settings.lake_path)


Ranges = Mapping[str, tuple[int, int]]
_STREAMS = 200


def counts_in_lake(lake: Path, ranges: Ranges) -> tuple[dict[str, int], dict[str, int]]:
    """By stream: how many rows there are of its range of numbers, and of how many different numbers."""
    rows: dict[str, int] = {}
    distinct: dict[str, int] = {}
    wanted = pa.table(
        {
            "stream": list(ranges),
            "low": [low for low, _ in ranges.values()],
            "high": [high for _, high in ranges.values()],
        },
        schema=pa.schema([("stream", pa.string()), ("low", pa.int64()), ("high", pa.int64())]),
    )
    for root in (lake / dataset for dataset in DATASETS):
        if not ranges or not DeltaTable.is_deltatable(str(root)) or not (files := DeltaTable(root).file_uris()):
            continue
        with duckdb.connect() as con:
            con.register("wanted", wanted)
            asked = (
                "SELECT stream, count(*), count(DISTINCT sequence) FROM read_parquet(?) JOIN wanted USING (stream) "
                "WHERE sequence BETWEEN low AND high GROUP BY stream"
            )
            for stream, count, different in con.execute(asked, [files]).fetchall():
                rows[stream], distinct[stream] = count, different
    return rows, distinct


def counts_in_elastic(settings: ElasticSettings, ranges: Ranges) -> tuple[dict[str, int], dict[str, int]]:
    """The same of Elasticsearch. A number can be there twice only in different indices: of a stream that is in several,
    each document is looked at."""
    rows: dict[str, int] = {}
    distinct: dict[str, int] = {}
    names = list(ranges)
    pattern = ",".join(f"{settings.prefix}-{dataset}-*" for dataset in DATASETS)
    with closing(ElasticClient(settings)) as client:
        for some in (names[at : at + _STREAMS] for at in range(0, len(names), _STREAMS)):
            indices = {"index": {"terms": {"field": "_index", "size": 2}}}
            body = {
                "size": 0,
                "query": {"bool": {"filter": [{"bool": {"should": [_within(name, *ranges[name]) for name in some]}}]}},
                "aggs": {"stream": {"terms": {"field": "event.stream", "size": _STREAMS}, "aggs": indices}},
            }
            answer = client.ask("POST", f"/{pattern}/_search?ignore_unavailable=true", body)
            for bucket in answer["aggregations"]["stream"]["buckets"]:
                name = bucket["key"]
                rows[name] = distinct[name] = bucket["doc_count"]
                if len(bucket["index"]["buckets"]) > 1:
                    found = _documents(client, pattern, _within(name, *ranges[name]))
                    distinct[name] = len({hit["_id"] for hit in found})
    return rows, distinct


def _within(stream: str, low: int, high: int) -> Mapping[str, Any]:
    """A query for some numbers of a stream."""
    numbers = {"range": {"event.sequence": {"gte": low, "lte": high}}}
    return {"bool": {"filter": [{"term": {"event.stream": stream}}, numbers]}}


@dataclass(slots=True)
class Letters:
    """The numbers of each stream that are dead letters, and those that void batches account for."""

    dead: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    void: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


def letters(settings: Settings) -> dict[str, Letters]:
    """What each store has as dead letters. A whole broken batch only claims its numbers: it accounts for none."""
    if settings.elastic:
        with closing(ElasticClient(settings.elastic)) as client:
            client.ask("POST", f"/{settings.elastic.prefix}-*/_refresh")
    found = {}
    for name, keeper in open_dead_letters(settings).items():
        found[name] = mine = Letters()
        for letter in keeper.find(Among(), _ALL):
            if not letter.reason.startswith(WHOLE_BATCH):
                numbers = mine.void if is_void(letter) else mine.dead
                numbers[letter.stream].update(range(letter.first, letter.first + letter.count))
    return found


@dataclass(frozen=True, slots=True)
class Said:
    """What the last beat of a boot says of its business events."""

    beat: int
    last: int = 0
    acked: int = 0
    dropped: int = 0


class Beats:
    """The last beat of every boot, from the journal, read on from where the last call ended."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._journal, self._clock = open_journal(settings), clock
        self._reader = self._journal.reader(None, ["heartbeat"])
        self.said: dict[str, Said] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._journal.close()

    def read(self) -> None:
        """Take in all that is there by now; who beats on meanwhile is for the next call. Raises Unavailable."""
        now = self._clock.time()
        while True:
            try:
                records = self._reader.poll(_POLL_BYTES, 0.5)
            except Gap:
                continue
            for record in records:
                if b'"canary":true' not in record.header and record.body:
                    self._take(Header.decode(record.header), record.body)
            if not records or records[-1].appended_at >= now:
                return

    def _take(self, header: Header, body: bytes) -> None:
        known = self.said.get(header.boot)
        if known is not None and known.beat >= header.first:
            return
        fields = json.loads(body.splitlines()[-1]).get("heartbeat", {}).get("datasets", {}).get("business", {})
        dropped = sum(fields.get("dropped", {}).values())
        self.said[header.boot] = Said(header.first, fields.get("last", 0), fields.get("acked", 0), dropped)
