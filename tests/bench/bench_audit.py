"""The audit: a day of ten million events counted in the lake against its ledger, and the auditor's pass over very many
processes. For Elasticsearch the day is as large as LASTBEAT_BENCH_ELASTIC says (1 M), where a server can run.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from alerts.audit.accounts import LedgerAccounts
from alerts.audit.auditor import Auditor
from alerts.audit.booked import books_of
from alerts.audit.counting import Later, count
from alerts.audit.settings import AuditSettings
from alerts.state.sqlite import SqliteState
from collector.journal.memory import MemoryJournal
from collector.lake.inventory import LakeInventory
from collector.lake.sink import LakeSink
from collector.lake.upkeep import Upkeep
from collector.ledger.inventory import Inventory
from collector.ledger.keeper import LedgerKeeper
from collector.ledger.view import LedgerView
from collector.ports import Outcome, Record, Sink, TopicPartition, topic_of
from collector.settings import LakeSettings
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock
from tests.bench.report import Report
from tests.bench.shop_events import START, batches

_EVENTS = int(os.environ.get("LASTBEAT_BENCH_EVENTS", "10000000"))
_ELASTIC = int(os.environ.get("LASTBEAT_BENCH_ELASTIC", "1000000"))
_PROCESSES = 20_000
_DAY = "2026-11-21"
_NUMBER = re.compile(rb'"stream":"[^"]*","sequence":\d+}')


def run(report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="lastbeat-bench-") as folder:
        clock = FakeClock(START + 86_400)
        _lake(report, Path(folder), clock)
        _elastic(report, Path(folder), clock)
        _auditor(report, Path(folder))


def _lake(report: Report, folder: Path, clock: FakeClock) -> None:
    sink = LakeSink(folder / "lake", LakeSettings(), clock)
    state = SqliteState(folder / "ledger.db")
    _fill(sink, state, "lake", clock, _EVENTS)
    Upkeep(sink).maintain()
    sink.close()
    events, spent = counted_against(state, "lake", LakeInventory(folder / "lake"))
    report.add(f"audit: a day of {events / 1e6:.0f} M events, lake against ledger", spent, "s", at_most=10)


def _elastic(report: Report, folder: Path, clock: FakeClock) -> None:
    from collector.elastic.client import ElasticClient
    from collector.elastic.inventory import ElasticInventory
    from collector.elastic.sink import ElasticSink
    from tests.servers import elastic_settings, remove

    settings = elastic_settings()
    state = SqliteState(folder / "elastic.db")
    with closing(ElasticClient(settings)) as client:
        sink = ElasticSink(settings, clock, SqliteState(folder / "state.db"))
        try:
            _fill(sink, state, "elastic", clock, _ELASTIC)
            sink.close()
            events, spent = counted_against(state, "elastic", ElasticInventory(client, settings))
            words = f"{spent / events * 1e7:.1f} s for 10 M at that rate"
            report.add(f"audit: {events / 1e6:.0f} M events, Elasticsearch against ledger", spent, "s", beside=words)
        finally:
            remove(settings)


def _fill(sink: Sink, state: SqliteState, name: str, clock: FakeClock, events: int) -> None:
    """Through a sink, with its ledger, as an indexer does."""
    keeper = LedgerKeeper(state, name, clock)
    some: list[Record] = []
    known: set[TopicPartition] = set()

    def write() -> None:
        keeper.load({each.tp for each in some} - known, {})
        known.update(each.tp for each in some)
        keeper.settle([outcome for outcome in sink.write(some) if isinstance(outcome, Outcome)])
        keeper.flush({each.tp: each.next_offset for each in some})
        some.clear()

    for number, batch in enumerate(map(_numbered, batches(events))):
        some.append(_record(batch, number))
        if len(some) >= 300:
            write()
    if some:
        write()
    for tp in known:
        keeper.compact(tp)


def _numbered(batch: Batch) -> Batch:
    """The shop's lines all bear one stream; here each says its own, as a shipper's does."""
    numbers = itertools.count(batch.header.first)
    stream = batch.header.stream.encode()
    lines = _NUMBER.sub(lambda _: b'"stream":"%b","sequence":%d}' % (stream, next(numbers)), batch.body).splitlines()
    return seal(batch.header, lines)


def counted_against(state: SqliteState, sink: str, store: Inventory) -> tuple[int, float]:
    """How many events were counted, and how long it took, the ledger's reading included."""
    began = time.perf_counter()
    view = LedgerView(state)
    view.refresh()
    day = store.days()[-1]
    counted = count(
        [day], "", {sink: store}, books_of(view), lambda: Later(books_of(view), {sink: False}, lambda *_: False)
    )
    spent = time.perf_counter() - began
    assert counted.differences == [], counted.differences[:3]
    return counted.events[sink, day], spent


def _record(batch: Batch, offset: int) -> Record:
    tp = TopicPartition(topic_of(batch.header), 0)
    return Record(tp, offset, offset + 1, START, batch.header.encode(), batch.body, checked=True)


def _auditor(report: Report, folder: Path) -> None:
    """Processes that beat each ten seconds: what a round of all their beats costs, and the memory it needs."""
    clock, state = FakeClock(), SqliteState(folder / "auditor.db")
    journal = MemoryJournal(clock)
    auditor = Auditor(
        journal.reader(None, ["heartbeat"]), journal.reader(None, ["business"]), LedgerAccounts(LedgerView(state)),
        state, AuditSettings(), clock, "bench",
    )  # fmt: skip
    keeper = LedgerKeeper(state, "lake", clock)
    tp = TopicPartition("lastbeat.eu.business", 0)
    journal.append_foreign(tp, b"{}")
    keeper.load([tp], {tp: 0})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = 0.0
    for beat in range(1, 4):
        journal.append([_beat(process, beat) for process in range(_PROCESSES)])
        for process in range(_PROCESSES):
            stream = f"boot{process:08}.business"
            header = Header(
                stream, 100 * (beat - 1) + 1, 100, "eu", "business", _DAY, f"s{process % 200}", f"i{process}", 0
            )
            keeper.settle([Outcome(Record(tp, beat, beat + 1, START, b"", b""), 100, header=header)])
        keeper.flush({tp: 1})
        clock.advance(10)
        began = time.process_time()
        auditor.step()
        spent = time.process_time() - began
    statement = auditor.metrics()
    assert statement['events{outcome="unaccounted",sink="lake"}'] == 0
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    report.add(
        f"audit: {_PROCESSES:,} processes' beats, read and judged", 100 * spent / 10, "% of a core", at_most=25,
        beside=f"{grown:,.0f} MiB more in this process, journal and ledger included",
    )  # fmt: skip


def _beat(process: int, number: int) -> Batch:
    counts = {"business": {"last": 100 * number, "acked": 100 * number, "dropped": {}}}
    said = {"interval_s": 10.0, "grace_s": 20.0, "state": "up", "uptime_s": 10.0 * number, "datasets": counts}
    header = Header(f"boot{process:08}.heartbeat", number, 1, "eu", "heartbeat", _DAY, f"s{process % 200}",
                    f"i{process}", 0)  # fmt: skip
    return seal(replace(header, age_s=0.0), [json.dumps({"heartbeat": said}).encode()])
