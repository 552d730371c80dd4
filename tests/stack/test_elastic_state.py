"""ElasticState on the real Elasticsearch: what compare-and-set promises, with many at it at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from alerts.state.elastic import ElasticState
from collector.ports import Conflict, Table
from collector.settings import ElasticSettings
from shippers.errors import Unavailable
from tests.servers import elastic_settings, remove


@pytest.fixture(scope="module")
def settings() -> Iterator[ElasticSettings]:
    settings = elastic_settings()
    yield settings
    remove(settings)


@pytest.fixture
def state(settings: ElasticSettings) -> Iterator[ElasticState]:
    state = ElasticState(settings)
    for table in Table:
        for row in state.scan(table):
            state.delete(table, row.key)
    yield state
    state.close()


def test_a_row_is_read_as_it_was_written_at_once(state: ElasticState) -> None:
    doc = {"n": 1, "text": "断 \ud800 \x00", "list": [1.5, None, {"deep": True}]}
    version = state.put(Table.INCIDENTS, "cn-east/pay 1/ä?#", doc, None)
    row = state.get(Table.INCIDENTS, "cn-east/pay 1/ä?#")
    assert row is not None
    assert (row.doc, row.version) == (doc, version)
    assert state.get(Table.INCIDENTS, "other") is None
    assert state.get(Table.SILENCES, "never made") is None


def test_only_who_saw_the_last_version_may_write(state: ElasticState) -> None:
    first = state.put(Table.LEASES, "watch", {"holder": "a"}, None)
    with pytest.raises(Conflict):
        state.put(Table.LEASES, "watch", {"holder": "b"}, None)
    second = state.put(Table.LEASES, "watch", {"holder": "b"}, first)
    for stale in (first, "nonsense"):
        with pytest.raises(Conflict):
            state.put(Table.LEASES, "watch", {"holder": "c"}, stale)
    state.delete(Table.LEASES, "watch")
    with pytest.raises(Conflict):
        state.put(Table.LEASES, "watch", {"holder": "c"}, second)
    state.put(Table.LEASES, "watch", {"holder": "c"}, None)
    state.delete(Table.LEASES, "watch")
    state.delete(Table.LEASES, "watch")


def test_of_many_that_count_at_once_none_is_lost(state: ElasticState) -> None:
    state.put(Table.INCIDENTS, "counter", {"n": 0}, None)

    def count() -> None:
        for _ in range(5):
            while True:
                row = state.get(Table.INCIDENTS, "counter")
                assert row is not None
                try:
                    state.put(Table.INCIDENTS, "counter", {"n": row.doc["n"] + 1}, row.version)
                    break
                except Conflict:
                    continue

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = state.get(Table.INCIDENTS, "counter")
    assert row is not None
    assert row.doc == {"n": 20}


def test_a_scan_sees_every_write_before_it_in_order_of_key(state: ElasticState) -> None:
    long = "x" * 600
    docs = {f"cn-east/service-{number:04d}": {"n": number} for number in range(2_500)} | {long: {"n": -1}}
    state.put_many(Table.FLEET, docs)
    rows = list(state.scan(Table.FLEET))
    assert [row.key for row in rows] == sorted(docs)
    assert {row.key: row.doc for row in rows} == docs
    state.put(Table.FLEET, long, {"n": -2}, rows[-1].version)
    assert list(state.scan(Table.FLEET))[-1].doc == {"n": -2}
    assert list(state.scan(Table.SNAPSHOTS)) == []


def test_what_json_can_not_say_is_refused_and_nothing_of_it_written(state: ElasticState) -> None:
    with pytest.raises(ValueError, match="snapshots b"):
        state.put_many(Table.SNAPSHOTS, {"a": {"n": 1}, "b": {"n": float("nan")}})
    assert list(state.scan(Table.SNAPSHOTS)) == []


def test_a_cluster_that_is_not_there_is_unavailable() -> None:
    state = ElasticState(ElasticSettings(urls=("http://127.0.0.1:9",)))
    for ask in (
        lambda: state.get(Table.FLEET, "a"),
        lambda: state.put(Table.FLEET, "a", {}, None),
        lambda: state.put_many(Table.FLEET, {"a": {}}),
        lambda: list(state.scan(Table.FLEET)),
        lambda: state.delete(Table.FLEET, "a"),
    ):
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
            ask()
