"""What every store's inventory must do, held against both: it counts what is there, and a ledger can be made of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pyarrow.compute
import pytest
from deltalake import DeltaTable, write_deltalake

from alerts.state.memory import MemoryState
from collector.elastic import inventory as counted
from collector.elastic.client import ElasticClient
from collector.elastic.inventory import ElasticInventory
from collector.lake.inventory import LakeInventory
from collector.ledger.inventory import Held, Inventory
from collector.ledger.keeper import LedgerKeeper
from collector.ledger.rebuild import rebuild, rebuild_if_empty
from collector.ledger.view import LedgerView
from shippers.batch import Batch, seal
from shippers.clock import FakeClock
from tests.contracts.sinks import START, Kept, elastic, lake
from tests.contracts.test_sink import DAY, PAY, batch, line, record
from tests.servers import shared_elastic_settings

CONSOLE = "shopbootid01.console"


@contextlib.contextmanager
def in_lake(folder: Path) -> Iterator[tuple[Kept, Inventory]]:
    with lake(folder) as kept:
        yield kept, LakeInventory(folder / "lake")


@contextlib.contextmanager
def in_elastic(folder: Path) -> Iterator[tuple[Kept, Inventory]]:
    settings = shared_elastic_settings()
    with contextlib.closing(ElasticClient(settings)) as client, elastic(folder) as kept:
        yield kept, ElasticInventory(client, settings)


STORES: dict[str, Callable[[Path], AbstractContextManager[tuple[Kept, Inventory]]]] = {
    "elastic": in_elastic,
    "lake": in_lake,
}


@pytest.fixture(params=STORES)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Kept, Inventory]]:
    with STORES[request.param](tmp_path) as made:
        yield made


def spoken(held: Held) -> Held:
    """Without who sent it: in Elasticsearch that is the line's word, and these lines say nothing of it."""
    return replace(held, service="", instance="")


def test_an_empty_store_holds_nothing(both: tuple[Kept, Inventory]) -> None:
    _, inventory = both
    assert (inventory.days(), list(inventory.inventory(DAY)), list(inventory.letters())) == ([], [], [])


def test_it_counts_by_day_region_dataset_and_stream(both: tuple[Kept, Inventory]) -> None:
    kept, inventory = both
    kept.sink.write(
        [
            record(0, batch(1, 3)),
            record(1, batch(4, 2)),
            record(2, batch(9, 1)),
            record(3, batch(10, 2, day="2025-11-20")),
            record(0, batch(5, 2, CONSOLE, region="cn-north")),
        ]
    )
    assert inventory.days() == ["2025-11-20", DAY]
    held = sorted(map(spoken, inventory.inventory(DAY)), key=lambda one: one.dataset)
    assert held == [
        Held("business", "cn-east", DAY, PAY, 1, 9, 6),
        Held("console", "cn-north", DAY, CONSOLE, 5, 6, 2),
    ]
    assert [one.whole for one in held] == [False, True]
    assert [one.stream for one in inventory.inventory(DAY, "cn-north")] == [CONSOLE]
    assert inventory.runs(held[0]) == [(1, 5), (9, 9)]
    assert list(map(spoken, inventory.inventory("2025-11-20"))) == [
        Held("business", "cn-east", "2025-11-20", PAY, 10, 11, 2)
    ]


def test_who_sends_a_stream_is_told_where_it_is_asked_for(both: tuple[Kept, Inventory]) -> None:
    kept, inventory = both
    kept.sink.write([record(0, sent(PAY, ("payment", "pay-01"), ("payment", "pay-01")))])
    kept.sink.write([record(1, sent("manyfaces001.business", ("payment", "pay-01"), ("order", "pay-01")))])
    found = {held.stream: (held.service, held.instance) for held in inventory.inventory(DAY, senders=True)}
    is_header = isinstance(inventory, LakeInventory)
    assert found[PAY] == ("payment", "pay-01")
    assert found["manyfaces001.business"] == ("payment" if is_header else "several", "pay-01")


def sent(stream: str, *who: tuple[str, str]) -> Batch:
    """A batch whose lines say who sent them, each its own."""
    lines = [json.loads(line(number, stream)) for number in range(1, len(who) + 1)]
    said = [{"service": {"name": service, "node": {"name": node}}} for service, node in who]
    bodies = [json.dumps(one | each).encode() for one, each in zip(said, lines, strict=True)]
    return seal(batch(1, len(who), stream).header, bodies)


@pytest.mark.parametrize("senders", [False, True])
def test_more_streams_than_one_answer_holds_are_all_counted_once(
    both: tuple[Kept, Inventory], monkeypatch: pytest.MonkeyPatch, *, senders: bool
) -> None:
    kept, inventory = both
    monkeypatch.setattr(counted, "_STREAMS", 8)
    monkeypatch.setattr(counted, "_SENT", 8)
    streams = [f"boot{number:08}.business" for number in range(60)]
    kept.sink.write([record(offset, batch(1, 2, stream)) for offset, stream in enumerate(streams)])
    assert sorted((held.stream, held.count) for held in inventory.inventory(DAY, senders=senders)) == [
        (stream, 2) for stream in streams
    ]


def test_runs_of_a_stream_with_many_holes_are_all_found(both: tuple[Kept, Inventory]) -> None:
    kept, inventory = both
    firsts = [1, 40, 41, 300, 900, 5_000, 5_007, 90_000]
    kept.sink.write([record(offset, batch(first, 1)) for offset, first in enumerate(firsts)])
    [held] = inventory.inventory(DAY)
    assert inventory.runs(held) == [
        (1, 1), (40, 41), (300, 300), (900, 900), (5_000, 5_000), (5_007, 5_007), (90_000, 90_000),
    ]  # fmt: skip


def test_a_number_twice_does_not_hide_one_that_is_not_there(both: tuple[Kept, Inventory]) -> None:
    kept, inventory = both
    kept.sink.write([record(0, batch(1, 2)), record(1, batch(4, 1))])
    double(kept, inventory, 2)
    [held] = inventory.inventory(DAY)
    assert (held.first, held.last, held.count) == (1, 4, 4)
    assert not held.whole
    assert inventory.runs(held) == [(1, 2), (4, 4)]


def test_nor_do_two_of_the_same_sum(both: tuple[Kept, Inventory]) -> None:
    kept, inventory = both
    kept.sink.write([record(0, batch(1, 1)), record(1, batch(4, 1))])
    for number in (1, 4):
        double(kept, inventory, number)
    [held] = inventory.inventory(DAY)
    assert (held.first, held.last, held.count) == (1, 4, 4)
    assert not held.whole
    assert inventory.runs(held) == [(1, 1), (4, 4)]


def double(kept: Kept, inventory: Inventory, number: int) -> None:
    """Put what the store has of one number there a second time, past the sink."""
    if isinstance(inventory, LakeInventory):
        root = inventory._path / "business"
        rows = DeltaTable(root).to_pyarrow_table()
        write_deltalake(root, rows.filter(pyarrow.compute.field("sequence") == number), mode="append")
        return
    assert isinstance(inventory, ElasticInventory)
    client = inventory._client
    [index] = [name for name, _ in inventory._indices()]
    client.ask("POST", f"/{index}/_refresh")
    hits = client.ask("POST", f"/{index}/_search", {"query": {"term": {"event.sequence": number}}})["hits"]["hits"]
    client.ask("POST", f"/{index}/_doc?refresh=true", hits[0]["_source"])


def test_letters_are_those_that_settle_numbers(both: tuple[Kept, Inventory]) -> None:
    kept, inventory = both
    broken = record(2, batch(7, 1))
    kept.sink.write(
        [
            record(0, batch(1, 3, bad={2: b"no"})),
            record(1, batch(4, 3).void("evicted")),
            replace(broken, body=line(8, PAY) + b"\n", checked=False),
        ]
    )
    letters = sorted(inventory.letters(), key=lambda letter: letter.first)
    assert [(letter.first, letter.count, letter.original) for letter in letters] == [(2, 1, b""), (4, 3, b"")]


def test_a_ledger_that_is_lost_is_made_anew_from_the_store_alone(both: tuple[Kept, Inventory]) -> None:
    kept, inventory = both
    clock = FakeClock(START)
    records = [
        record(0, batch(1, 3, bad={2: b"no"})),
        record(1, batch(4, 3).void("evicted")),
        record(2, batch(9, 4)),
        record(3, batch(13, 4, day="2025-11-20")),
        record(0, batch(1, 5, CONSOLE, region="cn-north", day="2025-11-19")),
    ]
    state, anew = MemoryState(), MemoryState()
    keeper = LedgerKeeper(state, "sink", clock)
    keeper.load({one.tp for one in records}, {})
    keeper.settle(kept.sink.write(records))
    keeper.flush({one.tp: one.next_offset for one in records})
    rebuilt = rebuild_if_empty(anew, "sink", inventory, clock)
    assert rebuild_if_empty(anew, "sink", inventory, clock) is None
    assert rebuilt is not None
    assert (rebuilt.streams, rebuilt.total.stored, rebuilt.total.dead, rebuilt.total.void) == (2, 15, 1, 3)
    first, second = LedgerView(state), LedgerView(anew)
    for view in (first, second):
        view.refresh()
    by_day = [
        sorted((day, region, dataset, total.stored, total.dead, total.void)
               for (day, region, _, dataset), total in view.totals("sink").items())
        for view in (first, second)
    ]  # fmt: skip
    assert by_day[0] == by_day[1]
    for stream in (PAY, CONSOLE):
        assert second.missing("sink", stream, 1, 20) == first.missing("sink", stream, 1, 20)


def test_what_was_deleted_from_a_store_is_missing_once_its_ledger_is_rebuilt(both: tuple[Kept, Inventory]) -> None:
    """Here a ledger believes in more than the store has."""
    kept, inventory = both
    clock, state = FakeClock(START), MemoryState()
    keeper = LedgerKeeper(state, "sink", clock)
    records = [record(0, batch(1, 3)), record(1, batch(4, 3))]
    keeper.load({records[0].tp}, {})
    settled = kept.sink.write(records[:1])
    keeper.settle([*settled, replace(settled[0], record=records[1], header=batch(4, 3).header)])
    keeper.flush({records[0].tp: 2})
    keeper.compact(records[0].tp)
    view = LedgerView(state)
    view.refresh()
    assert view.missing("sink", PAY, 1, 6) == []
    rebuild(state, "sink", inventory, clock)
    view.refresh()
    assert view.missing("sink", PAY, 1, 6) == [(4, 6)]
    assert view.position("sink", records[0].tp) == 2
    keeper.settle(kept.sink.write([record(2, batch(7, 2))]))
    keeper.flush({records[0].tp: 3})
    assert not keeper.compact(records[0].tp), "what it knew from before does not count any more"
    assert keeper.compact(records[0].tp)
    view.refresh()
    assert view.missing("sink", PAY, 1, 8) == [(4, 6)]
    assert view.position("sink", records[0].tp) == 3
