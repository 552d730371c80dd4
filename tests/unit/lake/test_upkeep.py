"""Upkeep changes how events lie in files, never which there are; what it deletes, it counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from collector.lake import compaction
from collector.lake.compaction import FULL_ROWS, MOST_ROWS, choose, merge
from collector.lake.dead import dead_letters_in
from collector.lake.files import DataFile, FileWriter, active_files
from collector.lake.sink import LakeSink
from collector.lake.upkeep import Upkeep
from shippers.clock import FakeClock, SystemClock
from tests.lake_reading import ids_in, rows_in
from tests.unit.lake.events import DAY, NOON, PAY, batch, record, sink_at


def file(rows: int, *, date: str = DAY, region: str = "cn-east", at_us: int = 0, added_at_s: float = NOON) -> DataFile:
    return DataFile(f"{region}/{date}/{rows}/{at_us}", region, date, rows, rows, at_us, at_us, added_at_s)


def fill(sink: LakeSink, writes: int, start: int = 0) -> None:
    for offset in range(start, start + writes):
        sink.write([record(offset, batch(1 + 2 * offset, 2, bad=(2 + 2 * offset,) if offset % 4 == 0 else ()))])


def active(lake: Path, table: str = "business") -> list[DataFile]:
    return active_files(DeltaTable(lake / table))


def test_a_day_being_written_merges_eight_of_a_size_and_leaves_fewer_alone() -> None:
    assert choose([file(100, at_us=i) for i in range(7)], NOON) == []
    [group] = choose([file(100, at_us=i) for i in range(8)] + [file(9_000)], NOON)
    assert [found.min_us for found in group] == list(range(8))


def test_a_quiet_past_day_becomes_as_few_files_as_fit() -> None:
    past = [file(FULL_ROWS - 1, date="2025-11-20", at_us=i, added_at_s=NOON - 7_200) for i in range(5)]
    groups = choose(past, NOON)
    assert [len(group) for group in groups] == [2, 2]
    assert choose([*past, file(1, date="2025-11-20", added_at_s=NOON - 60)], NOON) == [], "it is not quiet yet"


@given(
    st.lists(
        st.builds(
            file,
            st.integers(1, MOST_ROWS),
            date=st.sampled_from([DAY, "2025-11-20", "skewed"]),
            region=st.sampled_from(["cn-east", "cn-north"]),
            at_us=st.integers(0, 9),
            added_at_s=st.sampled_from([NOON, NOON - 9_000]),
        ),
        max_size=60,
    )
)
def test_no_group_crosses_a_partition_outgrows_a_file_or_shares_one(files: list[DataFile]) -> None:
    groups = choose(files, NOON)
    for group in groups:
        assert len({(found.region, found.date) for found in group}) == 1
        assert sum(found.rows for found in group) <= MOST_ROWS
        assert len(group) >= 2
    merged = [id(found) for group in groups for found in group]
    assert len(merged) == len(set(merged))


def test_merging_keeps_every_event_and_dead_letter_as_it_was(tmp_path: Path) -> None:
    sink = sink_at(tmp_path)
    fill(sink, 9)
    columns = ["stream", "sequence", "at", "message", "labels", "measures", "region", "date"]
    before = rows_in(tmp_path, "business").select(columns).sort_by("sequence").to_pylist()
    dead, positions = dead_letters_in(tmp_path), sink.positions()
    assert len(active(tmp_path)) == 9
    assert Upkeep(sink).compact(DAY) == 9
    [merged] = active(tmp_path)
    after = rows_in(tmp_path, "business").select(columns)
    assert after["at"].to_pylist() == sorted(after["at"].to_pylist())
    assert after.sort_by("sequence").to_pylist() == before
    assert (merged.rows, merged.min_us // 1_000_000, merged.max_us // 1_000_000) == (len(before), NOON, NOON)
    assert dead_letters_in(tmp_path) == dead
    assert sink_at(tmp_path).positions() == positions
    assert sink.write([record(50, batch(1, 18))])[0].duplicate == 18


def test_writing_goes_on_while_a_merge_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = sink_at(tmp_path)
    fill(sink, 8)
    real = FileWriter.finish

    def slow(self: FileWriter, added_at_s: float) -> DataFile:
        monkeypatch.undo()
        fill(sink, 2, start=8)  # two commits while the merged file is being written
        return real(self, added_at_s)

    monkeypatch.setattr(FileWriter, "finish", slow)
    assert merge(sink, "business", active(tmp_path))
    assert len(active(tmp_path)) == 3
    assert len(ids_in(tmp_path)) == len(set(ids_in(tmp_path))) == 20 - 3


def test_two_merges_of_the_same_files_at_once_do_not_double_a_row(tmp_path: Path) -> None:
    one, two = sink_at(tmp_path), sink_at(tmp_path)
    fill(one, 8)
    group = active(tmp_path)
    assert merge(one, "business", group)
    assert not merge(two, "business", group), "its files were gone"
    assert len(ids_in(tmp_path)) == 14
    assert len(list((tmp_path / "business").rglob("date=*/*.parquet"))) == 9, "the unwanted merge left its file behind"


def test_a_merge_that_would_change_the_number_of_rows_is_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_at(tmp_path)
    fill(sink, 8)
    real = compaction._copy
    monkeypatch.setattr(compaction, "_copy", lambda con, select, *rest: real(con, f"{select} LIMIT 5", *rest))
    assert Upkeep(sink).compact(DAY) == 0
    assert len(ids_in(tmp_path)) == 14


def test_days_past_keeping_are_deleted_and_their_events_counted(tmp_path: Path) -> None:
    clock = FakeClock(NOON)
    sink = sink_at(tmp_path, clock, keep_days=10)
    sink.write([record(0, batch(1, 3)), record(1, batch(4, 2, day="2025-11-12", bad=(4,)))])
    sink.write([record(2, batch(6, 1, day="2025-11-10")), record(3, batch(7, 1, day="2026-01-01"))])  # both skewed
    upkeep = Upkeep(sink)
    assert upkeep.maintain().aged_events == 0
    clock.advance(2 * 86_400)
    assert aged_after_an_hour(sink, upkeep, clock) == 1, "the twelfth's one event"
    assert ids_in(tmp_path) == [f"{PAY}:{n}" for n in (1, 2, 3, 6, 7)]
    clock.advance(8 * 86_400)
    assert aged_after_an_hour(sink, upkeep, clock) == 2, "the skewed came ten days ago"
    assert ids_in(tmp_path) == [f"{PAY}:{n}" for n in (1, 2, 3)]
    assert sink.positions() == sink_at(tmp_path).positions()


def test_what_is_written_by_a_clock_that_is_behind_is_neither_misfiled_nor_old_once_it_is_right(tmp_path: Path) -> None:
    clock = FakeClock(NOON - 500 * 86_400)
    sink = sink_at(tmp_path, clock)
    sink.write([record(0, batch(1, 3, bad=(3,))), record(1, batch(4, 1, day="2031-01-01"))])
    assert sorted(file.date for file in active(tmp_path)) == [DAY, "skewed"]
    clock.jump(500 * 86_400)
    assert aged_after_an_hour(sink, Upkeep(sink), clock) == 0
    assert ids_in(tmp_path) == [f"{PAY}:{n}" for n in (1, 2, 4)]
    assert len(dead_letters_in(tmp_path)) == 1


def test_a_clock_that_jumps_ahead_deletes_nothing_unless_it_stays_there_and_the_journal_agrees(tmp_path: Path) -> None:
    clock = FakeClock(NOON)
    sink = sink_at(tmp_path, clock)
    sink.write([record(0, batch(1, 3))])
    upkeep = Upkeep(sink)
    assert aged_after_an_hour(sink, upkeep, clock) == 0
    clock.jump(500 * 86_400)
    for _ in range(120):
        assert upkeep.maintain().aged_events == 0, "the journal says otherwise"
        clock.advance(60)
    sink.write([record(1, batch(4, 1), came_at=clock.time())])
    assert upkeep.maintain().aged_events == 0, "the journal's clock is ours and jumped too"
    clock.jump(-500 * 86_400)
    clock.advance(3_600)
    assert upkeep.maintain().aged_events == 0
    assert ids_in(tmp_path) == [f"{PAY}:{n}" for n in (1, 2, 3, 4)]


def aged_after_an_hour(sink: LakeSink, upkeep: Upkeep, clock: FakeClock) -> int:
    """What goes once the clock has stood where it is for an hour, and records say so too."""
    sink.write([record(9, batch(1, 3), came_at=clock.time())])
    before = upkeep.maintain().aged_events
    clock.advance(3_600)
    return before + upkeep.maintain().aged_events


def test_vacuum_takes_what_nobody_names_but_not_what_a_reader_may_still_need(tmp_path: Path) -> None:
    sink = sink_at(tmp_path, FakeClock(SystemClock().time()), keep_days=40_000)  # vacuum goes by the real time
    fill(sink, 8)
    [folder] = (tmp_path / "business").glob("region=*/date=*")
    leftover = folder / "00leftover.parquet"
    leftover.write_bytes(b"torn")
    upkeep = Upkeep(sink)
    done = upkeep.maintain()
    assert (done.merged_files, done.vacuumed_files) == (8, 0)
    assert len(list(folder.iterdir())) == 8 + 1 + 1
    for path in folder.iterdir():
        old = path.stat().st_mtime - 2 * 3_600
        os.utime(path, (old, old))
    sink.clock.advance(7_200)  # type: ignore[attr-defined]
    assert upkeep.maintain().vacuumed_files == 1, "the leftover; the merged files have been unnamed for seconds only"
    assert not leftover.exists()
    assert len(ids_in(tmp_path)) == 14
    assert sink.write([record(99, batch(1, 1))])[0].duplicate == 1
