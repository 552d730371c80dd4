"""The journal was lost and begins anew, its offsets below what the lake has: new events are new all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.lake.dead import dead_letters_in
from collector.lake.sink import LakeSink
from collector.lake.table import LakeTable
from collector.ports import Outcome, Record, TopicPartition
from shippers.batch import Batch
from tests.lake_reading import ids_in
from tests.unit.lake.events import PAY, Killed, batch, commit_that_dies, record, sink_at

NEW = "newbootid001.business"
TP = TopicPartition("lastbeat.cn-east.business", 0)


def of_before(folder: Path) -> LakeSink:
    """A lake that is far in a journal, with a dead letter at its end."""
    sink = sink_at(folder)
    sink.write([record(offset, batch(1 + 2 * offset, 2)) for offset in range(9)])
    sink.write([record(9, batch(19, 1, bad=(19,)))])
    assert sink.positions() == {TP: 10}
    return sink


def broken(first: int, count: int) -> Batch:
    made = batch(first, count, NEW)
    return Batch(made.header, made.body.replace(b"paid", b"PAID"))


def counts(outcomes: list[Outcome]) -> list[tuple[int, int, int]]:
    return [(outcome.stored, outcome.duplicate, outcome.dead) for outcome in outcomes]


def letters(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((one.stream, one.first, one.count) for one in dead_letters_in(folder) if one.stream == NEW)


def test_events_at_offsets_that_were_settled_before_are_stored(tmp_path: Path) -> None:
    sink = of_before(tmp_path)
    [outcome] = sink.write([record(0, batch(1, 2, NEW))])
    assert counts([outcome]) == [(2, 0, 0)]
    assert (outcome.header is not None, outcome.dead_numbers) == (True, ())
    assert ids_in(tmp_path)[:2] == [f"{NEW}:1", f"{NEW}:2"]


def test_the_position_follows_the_journal_that_is_there_now(tmp_path: Path) -> None:
    sink = of_before(tmp_path)
    sink.write([record(0, batch(1, 2, NEW)), record(1, batch(3, 2, NEW))])
    assert sink.positions() == {TP: 2}
    assert sink_at(tmp_path).positions() == {TP: 2}
    sink.write([record(2, batch(5, 2, NEW))])
    assert sink.positions() == {TP: 3}


def test_what_can_not_be_stored_becomes_a_dead_letter_at_once_and_later_on(tmp_path: Path) -> None:
    sink = of_before(tmp_path)
    outcomes = sink.write([record(0, batch(1, 2, NEW, bad=(2,))), record(1, broken(3, 2))])
    assert counts(outcomes) == [(1, 0, 1), (0, 0, 2)]
    assert outcomes[0].dead_numbers == ((2, 2),)
    sink.write([record(2, batch(5, 2, NEW).void("spool full")), record(3, broken(7, 1))])
    assert letters(tmp_path) == [(NEW, 2, 1), (NEW, 3, 2), (NEW, 5, 2), (NEW, 7, 1)]


def test_a_first_write_without_letters_does_not_make_the_next_one_s_seem_kept(tmp_path: Path) -> None:
    sink = of_before(tmp_path)
    sink.write([record(0, batch(1, 2, NEW))])
    sink.write([record(1, batch(3, 2, NEW, bad=(3,))), record(2, broken(5, 2))])
    assert letters(tmp_path) == [(NEW, 3, 1), (NEW, 5, 2)]


def test_what_is_read_again_in_the_journal_that_is_there_makes_no_letter_twice(tmp_path: Path) -> None:
    sink = of_before(tmp_path)
    records = [record(0, batch(1, 2, NEW, bad=(2,))), record(1, broken(3, 2)), record(2, batch(5, 1, NEW))]
    sink.write(records)
    assert counts(sink.write(records)) == [(0, 2, 0), (0, 2, 0), (0, 1, 0)]
    assert sink.positions() == {TP: 3}
    assert letters(tmp_path) == [(NEW, 2, 1), (NEW, 3, 2)]


@pytest.mark.parametrize("side", ["before", "behind"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_death_at_either_commit_neither_loses_nor_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int, side: str
) -> None:
    sink = of_before(tmp_path)
    records: list[Record] = [record(0, batch(1, 4, NEW, bad=(2,))), record(1, batch(5, 2, NEW).void("spool full"))]

    with monkeypatch.context() as patch:
        patch.setattr(LakeTable, "commit", commit_that_dies(nth, side))
        with pytest.raises(Killed):
            sink.write(records)
    reborn = sink_at(tmp_path)
    reborn.write(records)
    assert [one for one in ids_in(tmp_path) if not one.startswith(PAY)] == [f"{NEW}:{n}" for n in (1, 3, 4)]
    assert letters(tmp_path) == [(NEW, 2, 1), (NEW, 5, 2)]
    assert reborn.positions() == {TP: 2}
