"""The ledger's keeper: durable before its owner commits, the same after any restart, and no other owner can harm it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.state.memory import MemoryState
from collector.ledger.account import Total
from collector.ledger.keeper import QUIET_S, LedgerKeeper
from collector.ledger.view import LedgerView
from collector.ports import Outcome, Table, TopicPartition
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.unit.ledger.given import DAY, STREAM, header, outcome

TP = TopicPartition("lastbeat.cn-east.business", 0)
NEXT = TopicPartition("lastbeat.cn-east.business", 1)
KEY = (DAY, "cn-east", "payment", "business")


class Down(MemoryState):
    """A state that can be made to refuse writes, or only after so many."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left: int | None = None

    def _write(self) -> None:
        if self.writes_left is not None:
            if self.writes_left <= 0:
                raise Unavailable("the disk is full")
            self.writes_left -= 1

    def put(self, *args: object, **kwargs: object) -> str:  # type: ignore[override]
        self._write()
        return super().put(*args, **kwargs)  # type: ignore[arg-type]

    def put_many(self, *args: object) -> None:  # type: ignore[override]
        if args[1]:
            self._write()
        super().put_many(*args)  # type: ignore[arg-type]

    def delete_many(self, *args: object) -> None:  # type: ignore[override]
        self._write()
        super().delete_many(*args)  # type: ignore[arg-type]


class World:
    """Owners of one sink's ledger over one state."""

    def __init__(self) -> None:
        self.state, self.clock = Down(), FakeClock(1_795_262_400.0)

    def owner(self, *tps: TopicPartition, starts: dict[TopicPartition, int] | None = None) -> LedgerKeeper:
        keeper = LedgerKeeper(self.state, "lake", self.clock)
        keeper.load(tps or (TP,), starts or {})
        return keeper

    def view(self) -> LedgerView:
        view = LedgerView(self.state)
        view.refresh()
        return view

    def stored(self, stream: str = STREAM) -> list[tuple[int, int]]:
        account = self.view().account("lake", stream)
        return list(account.stored) if account is not None else []

    def rows(self, prefix: str) -> int:
        return len(list(self.state.scan(Table.LEDGER, prefix)))


def keep(keeper: LedgerKeeper, outcomes: Sequence[Outcome]) -> None:
    keeper.settle(outcomes)
    keeper.flush({one.record.tp: one.record.next_offset for one in outcomes})


def test_what_is_flushed_is_there_after_a_restart_and_what_is_not_is_not() -> None:
    world = World()
    keeper = world.owner()
    keep(keeper, [outcome(0, header(1, 10)), outcome(1, header(11, 10), dead=[(12, 12)])])
    keeper.settle([outcome(2, header(21, 10))])
    view = world.view()
    assert view.sinks == ("lake",)
    assert view.position("lake", TP) == 2
    assert view.totals("lake") == {KEY: Total(19, 1)}
    assert view.missing("lake", STREAM, 1, 30) == [(21, 30)]
    assert view.streams("lake") == [STREAM]
    again = LedgerKeeper(world.state, "lake", world.clock)
    assert again.load([TP], {TP: 99}) == {TP: 2}
    account = again.account(TP, STREAM)
    assert account is not None
    assert account == view.account("lake", STREAM)


def test_a_partition_that_the_ledger_has_never_seen_begins_where_reading_does() -> None:
    world = World()
    keeper = LedgerKeeper(world.state, "lake", world.clock)
    assert keeper.load([TP, NEXT], {TP: 70}) == {TP: 70, NEXT: 0}
    assert world.view().positions("lake") == {TP: 70, NEXT: 0}


def test_a_flush_that_fails_keeps_all_of_it_for_the_next() -> None:
    world = World()
    keeper = world.owner()
    world.state.writes_left = 0
    with pytest.raises(Unavailable):
        keep(keeper, [outcome(0, header(1, 10))])
    assert world.view().positions("lake") == {TP: 0}
    world.state.writes_left = None
    keep(keeper, [outcome(1, header(11, 10))])
    assert world.stored() == [(1, 20)]
    assert world.view().position("lake", TP) == 2


def test_a_flush_with_nothing_new_writes_nothing() -> None:
    world = World()
    keeper = world.owner()
    keep(keeper, [outcome(0, header(1, 10))])
    before = world.rows("")
    keeper.flush({TP: 1})
    keeper.flush({})
    assert world.rows("") == before


def test_a_snapshot_takes_the_place_of_the_changes_and_says_the_same() -> None:
    world = World()
    keeper = world.owner()
    for number in range(10):
        keep(keeper, [outcome(number, header(number * 10 + 1, 10), dead=[(number * 10 + 3, number * 10 + 3)])])
    before = world.view().account("lake", STREAM)
    assert world.rows("d/") == 11
    assert keeper.compact(TP)
    assert (world.rows("d/"), world.rows("s/")) == (0, 1)
    keep(keeper, [outcome(10, header(101, 10))])
    assert keeper.compact(TP)
    assert (world.rows("d/"), world.rows("s/"), world.rows("at/")) == (0, 1, 1)
    view = world.view()
    assert view.position("lake", TP) == 11
    assert view.totals("lake") == {KEY: Total(100, 10)}
    assert before is not None
    assert view.missing("lake", STREAM, 1, 111) == [(111, 111)]


def test_snapshots_are_made_once_many_changes_have_come_together() -> None:
    world = World()
    keeper = world.owner()
    for number in range(63):
        keep(keeper, [outcome(number, header(number + 1, 1))])
    assert keeper.upkeep() == 0
    keep(keeper, [outcome(63, header(64, 1))])
    assert keeper.upkeep() == 1
    assert keeper.upkeep() == 0


@pytest.mark.parametrize("writes", range(6))
def test_a_snapshot_that_breaks_off_anywhere_loses_nothing_and_the_next_clears_up(writes: int) -> None:
    world = World()
    keeper = world.owner()
    for number in range(5):
        keep(keeper, [outcome(number, header(number * 10 + 1, 10))])
    keeper.compact(TP)
    keep(keeper, [outcome(5, header(51, 10))])
    world.state.writes_left = writes
    try:
        keeper.compact(TP)
    except Unavailable:
        pass
    else:
        assert writes >= 4
    world.state.writes_left = None
    assert world.stored() == [(1, 60)]
    assert world.view().position("lake", TP) == 6
    keeper = world.owner()
    keep(keeper, [outcome(6, header(61, 10))])
    assert keeper.compact(TP)
    assert world.stored() == [(1, 70)]
    assert (world.rows("d/"), world.rows("s/"), world.rows("at/")) == (0, 1, 1)


def test_an_owner_that_lost_its_partition_without_knowing_does_no_harm() -> None:
    world = World()
    old = world.owner()
    keep(old, [outcome(0, header(1, 10))])
    new = world.owner()
    keep(new, [outcome(1, header(11, 10))])
    keep(old, [outcome(1, header(11, 10)), outcome(2, header(21, 10))])
    assert new.compact(TP)
    keep(old, [outcome(3, header(31, 10))])
    assert old.compact(TP), "with what the newer snapshot had"
    assert world.stored() == [(1, 40)]
    keep(new, [outcome(4, header(41, 10))])
    assert new.compact(TP)
    assert world.stored() == [(1, 50)]
    assert world.view().position("lake", TP) == 5


def test_of_two_snapshots_at_once_one_counts_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    one, other = world.owner(), world.owner()
    keep(one, [outcome(0, header(1, 10))])
    plain = one._write_snapshot

    def meanwhile(*args: object) -> None:
        plain(*args)  # type: ignore[arg-type]
        keep(other, [outcome(1, header(11, 10))])
        assert other.compact(TP)

    monkeypatch.setattr(one, "_write_snapshot", meanwhile)
    one.settle([outcome(2, header(21, 10))])
    assert not one.compact(TP)
    one.flush({TP: 3})
    assert world.stored() == [(1, 30)]
    account = one.account(TP, STREAM)
    assert account is not None
    assert list(account.stored) == [(1, 30)], "what the other's snapshot had was read"


def test_a_view_that_reads_while_a_snapshot_is_made_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    keeper = world.owner()
    view = LedgerView(world.state)
    view.refresh()
    keep(keeper, [outcome(0, header(1, 10))])
    plain, meanwhile = world.state.scan, [True]

    def scan(table: Table, prefix: str = "") -> object:
        if prefix == "d/" and meanwhile:
            meanwhile.clear()
            assert keeper.compact(TP)
            keep(keeper, [outcome(1, header(11, 10))])
        return plain(table, prefix)

    monkeypatch.setattr(world.state, "scan", scan)
    view.refresh()
    assert view.missing("lake", STREAM, 1, 20) == []
    assert view.position("lake", TP) == 2


def test_a_view_follows_by_small_steps_and_knows_what_a_new_one_does() -> None:
    world = World()
    keeper, view = world.owner(), LedgerView(world.state)
    for number in range(12):
        keep(keeper, [outcome(number, header(number * 10 + 1, 10))])
        view.refresh()
        if number % 5 == 4:
            keeper.compact(TP)
            view.refresh()
        assert view.account("lake", STREAM) == world.view().account("lake", STREAM)


def test_a_partition_that_went_to_another_leaves_the_memory_and_is_loaded_by_him() -> None:
    world = World()
    keeper = world.owner(TP, NEXT)
    keep(keeper, [outcome(0, header(1, 10)), outcome(0, header(1, 5, stream="shopbootid01.business"), partition=1)])
    keeper.forget([NEXT])
    assert keeper.metrics()["ledger_streams"] == 1
    keeper.settle([outcome(1, header(6, 5, stream="shopbootid01.business"), partition=1)])
    keeper.flush({TP: 1})
    assert world.stored("shopbootid01.business") == [(1, 5)]
    new = LedgerKeeper(world.state, "lake", world.clock)
    assert new.load([NEXT], {}) == {NEXT: 1}
    assert new.account(NEXT, "shopbootid01.business") is not None


def test_a_lie_is_said_once_a_stream_counted_each_and_never_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    keeper = world.owner()
    with caplog.at_level(logging.ERROR, "lastbeat.ledger"):
        keep(keeper, [outcome(0, header(1, 10)), outcome(1, header(11, 10))])
        keep(keeper, [outcome(2, header(1, 10, crc=5)), outcome(3, header(15, 10, crc=6))])
    [line] = caplog.messages
    assert line.startswith(f"stream {STREAM} lies (other content), seen at lastbeat.cn-east.business/0/2: ")
    figures = keeper.metrics()
    assert figures["ledger_lying_streams"] == 1
    assert figures['ledger_lies_total{kind="other_content"}'] == 1
    assert figures['ledger_lies_total{kind="overlap"}'] == 1
    keeper.compact(TP)
    assert [(lie.kind, lie.where.rpartition("/")[2]) for lie in world.view().lies("lake")] == [
        ("other content", "2"), ("overlap", "3"),
    ]  # fmt: skip
    with caplog.at_level(logging.ERROR, "lastbeat.ledger"):
        keep(world.owner(), [outcome(4, header(1, 10, crc=7))])
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("together", [True, False])
def test_a_boot_id_of_two_processes_is_seen_in_two_partitions_and_by_two_owners(together: bool) -> None:
    world = World()
    keeper = world.owner(TP, NEXT) if together else world.owner(TP)
    other = keeper if together else world.owner(NEXT)
    keep(keeper, [outcome(0, header(1, 10))])
    keep(other, [outcome(0, header(1, 10, instance="pay-02"), partition=1)])
    assert "two processes" in {lie.kind for lie in world.view().lies("lake")}
    assert bool(keeper.metrics()["ledger_lying_streams"]) is together


def test_what_is_read_again_after_a_restart_is_no_lie_however_old() -> None:
    world = World()
    keeper = world.owner()
    for number in range(200):
        keep(keeper, [outcome(number, header(number * 10 + 1, 10))])
    again = world.owner()
    keep(again, [outcome(number, header(number * 10 + 1, 10)) for number in range(200)])
    assert world.view().lies("lake") == []
    assert world.stored() == [(1, 2_000)]


def test_streams_that_ended_are_folded_in_the_snapshot_and_in_the_view() -> None:
    world = World()
    keeper, view = world.owner(), LedgerView(world.state)
    keep(keeper, [outcome(0, header(1, 10))])
    view.refresh()
    world.clock.advance(QUIET_S + 5)
    keep(keeper, [outcome(1, header(1, 10, stream="shopbootid01.business"))])
    keeper.compact(TP)
    assert (keeper.metrics()["ledger_streams"], keeper.metrics()["ledger_folded_streams"]) == (1, 1)
    view.refresh()
    assert view.totals("lake") == {KEY: Total(20)}
    assert view.missing("lake", STREAM, 1, 11) == [(11, 11)]
    assert STREAM in view._ledgers["lake"].folded
    keep(keeper, [outcome(2, header(1, 10))])
    view.refresh()
    assert view.totals("lake") == {KEY: Total(20)}
    keep(keeper, [outcome(3, header(11, 10))])
    view.refresh()
    assert view.totals("lake") == world.view().totals("lake") == {KEY: Total(30)}


def test_days_past_keeping_are_forgotten() -> None:
    world = World()
    keeper = LedgerKeeper(world.state, "lake", world.clock, keep_days=10)
    keeper.load([TP], {})
    keep(keeper, [outcome(0, header(1, 10, day="2026-11-01")), outcome(1, header(11, 10))])
    keeper.compact(TP)
    assert world.view().totals("lake") == {KEY: Total(10)}
    assert world.view().missing("lake", STREAM, 1, 20) == []


_STEP = st.tuples(st.sampled_from(("settle", "flush", "compact", "restart", "zombie")), st.integers(0, 11))


@given(st.lists(_STEP, max_size=30))
def test_whatever_is_kept_when_and_by_whom_the_ledger_is_what_was_flushed(steps: list[tuple[str, int]]) -> None:
    world = World()
    owners = [world.owner(), world.owner()]
    settled: list[set[int]] = [set(), set()]
    durable: set[int] = set()
    for what, number in steps:
        which = 1 if what == "zombie" else 0
        if what in ("settle", "zombie"):
            owners[which].settle([outcome(number, header(number * 5 + 1, 5))])
            settled[which].add(number)
        if what in ("flush", "zombie"):
            owners[which].flush({})
            durable |= settled[which]
        elif what == "compact":
            owners[number % 2].compact(TP)
            durable |= settled[number % 2]
        elif what == "restart":
            owners[0], settled[0] = world.owner(), set()
    view = world.view()
    known = {number for number in range(60) if not view.missing("lake", STREAM, number + 1, number + 1)}
    assert known == {number * 5 + i for number in durable for i in range(5)}
    assert view.lies("lake") == []


def test_a_second_process_on_the_boot_id_of_a_stream_that_ended_is_a_lie_for_all_who_ask() -> None:
    world = World()
    keeper = world.owner()
    keep(keeper, [outcome(0, header(1, 10))])
    world.clock.advance(QUIET_S + 5)
    keep(keeper, [outcome(1, header(1, 10, stream="shopbootid01.business"))])
    keeper.compact(TP)
    again = world.owner()
    keep(again, [outcome(0, header(1, 10)), outcome(2, header(1, 10))])
    assert world.view().lies("lake") == [], "a resend is none"
    keep(again, [outcome(3, header(1, 10, crc=7))])
    assert [(lie.stream, lie.where) for lie in world.view().lies("lake")] == [(STREAM, f"{TP.topic}/0/3")]
    assert sum(n for name, n in again.metrics().items() if "other_content" in name) == 1
