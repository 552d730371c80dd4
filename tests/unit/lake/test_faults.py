"""A full disk or a broken lake is said in words, costs nothing that was settled, and the next try works."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from deltalake.exceptions import DeltaError

from collector.lake import files
from collector.lake.dead import dead_letters_in
from collector.lake.table import LakeTable
from shippers.batch import Batch
from shippers.errors import Unavailable
from tests.lake_reading import ids_in
from tests.unit.lake.events import PAY, batch, record, sink_at

FULL = OSError(errno.ENOSPC, "No space left on device")


def data_files(lake: Path) -> list[Path]:
    return [path for path in lake.rglob("*.parquet") if "_delta_log" not in path.parts]


@pytest.mark.parametrize("place", ["mkdir", "rows", "fsync", "commit"])
def test_a_full_disk_settles_nothing_leaves_nothing_and_the_next_try_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise FULL

    sink = sink_at(tmp_path)
    sink.write([record(0, batch(1, 2))])
    records = [record(1, batch(3, 3, bad=(4,))), record(0, batch(1, 1, "paybootid001.console"))]
    before = data_files(tmp_path)
    target: tuple[object, str] = {
        "mkdir": (Path, "mkdir"),
        "rows": (files.pq.ParquetWriter, "write_table"),
        "fsync": (os, "fsync"),
        "commit": (LakeTable, "commit"),
    }[place]
    with monkeypatch.context() as patch:
        patch.setattr(*target, full)
        with pytest.raises(Unavailable, match=r"can't be written: .*No space left on device"):
            sink.write(records)
    assert sorted(data_files(tmp_path)) == sorted(before)
    assert [(o.stored, o.dead, o.retry) for o in sink.write(records)] == [(2, 1, False), (1, 0, False)]
    assert ids_in(tmp_path) == ["paybootid001.business:1", *(f"{PAY}:{n}" for n in (2, 3, 5)), "paybootid001.console:1"]
    assert len(dead_letters_in(tmp_path)) == 1


def test_a_table_that_can_not_commit_holds_back_its_own_records_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LakeTable.commit

    def commit(self: LakeTable, *args: Any, **kwargs: Any) -> None:
        if self.name == "console":
            raise DeltaError("no space")
        real(self, *args, **kwargs)

    sink = sink_at(tmp_path)
    records = [record(0, batch(1, 2)), record(0, batch(1, 3, "paybootid001.console", bad=(2,)))]
    with monkeypatch.context() as patch:
        patch.setattr(LakeTable, "commit", commit)
        business, console = sink.write(records)
    assert (business.retry, business.stored, console.retry) == (False, 2, True)
    [again] = sink.write(records[1:])
    assert (again.stored, again.dead) == (2, 1)
    assert len(ids_in(tmp_path)) == 4
    assert len(dead_letters_in(tmp_path)) == 1


def test_a_replay_does_not_move_the_position_past_what_could_not_be_committed_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = LakeTable.commit, iter([True])

    def commit(self: LakeTable, *args: Any, **kwargs: Any) -> None:
        if self.name == "business" and next(failures, False):
            raise DeltaError("no space")
        real(self, *args, **kwargs)

    sink = sink_at(tmp_path)
    mended = batch(9, 1)
    replay = Batch(dataclasses.replace(mended.header, replay=True), mended.body)
    records = [record(0, batch(1, 1, "paybootid001.console")), record(0, batch(1, 2)), record(1, replay)]
    with monkeypatch.context() as patch:
        patch.setattr(LakeTable, "commit", commit)
        outcomes = sink.write(records)
    assert [outcome.retry for outcome in outcomes] == [False, True, True]
    assert [outcome.stored for outcome in sink.write(records[1:])] == [2, 1]


def test_a_commit_that_landed_although_it_raised_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise FULL

    sink = sink_at(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(LakeTable, "_sync_log", full)
        with pytest.raises(Unavailable):
            sink.write([record(0, batch(1, 2, bad=(1,)))])
    sink.write([record(0, batch(1, 2, bad=(1,)))])
    sink.write([record(0, batch(1, 2, bad=(1,)))])
    assert ids_in(tmp_path) == [f"{PAY}:2"]
    assert len(dead_letters_in(tmp_path)) == 1


def test_a_lake_that_can_not_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file where the folder should be")
    sink = sink_at(tmp_path / "lake")
    with pytest.raises(Unavailable, match=r"the lake at .*lake can't be"):
        sink.write([record(0, batch(1, 1))])
    with pytest.raises(Unavailable, match=r"the lake at .*lake can't be"):
        sink.positions()
