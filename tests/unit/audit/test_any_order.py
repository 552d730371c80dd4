"""Whatever the order in which batches and beats are sent, resent, read, held and settled: what is called lost is
exactly what the journal lost. Seen to fail with the barrier passed early, with judging above `acked`, and with a sink's
position that passes what it gave back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.ledger.intervals import IntervalSet
from tests.unit.audit.books import Sender, World

MOST_SENDERS = 4


class AnyOrder:
    """One world, the truth about what is gone in it, and everything that may happen; `n` chooses whom it happens to."""

    def __init__(self) -> None:
        self.world = World("lake", "elastic", partitions=2)
        self.removed: dict[str, IntervalSet] = {}
        self.alive: list[Sender] = []
        self.world.run(1)  # the sinks are known
        self.start(0)

    def start(self, n: int) -> None:
        if len(self.world.senders) < MOST_SENDERS:
            sender = Sender(self.world, f"pay-{len(self.world.senders)}", spool=bool(n % 2))
            self.removed[sender.stream] = IntervalSet()
            sender.beat()
            self.alive.append(sender)

    def one(self, n: int) -> Sender:
        return self.alive[n % len(self.alive)] if self.alive else self.world.senders[0]

    def log(self, n: int) -> None:
        self.one(n).log(1 + n % 9, drop=n % 3)

    def send(self, n: int) -> None:
        self.one(n).send()

    def send_unheard(self, n: int) -> None:
        self.one(n).send(answered=False)

    def lose(self, n: int) -> None:
        """The journal said yes, and has it not: unless a copy got through before, nobody has it."""
        sender = self.one(n)
        if sender.unsent:
            header = sender.unsent[0].header
            sender.send(lost=True)
            if not self.in_journal(header.stream, header.first):
                self.removed[header.stream].add(header.first, header.last)

    def in_journal(self, stream: str, first: int) -> bool:
        wanted = f'"stream":"{stream}","first":{first},'.encode()
        return any(wanted in record.header for record in self.world.journal.records())

    def beat(self, n: int) -> None:
        if self.alive:
            self.one(n).beat()

    def end(self, n: int) -> None:
        if len(self.alive) > 1:
            sender = self.one(n)
            self.alive.remove(sender)
            if n % 3 == 0:
                sender.beat(state="stopping")
            elif sender.spool and n % 3 == 1:
                sender.killed(n % 5)

    def read(self, n: int) -> None:
        self.world.sinks["elastic" if n % 2 else "lake"].read(1 + n % 400)

    def settle(self, n: int) -> None:
        sink = self.world.sinks["elastic" if n % 2 else "lake"]
        sink.settle(apart=() if sink.apart else {n % 3, n % 5} if n % 4 == 0 else ())

    def wait(self, n: int) -> None:
        self.world.clock.advance((1, 3, 11, 11, 40, 200, 4_000)[n % 7])
        self.world.canary()
        self.world.auditor.step()

    def restart(self, n: int) -> None:
        del n
        self.world.restart("b")
        for _ in range(2):  # it waits for the lease of the one that is gone
            self.world.clock.advance(16)
            self.world.auditor.step()

    def assert_nothing_else_is_called_lost(self) -> None:
        for name, holes in self.world.lost.items():
            removed = self.removed[name.partition("/")[2]]
            for hole in holes:
                assert removed.missing(*hole) == [], f"{name} {hole}: only {list(removed)} are gone"

    def assert_all_that_is_gone_is_named_in_the_end(self) -> None:
        for _ in range(2):
            for sender in self.alive:
                while sender.unsent:
                    sender.send()
                sender.beat()
            self.world.run(15)
        for sender in self.alive:
            for sink in self.world.sinks:
                assert self.world.lost.get(f"{sink}/{sender.stream}", ()) == tuple(self.removed[sender.stream])
        for sink in self.world.sinks:
            line = self.world.statement.of(sink)
            assert line.emitted >= sum(sender.last + sum(sender.dropped.values()) for sender in self.alive)
            named = sum(b - a + 1 for name, holes in self.world.lost.items() if name.startswith(sink) for a, b in holes)
            assert line.unaccounted == named


ACTIONS = {"start": 1, "log": 6, "send": 5, "send_unheard": 1, "lose": 1, "beat": 5, "end": 1, "read": 4, "settle": 4,
           "wait": 7, "restart": 1}  # fmt: skip
action = st.sampled_from([name for name, weight in ACTIONS.items() for _ in range(weight)])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(action, st.integers(0, 419)), min_size=60, max_size=160))
def test_exactly_what_is_gone_is_called_lost(happens: list[tuple[str, int]]) -> None:
    run = AnyOrder()
    for name, n in happens:
        getattr(run, name)(n)
        if name in ("wait", "restart"):
            run.assert_nothing_else_is_called_lost()
    run.assert_all_that_is_gone_is_named_in_the_end()
    run.assert_nothing_else_is_called_lost()
