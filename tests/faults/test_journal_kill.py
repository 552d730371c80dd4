"""A writer killed with SIGKILL, or its disk filled, at any point: what was acknowledged is there, whole, in order."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from collector.journal.local import LocalJournal
from collector.ports import Reader, Record
from collector.settings import JournalSettings
from shippers.batch import Batch, Header
from shippers.clock import SystemClock

SEGMENT_BYTES = 64 * 1024


@contextmanager
def writer(folder: Path, seed: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.faults.journal_writer", str(folder), str(seed), str(SEGMENT_BYTES)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.set_blocking(process.stdout.fileno(), False)
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class Said:
    """What a writer said: numbers acknowledged, by stream, and how often it was refused."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._out = process.stdout
        self._rest = b""
        self.acknowledged: dict[str, set[int]] = defaultdict(set)
        self.refused = 0

    def listen(self) -> int:
        """Take in what was said so far; returns how many numbers are acknowledged."""
        assert self._out is not None
        while data := self._out.read(1 << 16):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                first, _, second = line.decode().partition(" ")
                if first == "refused":
                    self.refused += 1
                else:
                    self.acknowledged[first].add(int(second))
        return sum(map(len, self.acknowledged.values()))

    def until(self, count: int) -> None:
        """Listen until so many numbers more are acknowledged."""
        goal, deadline = self.listen() + count, time.monotonic() + 30
        while self.listen() < goal:
            assert time.monotonic() < deadline, "the writer stopped writing"
            time.sleep(0.002)


def read_all(reader: Reader) -> list[Record]:
    """To the end; a Gap, that is a record damaged or lost, fails the test by itself."""
    records: list[Record] = []
    while more := reader.poll(1 << 22, 0):
        records += more
    assert set(reader.lag().values()) <= {0}
    return records


def verify(records: list[Record], acknowledged: dict[str, set[int]]) -> None:
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    times: dict[str, float] = defaultdict(float)
    for record in records:
        batch = Batch(Header.decode(record.header), record.body)
        batch.check()
        assert json.loads(batch.body)["number"] == batch.header.first
        found[batch.header.stream, record.tp.topic].append(batch.header.first)
        assert record.appended_at >= times[record.tp.topic]
        times[record.tp.topic] = record.appended_at
    for (stream, topic), numbers in found.items():
        firsts = list(dict.fromkeys(numbers))  # what was refused in part is sent again, and then there twice
        assert firsts == sorted(firsts), f"{stream} out of order in {topic}"
    for stream, numbers in acknowledged.items():
        there = {n for (of, _), found_numbers in found.items() if of == stream for n in found_numbers}
        assert numbers <= there, f"{stream}: acknowledged and lost: {sorted(numbers - there)[:10]}"


def kill_many(folder: Path, seeds: range) -> None:
    acknowledged: dict[str, set[int]] = defaultdict(set)
    watching = LocalJournal(folder, JournalSettings(), SystemClock(), writable=False)
    shown: list[Record] = []
    with closing(watching.reader(None, ["business"])) as tail:
        for seed in seeds:
            dice = random.Random(seed)
            with writer(folder, seed) as process:
                said = Said(process)
                said.until(dice.randint(1, 150))
                time.sleep(dice.random() * 0.02)
                shown += tail.poll(1 << 22, 0)
                process.send_signal(signal.SIGKILL)
                process.wait()
                said.listen()
            for stream, numbers in said.acknowledged.items():
                acknowledged[stream] |= numbers
            shown += read_all(tail)
            journal = LocalJournal(folder, JournalSettings(), SystemClock(), writable=True)
            with closing(journal), closing(journal.reader(None, ["business"])) as reader:
                records = read_all(reader)
            verify(records, acknowledged)
            kept = {(record.tp, record.offset): record for record in records}
            assert all(kept.get((record.tp, record.offset)) == record for record in shown), "shown, and then not there"


def test_ten_kills_at_seeded_points_lose_nothing_acknowledged(tmp_path: Path) -> None:
    kill_many(tmp_path / "journal", range(10))


@pytest.mark.soak
def test_a_hundred_kills_at_seeded_points_lose_nothing_acknowledged(tmp_path: Path) -> None:
    kill_many(tmp_path / "journal", range(100, 200))


def check_refusals(folder: Path, process: subprocess.Popen[bytes], said: Said) -> None:
    """The writer is refusing: what it acknowledged is there all the same, and it dies; then all is checked."""
    said.listen()
    process.kill()
    process.wait()
    said.listen()
    journal = LocalJournal(folder, JournalSettings(), SystemClock(), writable=True)
    with closing(journal), closing(journal.reader(None, ["business"])) as reader:
        verify(read_all(reader), said.acknowledged)


def until_refused(said: Said) -> None:
    deadline = time.monotonic() + 30
    before = said.refused
    while said.refused < before + 5:
        said.listen()
        assert time.monotonic() < deadline, "it was never refused"
        time.sleep(0.005)


def test_a_writer_that_may_write_no_more_refuses_and_goes_on_by_itself_later(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with writer(folder, 7) as process:
        said = Said(process)
        said.until(50)
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        for limit in (0, 20_000, 3):  # also in the middle of a frame
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, hard))
            until_refused(said)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            said.until(50)
        check_refusals(folder, process, said)


def test_a_full_disk_refuses_and_loses_nothing_and_takes_more_once_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root and the right to mount")
    try:
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(1_000_000))
        with writer(folder / "journal", 8) as process:
            said = Said(process)
            until_refused(said)
            ballast.unlink()
            said.until(20)
            check_refusals(folder / "journal", process, said)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
