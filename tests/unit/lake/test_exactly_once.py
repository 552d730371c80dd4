"""Whatever commit a death falls before or behind, and whoever else commits: nothing is lost, nothing is doubled."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from collector.lake.dead import dead_letters_in
from collector.lake.sink import LakeSink
from collector.lake.table import LakeTable
from collector.ports import Record
from shippers.batch import Batch
from tests.lake_reading import ids_in
from tests.unit.lake.events import PAY, Killed, batch, commit_that_dies, record, sink_at

CONSOLE = "paybootid001.console"


def some_records() -> list[Record]:
    sound = batch(20, 3)
    return [
        record(0, batch(1, 4, bad=(2,))),
        record(1, Batch(sound.header, sound.body.replace(b"paid", b"PAID"))),
        record(2, batch(5, 3).void("spool full")),
        record(3, batch(1, 4, bad=(2,))),
        record(0, batch(1, 2, CONSOLE, bad=(1,))),
        record(0, batch(1, 2, "shopbootid01.business", region="cn-north")),
    ]


def content(lake: Path) -> tuple[list[str], Counter[tuple[str, int, int, str]]]:
    dead = ((letter.stream, letter.first, letter.count, letter.reason) for letter in dead_letters_in(lake))
    return ids_in(lake), Counter(dead)


@pytest.mark.parametrize("side", ["before", "behind"])
@pytest.mark.parametrize("nth", range(1, 5))
def test_a_death_at_any_commit_neither_loses_nor_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int, side: str
) -> None:
    records = some_records()
    unharmed = sink_at(tmp_path / "unharmed")
    unharmed.write(records)
    dying = sink_at(tmp_path / "lake")
    with monkeypatch.context() as patch:
        patch.setattr(LakeTable, "commit", commit_that_dies(nth, side))
        patch.setattr(LakeSink, "_sweep", lambda self: None)  # the dead clean nothing up
        if nth <= 3:  # dead letters, business, console
            with pytest.raises(Killed):
                dying.write(records)
        else:
            dying.write(records)
    reborn = sink_at(tmp_path / "lake")
    positions = reborn.positions()
    reborn.write([record for record in records if record.offset >= positions.get(record.tp, 0)])
    assert content(tmp_path / "lake") == content(tmp_path / "unharmed")
    assert reborn.positions() == unharmed.positions()


def test_two_sinks_on_one_lake_store_each_event_once(tmp_path: Path) -> None:
    one, two = sink_at(tmp_path), sink_at(tmp_path)
    one.write([record(0, batch(1, 2, bad=(1,)))])
    two.write([record(0, batch(1, 2, bad=(1,))), record(1, batch(3, 2))])
    one.write([record(1, batch(3, 2)), record(2, batch(5, 1))])
    two.write([record(9, batch(1, 7), partition=4)])
    assert ids_in(tmp_path) == [f"{PAY}:{number}" for number in (2, 3, 4, 5, 6, 7)]
    assert [(letter.first, letter.count) for letter in dead_letters_in(tmp_path)] == [(1, 1)]


def test_a_rival_s_commit_in_between_is_noticed_and_everything_decided_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = sink_at(tmp_path), sink_at(tmp_path)
    one.write([record(0, batch(1, 1))])
    two.positions()
    real = LakeTable.commit
    raced: list[bool] = []

    def late(self: LakeTable, *args: Any, **kwargs: Any) -> None:
        if not raced:
            raced.append(True)
            two.write([record(1, batch(2, 3)), record(8, batch(3, 4), partition=1)])
        real(self, *args, **kwargs)

    monkeypatch.setattr(LakeTable, "commit", late)
    [outcome] = one.write([record(1, batch(2, 3))])
    assert (outcome.stored, outcome.duplicate) == (0, 3)
    assert ids_in(tmp_path) == [f"{PAY}:{number}" for number in range(1, 7)]


def test_positions_outlive_many_commits_checkpoints_and_the_log_s_clean_up(tmp_path: Path) -> None:
    sink = sink_at(tmp_path)
    sink.write([record(3, batch(1, 1, region="cn-north"))])
    for offset in range(105):
        sink.write([record(offset, batch(1 + offset, 1))])
    before = sink.positions()
    assert list((tmp_path / "business" / "_delta_log").glob("*.checkpoint.parquet")), "no checkpoint of its own accord"
    table = DeltaTable(tmp_path / "business")
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    table.create_checkpoint()
    table.cleanup_metadata()
    assert len(list((tmp_path / "business" / "_delta_log").glob("*.json"))) < 10
    reborn = sink_at(tmp_path)
    assert reborn.positions() == before
    [outcome] = reborn.write([record(200, batch(1, 105))])
    assert outcome.duplicate == 105


def test_a_torn_last_commit_is_taken_away_and_its_records_are_written_again(tmp_path: Path) -> None:
    sink_at(tmp_path).write([record(0, batch(1, 2))])
    log = tmp_path / "business" / "_delta_log"
    version = max(int(path.stem) for path in log.glob("*.json"))
    (log / f"{version + 1:020d}.json").write_bytes(b'{"add":{"path":"region=cn-east/date=')
    (log / ".tmp-leftover").write_bytes(b"\x00" * 9)
    (tmp_path / "business" / "region=cn-east" / f"date={batch(1, 1).header.day}" / "0.parquet").write_bytes(b"PAR1junk")
    sink = sink_at(tmp_path)
    assert list(sink.positions().values()) == [1]
    assert sink.write([record(1, batch(3, 1))])[0].stored == 1
    assert len(ids_in(tmp_path)) == 3


def test_a_resend_lands_where_its_first_copy_did_even_when_its_day_has_become_sound_meanwhile(tmp_path: Path) -> None:
    ahead = dataclasses.replace(batch(1, 2, day="2025-11-26").header)
    sent = Batch(ahead, batch(1, 2, day="2025-11-26").body)
    first = sink_at(tmp_path)
    first.write([record(0, sent)])
    assert DeltaTable(tmp_path / "business").to_pyarrow_table()["date"].to_pylist() == ["skewed", "skewed"]
    later = sink_at(tmp_path)
    later.clock.advance(5 * 86_400)  # type: ignore[attr-defined]
    [outcome] = later.write([record(1, sent)])
    assert outcome.duplicate == 2
    assert len(ids_in(tmp_path)) == 2
