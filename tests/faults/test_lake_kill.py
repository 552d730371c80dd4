"""A lake whose writer is killed at any point has each event once, and every dead letter once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from collector.lake.dead import dead_letters_in
from collector.ledger.streams import StreamLedger
from shippers.batch import Header
from tests.faults.lake_writer import records
from tests.lake_reading import ids_in

Dead = Counter[tuple[str, int, int, str]]


def expected(until: int) -> tuple[list[str], Dead]:
    """What the lake has to hold once every record below `until` is settled, told by the plainest possible means."""
    ledger, ids, dead = StreamLedger(), [], Dead()
    for record in records()[:until]:
        header = Header.decode(record.header)
        if b"PAID" in record.body:
            dead[header.stream, header.first, header.count, "batch"] += 1
            continue
        lines = record.body.splitlines()
        for first, last in ledger.missing(header.stream, header.first, header.last):
            ledger.add(header.stream, first, last)
            if header.void:
                dead[header.stream, first, last - first + 1, "void"] += 1
                continue
            for number in range(first, last + 1):
                if lines[number - header.first].startswith(b"{"):
                    ids.append(f"{header.stream}:{number}")
                else:
                    dead[header.stream, number, 1, "not JSON"] += 1
    return sorted(ids), dead


def dead_in(lake: Path) -> Dead:
    return Dead(
        (letter.stream, letter.first, letter.count, letter.reason.partition(":")[0]) for letter in dead_letters_in(lake)
    )


def run(lake: Path, at_once: int, *, lines: int = 0, kill_after_s: float | None = None) -> tuple[int, int]:
    """Start a writer; returns its exit code and the offset up to which it said that all is settled."""
    command = [sys.executable, "-m", "tests.faults.lake_writer", str(lake), str(at_once), str(lines)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        settled, timer = -1, threading.Timer(3_600, child.kill)
        assert child.stdout is not None
        assert child.stderr is not None
        for said in child.stdout:
            settled = int(said.split()[1])
            if kill_after_s is not None and not timer.is_alive():
                timer = threading.Timer(kill_after_s, child.kill)
                timer.start()
        timer.cancel()
        errors = child.stderr.read()
        code = child.wait()
    assert code in (0, -signal.SIGKILL), errors
    return code, settled


def check(lake: Path, settled: int) -> None:
    ids, dead = ids_in(lake), dead_in(lake)
    assert [event for event, times in Counter(ids).items() if times > 1] == []
    least_ids, least_dead = expected(settled + 1)
    most_ids, most_dead = expected(len(records()))
    assert set(least_ids) <= set(ids) <= set(most_ids)
    assert least_dead <= dead <= most_dead


def kill_and_go_on(lake: Path, kills: int, seed: int) -> None:
    rng, settled, killed = random.Random(seed), -1, 0
    for turn in range(kills):
        if turn % 2:
            code, now = run(lake, 6, kill_after_s=rng.random() / 2)
        else:
            code, now = run(lake, 6, lines=rng.randint(1, 1_000))
        settled, killed = max(settled, now), killed + (code != 0)
        check(lake, settled)
    assert killed >= min(kills, 5), "the writer was done before it could be killed often enough"
    assert run(lake, 200)[0] == 0
    assert (ids_in(lake), dead_in(lake)) == expected(len(records()))


def test_four_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    kill_and_go_on(tmp_path / "lake", kills=4, seed=3)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_kills_lose_nothing_and_double_nothing(tmp_path: Path, seed: int) -> None:
    kill_and_go_on(tmp_path / "lake", kills=10, seed=100 + seed)
