"""A small world for the auditor: senders that number, send and beat; a journal; sinks that read it when they are told
to and account for what they read, each in its own time; a fake clock."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

from alerts.audit.accounts import Gaps, Key, Lie, Sums
from alerts.audit.auditor import Auditor
from alerts.audit.findings import Finding, read_findings
from alerts.audit.settings import AuditSettings
from alerts.audit.statement import Statement, read_statement
from alerts.state.memory import MemoryState
from collector.journal.memory import MemoryJournal
from collector.ledger.intervals import Interval, IntervalSet
from collector.ledger.rebuild import LetGo
from collector.ports import Record, State, TopicPartition
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock

DAY = "2023-11-14"
"""The fake clock's own day."""


class Books:
    """Accounts of sinks, written by `Sink` as it reads. `lying` are told as lies."""

    def __init__(self) -> None:
        self.numbers: dict[str, dict[str, IntervalSet]] = defaultdict(lambda: defaultdict(IntervalSet))
        self.void: dict[str, dict[str, IntervalSet]] = defaultdict(lambda: defaultdict(IntervalSet))
        self.who: dict[str, Header] = {}
        self.positions: dict[str, dict[TopicPartition, int]] = {}
        self.lying: dict[str, str] = {}
        self.begun: dict[str, float] = {}
        self.deleted: set[tuple[str, str, str]] = set()
        self.absent: Sequence[str] = ()

    def refresh(self) -> None: ...

    @property
    def sinks(self) -> Sequence[str]:
        return list(self.positions)

    def begun_at(self, sink: str) -> float:
        return self.begun.get(sink, 0.0)

    def let_go(self, sink: str) -> LetGo:
        return lambda *day: day in self.deleted

    def position(self, sink: str, tp: TopicPartition) -> int | None:
        return self.positions.get(sink, {}).get(tp)

    def missing(self, sink: str, stream: str, first: int, last: int) -> list[Interval]:
        return self.numbers[sink][stream].missing(first, last)

    def last(self, sink: str, stream: str) -> int:
        return max((last for _, last in self.numbers[sink][stream]), default=0)

    def void_tail(self, sink: str, stream: str) -> Interval | None:
        runs = list(self.void[sink][stream])
        return runs[-1] if runs and runs[-1][1] == self.last(sink, stream) else None

    def day_of(self, sink: str, stream: str, number: int) -> str:
        return DAY if number in self.numbers[sink][stream] else ""

    def totals(self, sink: str) -> Mapping[Key, Sums]:
        found: dict[Key, Sums] = {}
        for stream, numbers in self.numbers[sink].items():
            if not numbers:
                continue
            header, void = self.who[stream], len(self.void[sink][stream])
            key = Key(DAY, header.region, header.service, header.dataset)
            before = found.get(key, Sums())
            found[key] = Sums(before.stored + len(numbers) - void, before.dead, before.void + void)
        return found

    def gaps(self, sink: str) -> Iterable[Gaps]:
        for stream, numbers in self.numbers[sink].items():
            if (holes := numbers.gaps()) and stream not in self.lying:
                header = self.who[stream]
                yield Gaps(stream, header.region, header.service, header.dataset, DAY, DAY, tuple(holes))

    def lies(self, sink: str) -> Sequence[Lie]:
        return [Lie(stream, words) for stream, words in self.lying.items()]


class Sink:
    """Reads the journal's data as an indexer would. What it `holds` is read and not settled; a position never passes
    that."""

    def __init__(self, name: str, journal: MemoryJournal, books: Books) -> None:
        self.name, self._books = name, books
        self._reader = journal.reader(name, ["business", "console"])
        self.held: list[Record] = []
        self.apart: list[Record] = []
        self._reached: dict[TopicPartition, int] = {}

    def read(self, max_bytes: int = 1 << 20) -> None:
        self.held += self._reader.poll(max_bytes, 0)

    def settle(self, apart: Iterable[int] = ()) -> None:
        """Account for what is held; what has an index in `apart` is given back, and is settled by the next call."""
        put_aside = set(apart)
        mine = self._books.positions.setdefault(self.name, {})
        again = [record for index, record in enumerate(self.held) if index in put_aside]
        for record in [*self.apart, *self.held]:
            if record not in again:
                self._account(record)
        self._reached |= {record.tp: record.next_offset for record in self.held}
        for tp, position in self._reached.items():
            lowest = min((record.offset for record in again if record.tp == tp), default=position)
            mine[tp] = max(mine.get(tp, 0), lowest)
        self.apart, self.held = again, []

    def step(self) -> None:
        self.read()
        self.settle()

    def _account(self, record: Record) -> None:
        if not record.header:
            return
        header = Header.decode(record.header)
        self._books.who[header.stream] = header
        numbers = self._books.numbers[self.name][header.stream]
        if header.void is not None:
            for first, last in numbers.missing(header.first, header.last):
                self._books.void[self.name][header.stream].add(first, last)
        numbers.add(header.first, header.last)


class Sender:
    """One boot of a service: numbers events, sends them when it is told to, beats."""

    def __init__(self, world: World, name: str = "pay-1", service: str = "pay", *, spool: bool = False) -> None:
        self._world, self.service, self.instance, self.spool = world, service, name, spool
        self.boot = f"{name.replace('-', '')}{len(world.senders):08}"
        self.last = self.acked = self.beats = 0
        self.dropped: dict[str, int] = {}
        self.unsent: deque[Batch] = deque()
        self.unheard = 0
        world.senders.append(self)

    @property
    def stream(self) -> str:
        return f"{self.boot}.business"

    def log(self, count: int, *, drop: int = 0) -> Batch:
        """Number `count` events and seal them; `drop` more are dropped before they have numbers."""
        header = Header(self.stream, self.last + 1, 0, "eu", "business", DAY, self.service, self.instance, 0)
        batch = seal(header, [b'{"n":%d}' % n for n in range(count)])
        self.last += count
        if drop:
            self.dropped["full"] = self.dropped.get("full", 0) + drop
        self.unsent.append(batch)
        return batch

    def send(self, *, answered: bool = True, lost: bool = False) -> None:
        """The oldest batch goes to the journal. Not `answered`: the sender doesn't hear of it, and sends it again.
        `lost`: the journal said yes, and has it not."""
        if not self.unsent:
            return
        if not lost:
            self._world.journal.append([self.unsent[0]])
        if answered:
            self.acked = self.unsent.popleft().header.last

    def beat(self, *, state: str = "up", interval_s: float = 10.0, **more: object) -> None:
        self.beats += 1
        counts = {"last": self.last, "acked": self.acked, "dropped": dict(self.dropped)}
        said = {"interval_s": interval_s, "grace_s": 20.0, "state": state, "uptime_s": 10.0 * self.beats,
                "spool": self.spool, "datasets": {"business": {**counts, **more}}}  # fmt: skip
        header = Header(f"{self.boot}.heartbeat", self.beats, 0, "eu", "heartbeat", DAY, self.service, self.instance, 0)
        self._world.journal.append([seal(header, [json.dumps({"heartbeat": said}).encode()])])

    def killed(self, count: int) -> None:
        """A successor with its spool says what a kill cut off: all that is unsent, then `count` that had no number."""
        while self.unsent:
            self.send()
        if count:
            header = Header(self.stream, self.last + 1, count, "eu", "business", DAY, self.service, self.instance, 0,
                            "killed")  # fmt: skip
            self._world.journal.append([Batch(header, b"")])


class World:
    """A journal, sinks by name, senders, and one auditor over them."""

    def __init__(self, *sinks: str, partitions: int = 1, state: State | None = None) -> None:
        self.clock = FakeClock()
        self.journal = MemoryJournal(self.clock, partitions)
        for number in range(partitions):  # somebody wrote here before
            self.journal.append_foreign(TopicPartition("lastbeat.eu.business", number), b"{}")
        self.books, self.state = Books(), state or MemoryState()
        self.sinks = {name: Sink(name, self.journal, self.books) for name in sinks or ("lake",)}
        self.senders: list[Sender] = []
        self.canaries = 0
        by_partition = {zlib.crc32(b"gw-%d" % n) % partitions: f"gw-{n}" for n in range(50)}
        self.gateways = [by_partition[number] for number in range(partitions)]
        self.restart()

    def restart(self, me: str = "a", **more: object) -> None:
        """A new auditor on the same state; the old one is gone without a word."""
        self.auditor = self.another(me, **more)

    def another(self, me: str, **more: object) -> Auditor:
        return Auditor(
            self.journal.reader(None, ["heartbeat"]),
            self.journal.reader(None, ["business", "console", "metrics"]),
            self.books,
            self.state,
            AuditSettings(statement_s=0.001),
            self.clock,
            me,
            **more,  # type: ignore[arg-type]
        )

    def run(self, seconds: float, *, reading: bool = True) -> None:
        """Let time pass, a second a pass; sinks read, unless they are down."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            self.canary()
            if reading:
                for sink in self.sinks.values():
                    sink.step()
            self.auditor.step()

    def canary(self) -> None:
        """One in each partition."""
        self.canaries += 1
        for gateway in self.gateways:
            header = Header("canary00.heartbeat", self.canaries, 0, "eu", "heartbeat", DAY, "lastbeat", gateway, 0,
                            via=gateway, ingress="default", canary=True)  # fmt: skip
            self.journal.append([seal(header, [b'{"refused":{}}'])])

    @property
    def findings(self) -> list[Finding]:
        return read_findings(self.state)

    @property
    def lost(self) -> dict[str, tuple[Interval, ...]]:
        """What is called lost now, by sink and stream."""
        return {f"{each.sink}/{each.stream}": each.holes for each in self.findings if each.ended_at is None}

    @property
    def statement(self) -> Statement:
        found = read_statement(self.state)
        assert found is not None
        return found


def with_a_sink_added_later() -> tuple[World, Sender]:
    """A process that Elasticsearch has ten events of; the lake came long after them."""
    world = World("elastic")
    pay = Sender(world)
    pay.log(10)
    pay.send()
    pay.beat()
    world.run(5)
    world.clock.advance(5_000)
    world.run(5)
    world.books.positions["lake"] = world.books.positions["elastic"]
    return world, pay
