"""What every State must do, held against every implementation."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alerts.state.elastic import ElasticState
from alerts.state.memory import MemoryState
from alerts.state.sqlite import SqliteState
from collector.elastic.removal import remove_indices
from collector.ports import Conflict, State, Table
from shippers.errors import Unavailable
from tests.servers import shared_elastic_settings


@pytest.fixture(params=["elastic", "memory", "sqlite"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    makers: dict[str, Callable[[], State]] = {
        "elastic": lambda: ElasticState(shared_elastic_settings()),
        "memory": MemoryState,
        "sqlite": lambda: SqliteState(tmp_path / "deep" / "state.db"),
    }
    made = makers[request.param]()
    yield made
    made.close()
    if request.param == "elastic":
        remove_indices(shared_elastic_settings())


def test_a_row_that_is_not_there_is_none(state: State) -> None:
    assert state.get(Table.FLEET, "nobody") is None
    assert list(state.scan(Table.FLEET)) == []
    state.delete(Table.FLEET, "nobody")


def test_what_is_put_comes_back_as_it_was(state: State) -> None:
    doc = {"text": "支付 \ud800 ✖", "number": 1.5, "none": None, "list": [1, {"a": True}], "big": 2**62}
    version = state.put(Table.INCIDENTS, "键/a", doc, None)
    row = state.get(Table.INCIDENTS, "键/a")
    assert row is not None
    assert (row.key, row.doc, row.version) == ("键/a", doc, version)


def test_a_put_names_the_version_that_it_read_or_it_conflicts(state: State) -> None:
    first = state.put(Table.INCIDENTS, "a", {"n": 1}, None)
    with pytest.raises(Conflict):
        state.put(Table.INCIDENTS, "a", {"n": 2}, None)
    second = state.put(Table.INCIDENTS, "a", {"n": 3}, first)
    with pytest.raises(Conflict):
        state.put(Table.INCIDENTS, "a", {"n": 4}, first)
    row = state.get(Table.INCIDENTS, "a")
    assert row is not None
    assert (row.doc, row.version) == ({"n": 3}, second)


def test_a_version_of_a_row_that_is_gone_conflicts(state: State) -> None:
    version = state.put(Table.LEASES, "a", {"n": 1}, None)
    state.delete(Table.LEASES, "a")
    with pytest.raises(Conflict):
        state.put(Table.LEASES, "a", {"n": 2}, version)
    assert state.put(Table.LEASES, "a", {"n": 1}, None) != version


def test_put_many_writes_over_everything_and_changes_the_versions(state: State) -> None:
    version = state.put(Table.FLEET, "a", {"n": 1}, None)
    state.put_many(Table.FLEET, {"a": {"n": 2}, "b": {"n": 3}})
    state.put_many(Table.FLEET, {})
    assert [(row.key, row.doc) for row in state.scan(Table.FLEET)] == [("a", {"n": 2}), ("b", {"n": 3})]
    with pytest.raises(Conflict):
        state.put(Table.FLEET, "a", {"n": 4}, version)


def test_put_many_writes_all_or_none(state: State) -> None:
    with pytest.raises(ValueError, match="fleet b"):
        state.put_many(Table.FLEET, {"a": {"n": 1}, "b": {"n": float("nan")}})
    assert list(state.scan(Table.FLEET)) == []


def test_a_scan_is_in_order_of_key_and_of_one_table(state: State) -> None:
    for key in ("b", "a/b", "a", "c:1"):
        state.put(Table.SILENCES, key, {"key": key}, None)
    state.put(Table.LEASES, "a", {}, None)
    assert [row.key for row in state.scan(Table.SILENCES)] == ["a", "a/b", "b", "c:1"]


def test_a_scan_of_a_prefix_brings_the_keys_that_begin_with_it_and_no_others(state: State) -> None:
    keys = ["at/lake/a/0", "d/lake/a/0/1", "d/lake/a/0/2", "d/lake/a/01/1", "d/lake2/a", "d/lake", "e", "d/lakes/ü"]
    state.put_many(Table.LEDGER, {key: {"key": key} for key in keys})
    assert [row.key for row in state.scan(Table.LEDGER, "d/lake/a/0/")] == ["d/lake/a/0/1", "d/lake/a/0/2"]
    assert [row.key for row in state.scan(Table.LEDGER, "d/lake/a/0")] == [
        "d/lake/a/0/1",
        "d/lake/a/0/2",
        "d/lake/a/01/1",
    ]
    assert [row.key for row in state.scan(Table.LEDGER, "d/lakes/")] == ["d/lakes/ü"]
    assert list(state.scan(Table.LEDGER, "x")) == []
    assert len(list(state.scan(Table.LEDGER))) == len(keys)


def test_many_rows_are_deleted_at_once_as_far_as_they_are_there(state: State) -> None:
    state.delete_many(Table.LEDGER, ["a"])
    state.put_many(Table.LEDGER, {key: {} for key in ("a", "b", "c", "ü/ü")})
    state.delete_many(Table.LEDGER, ["a", "c", "x", "ü/ü"])
    state.delete_many(Table.LEDGER, [])
    assert [row.key for row in state.scan(Table.LEDGER)] == ["b"]


def test_a_scan_is_not_disturbed_by_writes_meanwhile(state: State) -> None:
    state.put_many(Table.FLEET, {str(i): {"n": i} for i in range(10)})
    rows = state.scan(Table.FLEET)
    next(rows)
    state.put_many(Table.FLEET, {f"x{i}": {} for i in range(10)})
    assert len(list(rows)) == 9


def test_a_document_that_json_cannot_say_is_refused_by_name(state: State) -> None:
    with pytest.raises(TypeError, match="incidents a"):
        state.put(Table.INCIDENTS, "a", {"raw": b"bytes"}, None)
    assert state.get(Table.INCIDENTS, "a") is None


def count_up(state: State, key: str, times: int) -> None:
    done = 0
    while done < times:
        row = state.get(Table.INCIDENTS, key)
        doc, version = ({"n": 0}, None) if row is None else (row.doc, row.version)
        try:
            state.put(Table.INCIDENTS, key, {"n": doc["n"] + 1}, version)
            done += 1
        except Conflict:
            continue


def test_no_count_is_lost_among_threads(state: State) -> None:
    threads = [threading.Thread(target=count_up, args=(state, "n", 25)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = state.get(Table.INCIDENTS, "n")
    assert row is not None
    assert row.doc == {"n": 100}


# --- the file ---


def _count_up_in_a_process(path: Path) -> None:
    state = SqliteState(path, busy_s=30)
    count_up(state, "n", 20)
    state.put_many(Table.FLEET, {f"{multiprocessing.current_process().pid}-{i}": {} for i in range(50)})
    state.close()


def test_no_count_is_lost_among_processes_on_one_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_count_up_in_a_process, args=(path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    state = SqliteState(path)
    row = state.get(Table.INCIDENTS, "n")
    assert row is not None
    assert row.doc == {"n": 60}
    assert len(list(state.scan(Table.FLEET))) == 150
    state.close()


def test_another_opening_of_the_file_sees_what_was_written(tmp_path: Path) -> None:
    one, other = SqliteState(tmp_path / "state.db"), SqliteState(tmp_path / "state.db")
    version = one.put(Table.INCIDENTS, "a", {"n": 1}, None)
    row = other.get(Table.INCIDENTS, "a")
    assert row is not None
    assert row.version == version
    one.close()
    other.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda state: state.get(Table.FLEET, "a"),
        lambda state: state.put(Table.FLEET, "a", {}, None),
        lambda state: state.put_many(Table.FLEET, {"a": {}}),
        lambda state: state.scan(Table.FLEET),
        lambda state: state.delete(Table.FLEET, "a"),
        lambda state: state.delete_many(Table.FLEET, ["a"]),
    ],
    ids=["get", "put", "put_many", "scan", "delete", "delete_many"],
)
def test_a_file_that_cannot_be_used_is_unavailable_and_names_itself(
    tmp_path: Path, call: Callable[[SqliteState], object]
) -> None:
    (tmp_path / "state.db").write_bytes(b"this is no database, and never was" * 100)
    state = SqliteState(tmp_path / "state.db")
    with pytest.raises(Unavailable, match=r"state\.db"):
        call(state)
    state.close()


def test_it_works_again_once_the_file_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "state.db"
    path.parent.write_text("a file where the folder should be")
    state = SqliteState(path)
    with pytest.raises(Unavailable):
        state.put(Table.FLEET, "a", {}, None)
    path.parent.unlink()
    state.put(Table.FLEET, "a", {}, None)
    assert state.get(Table.FLEET, "a") is not None
    state.close()


def test_a_write_lock_held_for_too_long_is_unavailable_and_loses_nothing(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db", busy_s=0.05)
    version = state.put(Table.FLEET, "a", {"n": 1}, None)
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        state.put(Table.FLEET, "a", {"n": 2}, version)
    holder.execute("ROLLBACK")
    holder.close()
    state.put(Table.FLEET, "a", {"n": 3}, version)
    row = state.get(Table.FLEET, "a")
    assert row is not None
    assert row.doc == {"n": 3}
    state.close()
