"""Disks that refuse: nothing is reported durable that may not be, nothing torn is shown, and it recovers by itself."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.journal import segment
from collector.journal.local import LocalJournal
from collector.journal.partition import Partition
from collector.ports import Gap
from collector.settings import JournalSettings
from shippers.clock import FakeClock
from shippers.errors import Misconfigured, Unavailable
from tests.contracts.journals import batch, number_of, read


class Disk:
    """Stands before the operating system's calls; `refuse` names those that fail, and with what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuse: dict[str, int] = {}
        self.partial = 0
        for name in ("writev", "fdatasync", "open"):
            self._stand_before(name, monkeypatch)

    def _stand_before(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        real = getattr(os, name)

        def call(*args: object, **options: object) -> object:
            writing = name != "open" or (isinstance(args[1], int) and args[1] & os.O_CREAT)
            if name in self.refuse and writing:
                if name == "writev" and self.partial:
                    os.write(args[0], b"".join(map(bytes, args[1]))[: self.partial])  # type: ignore[arg-type]
                raise OSError(self.refuse[name], os.strerror(self.refuse[name]))
            return real(*args, **options)

        monkeypatch.setattr(segment.os, name, call)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def numbers(journal: LocalJournal, count: int) -> list[int]:
    return [number_of(record) for record in read(journal.reader(None, ["business"]), count)]


@pytest.mark.parametrize(
    ("call", "code"),
    [("writev", errno.ENOSPC), ("writev", errno.EIO), ("fdatasync", errno.EIO), ("fdatasync", errno.ENOSPC)],
)
@pytest.mark.parametrize("fresh", [True, False], ids=["first append", "later append"])
def test_a_refused_write_is_told_leaves_nothing_and_the_next_one_succeeds(
    call: str, code: int, fresh: bool, disk: Disk, open_journal
) -> None:
    journal = open_journal()
    expected = [] if fresh else [1]
    if not fresh:
        journal.append([batch(1)])
    disk.refuse = {call: code}
    disk.partial = 70
    for n in (2, 3):
        with pytest.raises(Unavailable) as caught:
            journal.append([batch(n)])
        assert caught.value.retry_after_s
    disk.refuse = {}
    journal.append([batch(4)])
    assert numbers(journal, len(expected) + 1) == [*expected, 4]
    journal.close()
    assert numbers(open_journal(), len(expected) + 1) == [*expected, 4]


def test_a_file_whose_sync_failed_is_never_written_to_again(disk: Disk, open_journal, path: Path) -> None:
    journal = open_journal(segment_bytes=1 << 20)
    journal.append([batch(1)])
    disk.refuse = {"fdatasync": errno.EIO}
    with pytest.raises(Unavailable):
        journal.append([batch(2)])
    disk.refuse = {}
    before = {file: file.stat().st_size for file in path.glob("topics/*/*.segment")}
    journal.append([batch(3)])
    after = {file: file.stat().st_size for file in path.glob("topics/*/*.segment")}
    assert len(after) == len(before) + 1
    assert all(after[file] == size for file, size in before.items())


def test_a_disk_that_takes_no_new_file_is_unavailable_until_it_does(disk: Disk, open_journal) -> None:
    journal = open_journal()
    journal.append([batch(1, size=3000)])
    disk.refuse = {"open": errno.ENOSPC}
    with pytest.raises(Unavailable, match="the disk is full"):
        journal.append([batch(2, size=3000)])
    with pytest.raises(Unavailable):
        journal.append([batch(3, region="us")])
    disk.refuse = {}
    journal.append([batch(4, size=3000), batch(5, region="us")])
    assert sorted(numbers(journal, 3)) == [1, 4, 5]


def test_a_failure_in_the_middle_of_a_group_over_several_segments_leaves_no_part_of_it_unsound(
    disk: Disk, open_journal
) -> None:
    journal = open_journal()
    journal.append([batch(1)])
    disk.refuse = {"writev": errno.EIO}
    with pytest.raises(Unavailable):
        journal.append([batch(n, size=1500) for n in range(2, 12)])
    disk.refuse = {}
    journal.append([batch(n, size=1500) for n in range(20, 30)])
    assert numbers(journal, 11) == [1, *range(20, 30)]
    journal.close()
    assert numbers(open_journal(), 11) == [1, *range(20, 30)]


def test_other_topics_of_the_same_commit_are_not_harmed(disk: Disk, open_journal, monkeypatch) -> None:
    journal = open_journal()
    journal.append([batch(1), batch(1, region="us")])
    real = Partition.write

    def write(self: Partition) -> None:
        if ".us." in self.folder.name:
            raise OSError(errno.EIO, "bad sector")
        real(self)

    monkeypatch.setattr(Partition, "write", write)
    with pytest.raises(Unavailable, match=r"lastbeat\.us\.business"):
        journal.append([batch(2, region="us")])
    journal.append([batch(2)])
    assert sorted(numbers(journal, 3)) == [1, 1, 2]


def test_a_defect_of_ours_is_an_error_for_its_callers_and_not_the_end(open_journal, monkeypatch) -> None:
    journal = open_journal()

    def broken(self: Partition) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Partition, "write", broken)
        with pytest.raises(Unavailable, match="ZeroDivisionError"):
            journal.append([batch(1)])
    journal.append([batch(2)])
    assert numbers(journal, 1) == [2]


def test_readers_never_see_what_is_not_synced_yet(open_journal, monkeypatch) -> None:
    journal = open_journal()
    journal.append([batch(1)])
    syncing, go_on = threading.Event(), threading.Event()
    real = os.fdatasync

    def slow(fd: int) -> None:
        syncing.set()
        assert go_on.wait(20)
        real(fd)

    monkeypatch.setattr(segment.os, "fdatasync", slow)
    appending = threading.Thread(target=journal.append, args=([batch(2)],))
    appending.start()
    assert syncing.wait(20)
    reader = journal.reader(None, ["business"])
    assert [number_of(record) for record in reader.poll(1 << 20, 0)] == [1]
    assert set(reader.lag().values()) == {0}
    assert appending.is_alive(), "append returned before its record was durable"
    go_on.set()
    appending.join()
    assert [number_of(record) for record in read(reader, 1)] == [2]


def test_a_second_writer_is_told_who_the_first_one_is(open_journal, path: Path, clock: FakeClock) -> None:
    open_journal()
    with pytest.raises(Misconfigured, match=f"process {os.getpid()}"):
        LocalJournal(path, JournalSettings(), clock, writable=True)


def test_the_lock_ends_with_its_writer(open_journal) -> None:
    open_journal().close()
    open_journal().append([batch(1)])


def test_a_reader_may_come_before_the_writer_ever_ran(open_journal, path: Path, clock: FakeClock) -> None:
    early = LocalJournal(path, JournalSettings(), clock, writable=False)
    reader = early.reader("lake", ["business"])
    assert reader.poll(100, 0.5) == []
    assert reader.lag() == {}
    assert reader.assigned() == set()
    open_journal().append([batch(1)])
    assert [number_of(record) for record in read(reader, 1)] == [1]
    with pytest.raises(Misconfigured):
        early.append([batch(2)])


def test_closing_the_journal_ends_a_poll_that_waits(path: Path) -> None:
    from shippers.clock import SystemClock

    journal = LocalJournal(path, JournalSettings(), SystemClock(), writable=True)
    reader = journal.reader(None, ["business"])
    answers: list[object] = []
    polling = threading.Thread(target=lambda: answers.append(reader.poll(100, 60)))
    polling.start()
    journal.close()
    polling.join(20)
    assert answers == [[]]


def test_offsets_that_cannot_be_kept_are_unavailable_not_lost(open_journal, path: Path, monkeypatch) -> None:
    journal = open_journal()
    journal.append([batch(1), batch(2)])
    reader = journal.reader("lake", ["business"])
    first, second = read(reader, 2)
    reader.commit({first.tp: first.next_offset})

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(Unavailable):
            reader.commit({second.tp: second.next_offset})
    assert [number_of(r) for r in read(journal.reader("lake", ["business"]), 1)] == [2]


def test_a_segment_deleted_while_a_reader_is_in_it_is_read_to_its_end(open_journal, path: Path) -> None:
    journal = open_journal()
    journal.append([batch(n, size=900) for n in range(1, 21)])
    reader = journal.reader(None, ["business"])
    assert number_of(reader.poll(1, 0)[0]) == 1
    oldest = min(path.glob("topics/*/*.segment"))
    oldest.unlink()
    try:
        rest = [number_of(record) for record in read(reader, 19)]
    except Gap as gap:  # pragma: no cover
        raise AssertionError("it had the file open") from gap
    assert rest == list(range(2, 21))


@contextlib.contextmanager
def unreadable(file: Path) -> Iterator[None]:
    aside = file.with_suffix(".aside")
    file.rename(aside)
    file.mkdir()
    yield
    file.rmdir()
    aside.rename(file)


def test_while_one_topic_can_not_be_read_no_record_of_another_is_lost_and_it_is_told(open_journal, path: Path) -> None:
    journal = open_journal()
    journal.append([batch(1, region="us")])
    reader = journal.reader(None, ["business"])
    got: list[int] = []
    told: list[str] = []
    [broken] = path.glob("topics/lastbeat.us.business/*.segment")
    with unreadable(broken):
        for n in range(10, 30):
            journal.append([batch(n)])
            try:
                got += [number_of(record) for record in reader.poll(1 << 20, 0)]
            except Unavailable as error:
                told.append(str(error))
    assert "lastbeat.us.business can't be read" in told[0]
    got += [number_of(record) for record in read(reader, 21 - len(got))]
    assert [number for number in got if number != 1] == list(range(10, 30))
    assert 1 in got


def test_what_lies_before_a_segment_that_can_not_be_read_is_handed_over(open_journal, path: Path) -> None:
    journal = open_journal()
    journal.append([batch(n, size=900) for n in range(1, 21)])
    reader = journal.reader(None, ["business"])
    segments = sorted(path.glob("topics/*/*.segment"))
    with unreadable(segments[2]):
        before = [number_of(record) for record in reader.poll(1 << 20, 0)]
        assert before == list(range(1, before[-1] + 1))
        with pytest.raises(Unavailable, match="can't be read"):
            reader.poll(1 << 20, 0)
    assert [number_of(record) for record in read(reader, 20 - before[-1])] == list(range(before[-1] + 1, 21))


def test_a_journal_that_can_not_even_be_listed_is_unavailable_in_its_own_time_and_read_on_later(
    open_journal, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal()
    journal.append([batch(1)])
    reader = journal.reader("lake", ["business"])
    with monkeypatch.context() as patched:

        def refuse(*_: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patched.setattr("collector.journal.reading.os.scandir", refuse)
        before = clock.monotonic()
        with pytest.raises(Unavailable, match=r"can't be read: .*Too many open files"):
            reader.poll(1000, 0.25)
        assert clock.monotonic() - before >= 0.25  # who polls again at once doesn't spin
        with pytest.raises(Unavailable, match="Too many open files"):
            reader.lag()
    assert [number_of(record) for record in read(reader, 1)] == [1]


def test_a_folder_that_can_not_be_written_is_named_with_what_to_do(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match=r"file/journal can't be written: Not a directory: .*LASTBEAT_DATA"):
        LocalJournal(tmp_path / "file" / "journal", JournalSettings(), FakeClock(), writable=True)
    disk.refuse["open"] = errno.EACCES
    with pytest.raises(Misconfigured, match="Permission denied"):
        LocalJournal(tmp_path / "journal", JournalSettings(), FakeClock(), writable=True)


def test_a_full_disk_is_no_setting_that_can_not_work(tmp_path: Path, disk: Disk) -> None:
    disk.refuse["open"] = errno.ENOSPC
    with pytest.raises(OSError, match="No space left"):
        LocalJournal(tmp_path / "journal", JournalSettings(), FakeClock(), writable=True)
