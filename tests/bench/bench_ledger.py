"""What the ledger costs: memory of 100,000 live streams, CPU beside what the indexer's work takes without it, and what
keeping and reading it takes.

Its share of CPU: the thread time of a whole indexer over a journal in memory with and without a ledger (its settling,
documents and writes to SQLite, and its snapshots), turn about, per million events in batches of 200; held against what
the indexer from Kafka to Elasticsearch takes a million in all (`make bench ARGS=pipeline`, its limit).
"""

from __future__ import annotations

import gc
import statistics
import struct
import tempfile
import time
from contextlib import closing
from pathlib import Path

from alerts.state.sqlite import SqliteState
from collector.indexer import Indexer
from collector.journal.memory import MemoryJournal
from collector.ledger.account import Account
from collector.ledger.intervals import Interval
from collector.ledger.keeper import LedgerKeeper
from collector.ledger.view import LedgerView
from collector.ports import Outcome, Record, TopicPartition, topic_of
from shippers.batch import Batch, Header, seal
from shippers.clock import SystemClock
from tests.bench.report import Report

CLOCK = SystemClock()
STREAMS, BATCHES_OF_EACH = 100_000, 70
DAY = "2026-11-21"
EVENTS, SIZE, SENDERS, ROUNDS = 400_000, 200, 300, 5
INDEXER_CPU_S = 2.0
"""What the indexer may take for a million events: the share is held against the limit, which is less than it takes."""


def run(report: Report) -> None:
    _memory(report)
    _cpu(report)


def header(stream: int, first: int, count: int) -> Header:
    """One batch's; each stream is of another instance, so that nothing is shared which really isn't."""
    return Header(f"boot{stream:012d}.business", first, count, "cn-east", "business", DAY, f"service-{stream % 200}",
                  f"instance-{stream}", (first * 7_919 + stream) % 2**32)  # fmt: skip


def outcome(said: Header, offset: int, dead: tuple[Interval, ...] = ()) -> Outcome:
    tp = TopicPartition(topic_of(said), hash(said.instance) % 12)
    record = Record(tp, offset, offset + 1, 0.0, b"", b"")
    return Outcome(record, said.count, header=said, dead_numbers=dead)


def _memory(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(SqliteState(Path(folder) / "ledger.db")) as state:
        keeper = LedgerKeeper(state, "lake", CLOCK)
        tps = [TopicPartition("lastbeat.cn-east.business", number) for number in range(12)]
        keeper.load(tps, {})
        gc.collect()
        before = _resident_mib()
        for start in range(0, STREAMS, 5_000):
            for stream in range(start, start + 5_000):
                _lived(keeper, stream)
            said = [header(stream, BATCHES_OF_EACH * SIZE + 1, SIZE) for stream in range(start, start + 5_000)]
            keeper.settle([outcome(one, start) for one in said])
            keeper.flush(dict.fromkeys(tps, start))
        gc.collect()
        taken = _resident_mib() - before
        beside = f"{taken * 1024 / STREAMS:.2f} KiB a stream, {BATCHES_OF_EACH} batches each, 64 of them remembered"
        report.add("ledger, 100,000 live streams", taken, "MiB", at_most=200, beside=beside)
        began = time.process_time()
        for tp in tps:
            keeper.compact(tp)
        report.add("  a snapshot of all of it: CPU", time.process_time() - began, "s")
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**20
        report.add("  on disk", size, "MiB")
        began = time.perf_counter()
        view = LedgerView(state)
        view.refresh()
        report.add("  read by an auditor", time.perf_counter() - began, "s", beside=f"{len(view.streams('lake')):,}")
        began = time.perf_counter()
        totals = view.totals("lake")
        report.add("  its totals", time.perf_counter() - began, "s", at_most=1.0, beside=f"{len(totals)} rows")


def _lived(keeper: LedgerKeeper, stream: int) -> None:
    """As if all but the last of its batches had been settled one by one."""
    said = header(stream, 1, SIZE)
    account = Account(said.stream)
    account.identify(said.region, said.service, said.instance, certain=True)
    account.day(DAY).store(1, BATCHES_OF_EACH * SIZE)
    account.last = BATCHES_OF_EACH * SIZE
    claims = ((turn * SIZE + 1, SIZE, (turn * 7_919 + stream) % 2**32) for turn in range(BATCHES_OF_EACH))
    account.merge_claims(b"".join(struct.pack("<QHI", *claim) for claim in claims))
    keeper._books[outcome(said, 0).record.tp].ledger.merge_account(account)


def _snapshot_s() -> float:
    """CPU for the snapshot that follows on 64 flushes of 3 s at 40,000 events a second, by event."""
    with tempfile.TemporaryDirectory() as folder, closing(SqliteState(Path(folder) / "ledger.db")) as state:
        keeper = LedgerKeeper(state, "lake", CLOCK)
        tp = TopicPartition("lastbeat.cn-east.business", 0)
        keeper.load([tp], {})
        events = 0
        for number in range(64 * 600):
            said = header(number % SENDERS, number // SENDERS * SIZE + 1, SIZE)
            keeper.settle([Outcome(Record(tp, number, number + 1, 0.0, b"", b""), SIZE, header=said)])
            events += SIZE
            if number % 600 == 599:
                keeper.flush({tp: number + 1})
        began = time.process_time()
        assert keeper.upkeep() == 1
        return (time.process_time() - began) / events


def _cpu(report: Report) -> None:
    journal = MemoryJournal(CLOCK)
    lines = [b'{"@timestamp":"2026-11-21T12:00:00Z","message":"paid"}'] * SIZE
    batches = [
        seal(header(number % SENDERS, number // SENDERS * SIZE + 1, 0), lines) for number in range(EVENTS // SIZE)
    ]
    for at in range(0, len(batches), 50):
        journal.append(batches[at : at + 50])
    without: list[float] = []
    with_it: list[float] = []
    for turn in range(ROUNDS):
        for kept in (True, False) if turn % 2 else (False, True):
            (with_it if kept else without).append(_index(journal, batches, turn, kept=kept))
    costs = [(one - other) / EVENTS * 1e6 for one, other in zip(with_it, without, strict=True)]
    snapshot = _snapshot_s() * 1e6
    cost = statistics.median(costs) + snapshot
    others = ", ".join(f"{one:.3f}" for one in costs)
    report.add(
        "ledger, batches of 200: its CPU a million events",
        cost,
        "s",
        beside=f"pairs {others}; snapshots {snapshot:.3f}",
    )
    share = 100 * cost / INDEXER_CPU_S
    report.add("  of the indexer's limit for it", share, "%", at_most=5, beside=f"{INDEXER_CPU_S} s a million")


class _Told:
    """A sink that costs next to nothing: what is left is the indexer."""

    def __init__(self, headers: dict[bytes, Header]) -> None:
        self._headers = headers

    def write(self, records: list[Record]) -> list[Outcome]:
        return [Outcome(record, SIZE, header=self._headers[record.header]) for record in records]

    def positions(self) -> None:
        return None

    def close(self) -> None: ...


def _index(journal: MemoryJournal, batches: list[Batch], turn: int, *, kept: bool) -> float:
    """CPU seconds of this process for all of the journal, snapshots included."""
    sink = _Told({batch.header.encode(): batch.header for batch in batches})
    with tempfile.TemporaryDirectory() as folder, closing(SqliteState(Path(folder) / "ledger.db")) as state:
        keeper = LedgerKeeper(state, "lake", CLOCK) if kept else None
        reader = journal.reader(f"{turn}-{kept}", ["business"])
        # So that a flush comes about as often as at 40,000 events a second: 3 s, or 32 MiB.
        flush_bytes = 8 * 1024 * 1024
        indexer = Indexer(reader, sink, CLOCK, flush_s=0.05, flush_bytes=flush_bytes, ledger=keeper)
        gc.collect()
        began = time.process_time()
        while indexer.counters.stored < EVENTS:
            indexer.step()
        return time.process_time() - began


def _resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
