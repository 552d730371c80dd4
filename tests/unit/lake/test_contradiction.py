"""Two processes bear one boot id: the second one's events are no duplicates, whatever their numbers say."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.state.memory import MemoryState
from collector.dead_letters import has_used_numbers, id_of
from collector.lake.dead import dead_letters_in
from collector.ledger.keeper import LedgerKeeper
from collector.ports import TopicPartition
from collector.replay import remade
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock
from tests.lake_reading import ids_in
from tests.unit.lake.events import DAY, PAY, batch, record, sink_at

TP = TopicPartition("lastbeat.cn-east.business", 0)


def of_another(first: int, count: int) -> Batch:
    header = Header(PAY, first, 0, "cn-east", "business", DAY, "payment", "pay-01", 0)
    at = f'{{"@timestamp":"{DAY}T13:00:00Z","message":"refunded '
    return seal(header, [f'{at}{number}"}}'.encode() for number in range(first, first + count)])


def test_what_another_process_sends_under_used_numbers_is_a_dead_letter_and_a_lie(tmp_path: Path) -> None:
    sink, state = sink_at(tmp_path), MemoryState()
    keeper = LedgerKeeper(state, "lake", FakeClock(1_763_726_400.0))
    keeper.load([TP], {})
    for start in range(0, 100, 10):
        keeper.settle(sink.write([record(offset, batch(1 + 2 * offset, 2)) for offset in range(start, start + 10)]))
    outcomes = sink.write([record(100 + i, of_another(1 + 2 * i, 2)) for i in range(40)])
    keeper.settle(outcomes)
    assert {(one.stored, one.duplicate, one.dead, one.header) for one in outcomes} == {(0, 0, 2, None)}
    assert len(ids_in(tmp_path)) == 200
    account = keeper.account(TP, PAY)
    assert account is not None
    assert [(lie.kind, lie.where) for lie in account.lies] == [("other content", f"{TP.topic}/0/100")]
    letters = dead_letters_in(tmp_path)
    assert [id_of(letter) for letter in letters] == [f"{TP.topic}/0/{100 + i}" for i in range(40)]
    assert all(map(has_used_numbers, letters))
    assert letters[0].original == of_another(1, 2).body


def test_sent_again_such_a_letter_gets_numbers_of_its_own_and_is_stored(tmp_path: Path) -> None:
    sink = sink_at(tmp_path)
    sink.write([record(0, batch(1, 2))])
    sink.write([record(1, of_another(1, 2))])
    [letter] = dead_letters_in(tmp_path)
    again = remade(letter)
    assert again.header.stream != PAY
    assert sink.write([record(2, again)])[0].stored == 2


@pytest.mark.parametrize("bad", [(), (1,), (3,), (1, 2, 3)])
def test_what_honestly_came_twice_is_a_duplicate(tmp_path: Path, bad: tuple[int, ...]) -> None:
    sink = sink_at(tmp_path)
    sink.write([record(0, batch(1, 3, bad=bad))])
    for start in range(1, 30, 10):
        for outcome in sink.write([record(offset, batch(1, 3, bad=bad)) for offset in range(start, start + 10)]):
            assert (outcome.duplicate, outcome.at_odds) == (3, None)
    assert len(dead_letters_in(tmp_path)) == len(bad)


def test_a_letter_that_was_read_again_is_there_once(tmp_path: Path) -> None:
    sink = sink_at(tmp_path)
    sink.write([record(0, batch(1, 2))])
    sink.write([record(1, of_another(1, 2))])
    [outcome] = sink_at(tmp_path).write([record(1, of_another(1, 2))])
    assert (outcome.stored, outcome.duplicate, outcome.dead) == (0, 2, 0)
    assert len(dead_letters_in(tmp_path)) == 1
