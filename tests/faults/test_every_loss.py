"""Many losses made on purpose on real processes, several at once: batches taken out of the journal, and tails that
SIGKILL cut off. Each is named with its exact range within two beats and five seconds, and nothing beside them ever is.

What is expected is known from what the services logged, from what was taken out, and from the lake's raw rows alone.
Seen to fail with an auditor that calls nothing lost before the sixth beat.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from alerts.audit.statement import Statement, read_statement
from collector.ledger.intervals import Interval, IntervalSet
from compose.drill.evidence import in_lake
from shippers.batch import Header
from tests.faults.service_process import wait_for
from tests.faults.test_audit import ALLOWED_S, INTERVAL_S, Platform, platform

__all__ = ["platform"]

AT_ONCE, ROUNDS = 5, 5
WITHIN_S = 2 * INTERVAL_S + ALLOWED_S
LIVES = """
for line in sys.stdin:
    for count in map(int, line.split()):
        say(count)
"""
DIES = """
say({acked})
for number in range({more}): log.info("cut %d", number)
os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(slots=True)
class Lively:
    """A service that logs when it is told to, and what was taken of it out of the journal."""

    process: subprocess.Popen[str]
    stream: str = ""

    def say(self, *counts: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, counts)) + "\n")
        self.process.stdin.flush()

    def hear(self) -> None:
        assert self.process.stdout is not None
        self.stream = f"{self.process.stdout.readline().strip()}.business"


@pytest.fixture
def lively(platform: Platform) -> list[Lively]:
    services = [Lively(platform.service(LIVES, LASTBEAT_INSTANCE=f"shop-{n}")) for n in range(AT_ONCE)]
    for each in services:
        each.say(10)
    for each in services:
        each.hear()
    wait_for(lambda: (found := read_statement(platform.state)) and found.of("lake").stored == 10 * AT_ONCE, 30)
    return services


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
def test_every_loss_is_named_exactly_and_in_time(platform: Platform, lively: list[Lively], seed: int) -> None:
    chance = random.Random(seed)
    taken: dict[str, IntervalSet] = {each.stream: IntervalSet() for each in lively}
    cut: dict[str, int] = {}
    for _ in range(ROUNDS):
        take_out(platform, lively, chance, taken)
        cut |= cut_off(platform, chance)
        assert platform.lost() == spans(taken), "a tail is no loss"
    stored = in_lake(platform.data / "lake").by_stream
    expected = {stream: IntervalSet([(1, last)]) for stream, last in cut.items()}
    for stream, numbers in expected.items():
        for number in stored[stream]:
            numbers.discard(number, number)
    assert tails(platform) == spans(expected)
    assert sum(map(len, expected.values())) > 0
    statement = said(platform)
    assert statement.of("lake").unaccounted == sum(map(len, taken.values()))
    assert statement.of("lake").void == sum(map(len, expected.values()))
    assert statement.of("lake").stored == sum(map(len, stored.values()))


def take_out(platform: Platform, lively: list[Lively], chance: random.Random, taken: Mapping[str, IntervalSet]) -> None:
    """One batch of every service, from anywhere but the end of what it says."""
    before = spans(taken)
    os.kill(platform.supervisor.pid("indexer"), signal.SIGSTOP)
    began = {record.next_offset for record in platform.records()}
    said = {each.stream: [chance.randint(1, 150) for _ in range(chance.randint(2, 4))] for each in lively}
    for each in lively:
        each.say(*said[each.stream])
    for each in lively:
        for _ in said[each.stream]:
            each.hear()
    new = [record for record in platform.records() if record.next_offset not in began]
    for each in lively:
        mine = [record for record in new if Header.decode(record.header).stream == each.stream]
        victim = chance.choice(mine[:-1])
        header = Header.decode(victim.header)
        platform.take_out(victim)
        taken[each.stream].add(header.first, header.last)
    os.kill(platform.supervisor.pid("indexer"), signal.SIGCONT)
    gone = spans(taken)
    in_time(lambda: platform.lost() == gone, lambda: all(_known(platform.lost(), before, gone)))


def _known(lost: Mapping[str, tuple[Interval, ...]], before: object, gone: Mapping[str, object]) -> Iterator[bool]:
    """Whether what is called lost is no more than what was taken out."""
    for stream, ranges in lost.items():
        yield stream in gone and not IntervalSet(ranges).without(IntervalSet(gone[stream]))  # type: ignore[arg-type]


def cut_off(platform: Platform, chance: random.Random) -> dict[str, int]:
    """Services that die with what they had, and heirs that find their spools; the last number of each of the dead."""
    spools = [platform.data / "spools" / f"{chance.getrandbits(64):x}" for _ in range(AT_ONCE)]
    logged = [(chance.randint(1, 150), chance.randint(1, 60)) for _ in spools]
    dead = [
        platform.service(DIES.format(acked=acked, more=more), LASTBEAT_SPOOL=str(spool), LASTBEAT_INSTANCE=spool.name)
        for spool, (acked, more) in zip(spools, logged, strict=True)
    ]
    streams = []
    for each in dead:
        assert each.stdout is not None
        streams.append(f"{each.stdout.readline().strip()}.business")
        assert each.wait(30) == -signal.SIGKILL
    heirs = [
        platform.service("say(1); sys.stdin.readline()", LASTBEAT_SPOOL=str(spool), LASTBEAT_INSTANCE=spool.name)
        for spool in spools
    ]
    last = {stream: acked + more for stream, (acked, more) in zip(streams, logged, strict=True)}
    in_time(lambda: all(tails(platform).get(stream, ((0, 0),))[-1][1] == number for stream, number in last.items()))
    for heir in heirs:
        heir.communicate("\n", 30)
    return last


def in_time(is_named: Callable[[], bool], is_right: Callable[[], bool] = lambda: True) -> None:
    began = time.monotonic()
    while not is_named():
        assert is_right(), "something else is called lost"
        assert time.monotonic() - began <= WITHIN_S, "not named in time"
        threading.Event().wait(0.05)


def tails(platform: Platform) -> dict[str, tuple[Interval, ...]]:
    return {each.stream: each.ranges for each in said(platform).head.tails if each.counted}


def said(platform: Platform) -> Statement:
    statement = read_statement(platform.state)
    assert statement is not None
    return statement


def spans(numbers: Mapping[str, IntervalSet]) -> dict[str, tuple[Interval, ...]]:
    return {stream: tuple(each) for stream, each in numbers.items() if each}
