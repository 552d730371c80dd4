"""What a crash or a bad disk left: acknowledged records survive, torn ones never show, damage is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from collector.journal import cursor
from collector.journal.local import LocalJournal
from collector.journal.segment import HEADER_BYTES
from collector.journal.shared import END, Words
from collector.ports import Gap, Reader, TopicPartition
from collector.settings import JournalSettings
from shippers.clock import FakeClock
from tests.contracts.journals import batch, number_of

TP = TopicPartition("lastbeat.eu.business", 0)


def segments(path: Path) -> list[Path]:
    return sorted((path / "topics" / TP.topic).glob("*.segment"))


def flip(file: Path, at: int) -> None:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 0xFF
    file.write_bytes(raw)


def read_all(reader: Reader) -> tuple[list[int], list[Gap]]:
    """Everything up to the end; it must come to one."""
    got: list[int] = []
    gaps: list[Gap] = []
    for _ in range(200):
        try:
            records = reader.poll(1 << 20, 0)
        except Gap as gap:
            gaps.append(gap)
            continue
        if not records and not any(reader.lag().values()):
            return got, gaps
        got += [number_of(record) for record in records]
    raise AssertionError("reading never came to the end")


def test_a_torn_tail_is_cut_wherever_it_was_torn(path: Path, tmp_path: Path, open_journal, clock: FakeClock) -> None:
    journal = open_journal()
    journal.append([batch(n, size=200) for n in (1, 2)])
    journal.close()
    [file] = segments(path)
    sound = file.read_bytes()
    record = (len(sound) - HEADER_BYTES) // 2
    for cut in range(0, record, 7):
        file.write_bytes(sound + sound[HEADER_BYTES : HEADER_BYTES + cut])
        again = LocalJournal(path, JournalSettings(), clock, writable=True)
        assert again.cut() == ({TP: cut} if cut else {})
        assert read_all(again.reader(None, ["business"])) == ([1, 2], [])
        again.close()
        assert file.read_bytes() == sound


def test_whole_records_behind_the_published_end_are_kept(path: Path, open_journal) -> None:
    journal = open_journal()
    journal.append([batch(1)])
    folder = path / "topics" / TP.topic
    early = (folder / "end").read_bytes()
    journal.append([batch(2), batch(3)])
    journal.close()
    (folder / "end").write_bytes(early)  # as after a power cut: the words are older than the data
    again = open_journal()
    assert read_all(again.reader(None, ["business"])) == ([1, 2, 3], [])
    again.append([batch(4)])
    assert read_all(again.reader(None, ["business"])) == ([1, 2, 3, 4], [])


def test_without_the_published_end_everything_sound_is_found_again(path: Path, open_journal) -> None:
    journal = open_journal()
    journal.append([batch(n, size=900) for n in range(1, 13)])
    journal.close()
    (path / "topics" / TP.topic / "end").unlink()
    flip(segments(path)[-1], HEADER_BYTES + 60)
    got, gaps = read_all(open_journal().reader(None, ["business"]))
    assert len(got) == 11
    assert len(gaps) == 1


def test_damage_below_the_published_end_is_never_cut_off(path: Path, open_journal) -> None:
    journal = open_journal()
    journal.append([batch(n) for n in (1, 2, 3)])
    journal.close()
    [file] = segments(path)
    flip(file, HEADER_BYTES + 60)
    again = open_journal()
    assert again.cut() == {}
    got, [gap] = read_all(again.reader(None, ["business"]))
    assert got == [2, 3]
    assert (gap.tp, gap.wanted) == (TP, 0)


def test_bit_rot_anywhere_costs_its_own_record_and_is_told_once(path: Path, open_journal) -> None:
    journal = open_journal()
    journal.append([batch(n, size=300) for n in range(1, 11)])
    file = segments(path)[0]
    sound = file.read_bytes()
    for at in range(HEADER_BYTES, len(sound), 97):
        flip(file, at)
        got, gaps = read_all(journal.reader(None, ["business"]))
        assert len(got) == 9, at
        assert len(gaps) == 1, at
        file.write_bytes(sound)


def test_a_damaged_file_header_costs_its_segment_and_no_other(path: Path, open_journal) -> None:
    journal = open_journal()
    journal.append([batch(n, size=900) for n in range(1, 21)])
    flip(segments(path)[1], 2)
    got, [gap] = read_all(journal.reader(None, ["business"]))
    second, third = (int(file.stem) for file in segments(path)[1:3])
    assert (gap.wanted, gap.found) == (second, third)
    assert got == [n for n in range(1, 21) if n in got]
    assert 14 <= len(got) < 20


def test_a_segment_that_was_deleted_by_hand_is_a_gap(path: Path, open_journal) -> None:
    journal = open_journal()
    journal.append([batch(n, size=900) for n in range(1, 21)])
    segments(path)[2].unlink()
    got, gaps = read_all(journal.reader(None, ["business"]))
    assert len(gaps) == 1
    assert 14 <= len(got) < 20


def test_a_segment_that_was_cut_short_is_a_gap_and_no_offset_is_given_twice(path: Path, open_journal) -> None:
    journal = open_journal()
    journal.append([batch(n) for n in (1, 2, 3)])
    journal.close()
    [file] = segments(path)
    raw = file.read_bytes()
    file.write_bytes(raw[: len(raw) - 20])
    again = open_journal()
    again.append([batch(4)])
    got, [gap] = read_all(again.reader(None, ["business"]))
    assert got == [1, 2, 4]
    assert gap.found == len(raw) - HEADER_BYTES


def test_a_crash_while_a_segment_was_being_made_loses_nothing(path: Path, open_journal) -> None:
    journal = open_journal()
    journal.append([batch(1)])
    end = Words(path / "topics" / TP.topic / "end", writable=False)
    base = end[END]
    end.close()
    journal.close()
    for torn in (b"", b"lbjs", bytes(30)):
        (path / "topics" / TP.topic / f"{base:020d}.segment").write_bytes(torn)
        again = open_journal()
        assert read_all(again.reader(None, ["business"])) == ([1], [])
        again.close()
    again = open_journal()
    again.append([batch(2)])
    assert read_all(again.reader(None, ["business"])) == ([1, 2], [])


def test_segments_that_are_made_while_a_reader_looks_for_its_own_are_no_gap(open_journal, monkeypatch) -> None:
    journal = open_journal()
    journal.append([batch(1, size=900)])
    reader = journal.reader(None, ["business"])
    real, numbers = cursor.bases, iter(range(2, 100))

    def bases(folder: Path) -> list[int]:
        found = real(folder)
        for _ in range(12):  # three segments more, each time that it looks
            if (number := next(numbers, None)) is not None:
                journal.append([batch(number, size=900)])
        return found

    monkeypatch.setattr(cursor, "bases", bases)
    assert read_all(reader) == (list(range(1, 100)), [])


def test_a_position_off_a_records_start_is_a_gap_to_the_next(open_journal) -> None:
    journal = open_journal()
    journal.append([batch(n) for n in (1, 2, 3)])
    reader = journal.reader(None, ["business"])
    reader.seek(TP, 5)
    got, [gap] = read_all(reader)
    assert got == [2, 3]
    assert gap.wanted == 5


def test_a_journal_that_was_replaced_is_read_from_its_beginning(path: Path, open_journal) -> None:
    journal = open_journal()
    journal.append([batch(n) for n in (1, 2, 3)])
    reader = journal.reader("g", ["business"])
    records = reader.poll(1 << 20, 0)
    reader.commit({TP: records[-1].next_offset})
    journal.close()
    shutil.rmtree(path / "topics")
    again = open_journal()
    again.append([batch(9)])
    got, gaps = read_all(again.reader("g", ["business"]))
    assert got == [9]
    assert len(gaps) == 1


def test_a_damaged_offsets_file_says_what_to_do(path: Path, open_journal) -> None:
    journal = open_journal()
    journal.reader("g", ["business"]).close()
    (path / "groups" / "g.json").write_text("{")
    with pytest.raises(Exception, match=r"g\.json is damaged.*delete it"):
        journal.reader("g", ["business"])
