"""ElasticSink against the real Elasticsearch and what can happen to it. After each fault every event is stored exactly
once or is a dead letter."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator

import pytest

from alerts.state.memory import MemoryState
from collector.elastic.client import ElasticClient
from collector.elastic.dead import ElasticDeadLetters
from collector.elastic.names import event_patterns
from collector.elastic.sink import ElasticSink
from collector.ledger.keeper import LedgerKeeper
from collector.ports import Outcome, Record
from collector.settings import ElasticSettings
from shippers.clock import SystemClock
from shippers.errors import Unavailable
from tests.servers import elastic_settings, elasticsearch_url, remove, shared_stack
from tests.stack.elastic_events import NOON, PAY, batch, line, record
from tests.stack.proxy import CuttingProxy

CLOCK = SystemClock()


class Now(SystemClock):
    """The system's clock on the day of the test's events."""

    def __init__(self) -> None:
        self._off = NOON - CLOCK.time()
        self._skipped = 0.0

    def skip(self, seconds: float) -> None:
        self._skipped += seconds

    def monotonic(self) -> float:
        return super().monotonic() + self._skipped

    def time(self) -> float:
        return super().time() + self._off


@pytest.fixture
def settings() -> Iterator[ElasticSettings]:
    settings = elastic_settings(request_bytes=256 * 1024, patience_s=2.0)
    yield settings
    remove(settings)


def stored(settings: ElasticSettings) -> list[int]:
    client = ElasticClient(settings)
    indices = ",".join(event_patterns(settings.prefix))
    client.ask("POST", f"/{indices}/_refresh")
    query = {"size": 10_000, "_source": False}
    hits = client.ask("POST", f"/{indices}/_search", query)["hits"]["hits"]
    client.close()
    return sorted(int(hit["_id"].rpartition(":")[2]) for hit in hits)


def dead(settings: ElasticSettings) -> list[int]:
    client = ElasticClient(settings)
    found = sorted(letter.first for _, letter in ElasticDeadLetters(client, settings))
    client.close()
    return found


def write_until_settled(sink: ElasticSink, records: list[Record], within_s: float = 60) -> list[Outcome]:
    """As the indexer does: the same records again until none is left."""
    until, done, left = CLOCK.monotonic() + within_s, [], records
    while left:
        assert CLOCK.monotonic() < until, f"{len(left)} of {len(records)} records are still not settled"
        try:
            outcomes = sink.write(left)
        except Unavailable:
            CLOCK.wait(threading.Event(), 0.2)
            continue
        done += [outcome for outcome in outcomes if not outcome.retry]
        left = [outcome.record for outcome in outcomes if outcome.retry]
    return done


def events_in(outcomes: list[Outcome]) -> tuple[int, int]:
    return sum(o.stored + o.duplicate for o in outcomes), sum(o.dead for o in outcomes)


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 10)] + [0])
def test_elasticsearch_killed_in_mid_bulk_and_back_loses_and_doubles_nothing(
    seed: int, settings: ElasticSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LASTBEAT_TEST_ELASTICSEARCH", raising=False)  # only our own server is killed
    own = settings.model_copy(update={"urls": (elasticsearch_url(),)})
    sink = ElasticSink(own, Now())
    count = 6_000
    records = [record(n, batch(1 + n * 200, 200)) for n in range(count // 200)]
    records[3] = record(3, batch(601, 200, bad={700: b"not json"}))
    write_until_settled(sink, records[:2])
    stack, pause_s = shared_stack(), random.Random(seed).uniform(0.02, 0.4)
    killed = threading.Event()

    def kill() -> None:
        CLOCK.wait(threading.Event(), pause_s)
        process = stack.process("elasticsearch")
        assert process is not None
        process.kill(CLOCK)
        killed.set()
        stack.up("elasticsearch")

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        outcomes = write_until_settled(sink, records[2:], within_s=120)
    finally:
        killer.join()
    assert killed.is_set()
    assert events_in(outcomes) == (count - 401, 1)
    assert stored(own) == [number for number in range(1, count + 1) if number != 700]
    assert dead(own) == [700]
    sink.close()
    remove(own)


def test_an_answer_cut_off_is_asked_again_and_nothing_is_stored_twice(settings: ElasticSettings) -> None:
    proxy = CuttingProxy(settings.urls[0])
    sink = ElasticSink(settings.model_copy(update={"urls": (proxy.url,)}), Now())
    write_until_settled(sink, [record(0, batch(1, 1))])
    proxy.cuts = 3
    records = [record(n, batch(2 + n * 200, 200, bad={300: b"{}x"})) for n in range(10)]
    outcomes = write_until_settled(sink, records)
    assert proxy.cut == 3
    assert sum(events_in(outcomes)) == 2_000
    assert stored(settings) == [number for number in range(1, 2_002) if number != 300]
    assert dead(settings) == [300]
    sink.close()
    proxy.close()


@pytest.mark.parametrize(
    "trouble",
    [
        ("PUT", "/{}/_settings", {"index.blocks.read_only_allow_delete": True}),
        ("PUT", "/{}/_settings", {"index.blocks.write": True}),
        ("POST", "/{}/_close", None),
    ],
    ids=["disk watermark", "write block", "closed"],
)
def test_trouble_with_one_index_holds_back_only_its_batches(
    trouble: tuple[str, str, object], settings: ElasticSettings, caplog: pytest.LogCaptureFixture
) -> None:
    client = ElasticClient(settings)
    clock = Now()
    sink = ElasticSink(settings, clock)
    sink.write([record(0, batch(1, 2)), record(0, batch(1, 2, "shopbootid01.business", region="cn-north"))])
    method, path, body = trouble
    index = f"{settings.prefix}-business-cn-east-2026.11.21"
    client.ask(method, path.format(index), body)
    north = record(1, batch(3, 2, "shopbootid01.business", region="cn-north"))
    east = record(1, batch(3, 2))
    held, went = sink.write([east, north])
    assert (held.retry, went.stored) == (True, 2)
    assert sink.blocked == (index,)
    assert "others go on" in caplog.text
    [again] = sink.write([east])
    assert again.retry, "nothing settled and nothing raised: the caller goes on reading the others"
    client.ask("PUT", f"/{index}/_settings", {"index.blocks.read_only_allow_delete": None, "index.blocks.write": None})
    client.ask("POST", f"/{index}/_open")
    clock.skip(10)
    assert [outcome.stored for outcome in write_until_settled(sink, [east])] == [2]
    assert dead(settings) == []
    sink.close()
    client.close()


def test_a_block_of_the_whole_cluster_stops_everything_and_says_so_loudly(
    settings: ElasticSettings, caplog: pytest.LogCaptureFixture
) -> None:
    client, sink = ElasticClient(settings), ElasticSink(settings, Now())
    sink.write([record(0, batch(1, 1))])
    client.ask("PUT", "/_cluster/settings", {"persistent": {"cluster.blocks.read_only": True}})
    try:
        with pytest.raises(Unavailable, match="cluster read-only"):
            sink.write([record(1, batch(2, 2))])
    finally:
        client.ask("PUT", "/_cluster/settings", {"persistent": {"cluster.blocks.read_only": None}})
    assert [entry.levelno for entry in caplog.records if "EVERYTHING WAITS" in entry.message] == [logging.CRITICAL]
    assert [outcome.stored for outcome in sink.write([record(1, batch(2, 2))])] == [2]
    assert stored(settings) == [1, 2, 3]
    sink.close()
    client.close()


@pytest.mark.parametrize(
    "odd",
    [
        b'{"@timestamp":"2026-11-21T12:00:00Z","labels":"text where names are"}',
        b'{"@timestamp":"2026-11-21T12:00:00Z","event":7}',
        b'{"create":{"_index":"elsewhere","_id":"x"}}',
        b'{"@timestamp":"2026-11-21T12:00:00Z","message":' + b"[" * 3_000 + b"]" * 3_000 + b"}",
        b"\x00\xff\xfe",
    ],
    ids=["a scalar for an object", "event is a number", "looks like an action", "very deep", "no text at all"],
)
def test_a_document_that_is_rejected_harms_none_of_its_neighbours(odd: bytes, settings: ElasticSettings) -> None:
    sink = ElasticSink(settings, Now())
    [outcome] = sink.write([record(7, batch(1, 5, bad={3: odd}))])
    assert (outcome.stored, outcome.dead) == (4, 1)
    assert stored(settings) == [1, 2, 4, 5]
    client = ElasticClient(settings)
    [(id_, letter)] = ElasticDeadLetters(client, settings)
    assert (id_, letter.original, letter.source) == (f"{PAY}:3", odd, "lastbeat.cn-east.business/0/7")
    assert letter.reason
    sink.close()
    client.close()


def test_another_process_s_events_under_used_numbers_reach_the_ledger_as_a_lie(settings: ElasticSettings) -> None:
    clock = Now()
    sink, keeper = ElasticSink(settings, clock), LedgerKeeper(MemoryState(), "elastic", clock)
    tp = record(0, batch(1, 1)).tp
    keeper.load([tp], {})
    records = [record(n, batch(1 + 2 * n, 2)) for n in range(100)]  # more than the ledger remembers
    keeper.settle(sink.write(records))
    keeper.settle(sink.write(records))
    account = keeper.account(tp, PAY)
    assert account is not None
    assert account.lies == ()
    other = batch(21, 2, bad={number: line(number).replace(b"paid", b"refunded") for number in (21, 22)})
    outcomes = sink.write([*records, record(100, other)])
    keeper.settle(outcomes)
    assert events_in(outcomes) == (200, 2)
    assert [(lie.kind, lie.ranges[0], lie.where) for lie in account.lies] == [
        ("other content", (21, 22), "lastbeat.cn-east.business/0/100")
    ]
    client = ElasticClient(settings)
    [(_, letter)] = ElasticDeadLetters(client, settings)
    assert (letter.first, letter.count, letter.original) == (21, 2, other.body)
    assert stored(settings) == list(range(1, 201))
    assert sink.stats()["duplicates_not_compared"] == 0
    sink.close()
    client.close()
