"""Losses made on purpose, by seeds: each is named with its exact range within two beats and five seconds, in every
sink, and nothing beside it is. The real indexer and its ledger, the real journal in memory, a fake clock."""

from __future__ import annotations

import random
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from alerts.audit.accounts import LedgerAccounts
from collector.indexer import Indexer
from collector.ledger.keeper import LedgerKeeper
from collector.ledger.view import LedgerView
from collector.scripted import ScriptedSink
from shippers.batch import DATASETS
from tests.unit.audit.books import Sender, World

ALLOWED_S = 5.0
FEW, ALL = range(4), range(4, 100)


class AtOnce(Executor):
    """Writes when it is asked to, so that a test's time is its own."""

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments, **named))
        except Exception as error:  # noqa: BLE001  as executors do
            done.set_exception(error)
        return done


class Platform(World):
    """The world with an indexer for a sink."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        super().__init__(partitions=self.chance.randint(1, 3))
        self.sinks = {}
        self.next_look = 0.0
        self.interval_s = self.chance.choice((2.0, 5.0, 10.0))
        reader = self.journal.reader("lake", DATASETS)
        keeper = LedgerKeeper(self.state, "lake", self.clock)
        self.indexer = Indexer(reader, ScriptedSink(), self.clock, writer=AtOnce(), flush_s=1.0, ledger=keeper)
        self.books = LedgerAccounts(LedgerView(self.state))  # type: ignore[assignment]
        self.restart("b")
        for number in range(self.chance.randint(1, 6)):
            sender = Sender(self, f"pay-{number}", spool=True)
            sender.next_beat = self.clock.monotonic() + self.chance.random() * self.interval_s  # type: ignore[attr-defined]
        self.alive = list(self.senders)

    def pass_time(self) -> None:
        """A quarter of a second: everybody logs, sends and beats; the indexer reads, the auditor looks each second."""
        self.clock.advance(0.25)
        for sender in self.alive:
            if self.chance.random() < 0.5:
                sender.log(self.chance.randint(1, 30))
            if self.chance.random() < 0.7:
                sender.send(answered=self.chance.random() < 0.9)
            if self.clock.monotonic() >= sender.next_beat:  # type: ignore[attr-defined]
                sender.next_beat += self.interval_s  # type: ignore[attr-defined]
                sender.beat(interval_s=self.interval_s)
        if self.clock.monotonic() >= self.next_look:
            self.next_look = self.clock.monotonic() + 1.0
            self.canary()
            self.indexer.step()
            self.auditor.step()


def run_until(world: Platform, seconds: float) -> None:
    until = world.clock.monotonic() + seconds
    while world.clock.monotonic() < until:
        world.pass_time()


def lose_a_batch(seed: int) -> None:
    world = Platform(seed)
    run_until(world, world.chance.uniform(10, 40))
    assert world.lost == {}
    victim = world.chance.choice(world.alive)
    while victim.unsent:
        victim.send()
    for _ in range(world.chance.randint(1, 2)):
        header = victim.log(world.chance.randint(1, 200)).header
        victim.send(lost=True)
        first = header.first if _ == 0 else first  # noqa: F821  one run of numbers, however many batches
    gone = {f"lake/{victim.stream}": ((first, header.last),)}
    lost_at = world.clock.monotonic()
    while world.lost != gone:
        assert world.lost == {}, f"seed {seed}: something else is called lost"
        assert world.clock.monotonic() - lost_at <= 2 * world.interval_s + ALLOWED_S, f"seed {seed}: not named in time"
        world.pass_time()
    run_until(world, 3 * world.interval_s)
    assert world.lost == gone


def cut_a_tail(seed: int) -> None:
    world = Platform(seed)
    run_until(world, world.chance.uniform(10, 40))
    victim = world.chance.choice(world.alive)
    world.alive.remove(victim)
    cut = world.chance.randint(1, 50)
    waiting = sum(batch.header.count for batch in victim.unsent)
    first = victim.last + 1
    killed_at = world.clock.monotonic()
    run_until(world, world.chance.uniform(0.25, 1.0))  # its heir starts
    victim.killed(cut)
    while not any(tail.ranges == ((first, first + cut - 1),) for tail in world.statement.head.tails if tail.counted):
        assert world.clock.monotonic() - killed_at <= 2 * world.interval_s + ALLOWED_S, (
            f"seed {seed}: not named in time"
        )
        world.pass_time()
    run_until(world, 3 * world.interval_s)
    assert world.lost == {}, f"seed {seed}: {waiting} waited in the spool, and all of them came"
    [line] = [line for line in world.statement.lines if line.void]
    assert line.void == cut


@pytest.mark.parametrize("seed", FEW)
def test_a_batch_taken_out_of_the_journal_is_named_exactly_and_in_time(seed: int) -> None:
    lose_a_batch(seed)


@pytest.mark.parametrize("seed", FEW)
def test_a_tail_that_a_kill_cut_off_is_named_exactly_and_in_time(seed: int) -> None:
    cut_a_tail(seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", ALL)
def test_every_loss_is_named_of_a_hundred(seed: int) -> None:
    lose_a_batch(seed)
    cut_a_tail(seed)
