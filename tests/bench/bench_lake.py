"""The lake: from the journal to Delta, bytes on disk, and the boards' questions over ten million events.

LASTBEAT_BENCH_EVENTS sets another number of events, for a quick look.
"""

from __future__ import annotations

import gc
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from collector.indexer import Indexer
from collector.journal.local import LocalJournal
from collector.journal.memory import MemoryJournal
from collector.lake.parse import connect, parse
from collector.lake.sink import LakeSink
from collector.lake.store import LakeStore
from collector.lake.upkeep import Upkeep
from collector.ports import Record, TopicPartition, Where, topic_of
from collector.settings import JournalSettings, LakeSettings
from shippers.batch import DATASETS, Batch
from shippers.clock import FakeClock, SystemClock
from tests.bench.report import Report
from tests.bench.shop_events import START, batches, order_id

_EVENTS = int(os.environ.get("LASTBEAT_BENCH_EVENTS", "10000000"))
_TIMED = min(_EVENTS, 2_000_000)
_DAY = Where(START, START + 86_400)


def run(report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="lastbeat-bench-") as folder:
        lake = Path(folder) / "lake"
        clock = FakeClock(START + 86_400)
        sink = LakeSink(lake, LakeSettings(), clock)
        made = batches(_EVENTS)
        _ingest(report, Path(folder), sink, made)
        _fill(sink, made)
        began = time.perf_counter()
        upkept = Upkeep(sink).maintain()
        spent = time.perf_counter() - began
        files = [path for path in lake.rglob("*.parquet") if "_delta_log" not in path.parts]
        report.add("lake: upkeep, all of it at once", spent, "s", beside=f"{upkept.merged_files} files merged away")
        _sizes(report, lake, files)
        sink.close()
        began = time.perf_counter()
        again = LakeSink(lake, LakeSettings(), clock)
        again.write([_record(next(batches(1)), 10**9)])
        report.add("lake: sink opened, its ledger read again", time.perf_counter() - began, "s", at_most=5)
        again.close()
        store = LakeStore(lake, MemoryJournal(clock), LakeSettings(), clock)
        _questions(report, store)
        store.close()


def _ingest(report: Report, folder: Path, sink: LakeSink, made: Iterator[Batch]) -> None:
    """From a journal on the disk to Delta, by the indexer."""
    journal = LocalJournal(folder / "journal", JournalSettings(), SystemClock(), writable=True)
    events = 0
    bodies: list[Batch] = []
    while events < _TIMED:
        some = list(itertools.islice(made, 100))
        journal.append(some)
        events += sum(batch.header.count for batch in some)
        bodies += some if len(bodies) < 1_000 else []
    parsed = sum(batch.header.count for batch in bodies)
    with connect(1024, 2) as con:
        parse_s = _seconds(
            lambda: parse(con, "business", [b.body for b in bodies], [b.header.count for b in bodies]), times=3
        )
    reader = journal.reader("bench", DATASETS)
    gc.collect()
    indexer = Indexer(reader, sink, SystemClock(), flush_s=0.1)  # or the last, partly filled write would be waited for
    began, cpu = time.perf_counter(), time.process_time()
    while indexer.counters.stored < events:
        indexer.step()
    spent, cpu = time.perf_counter() - began, time.process_time() - cpu
    stored = indexer.counters.stored
    assert stored == events, (stored, events)
    report.add(
        "lake: journal to Delta", stored / spent, "events/s", at_least=250_000,
        beside=f"parsing alone: {parsed / parse_s:,.0f}; {cpu / stored * 1e6:.1f} CPU-s a million",
    )  # fmt: skip
    reader.close()
    journal.close()


def _fill(sink: LakeSink, made: Iterable[Batch]) -> None:
    waiting: list[Record] = []
    offset = 10**12  # behind everything that came from the journal
    for batch in made:
        waiting.append(_record(batch, offset))
        offset += 1
        if sum(len(record.body) for record in waiting[-1:]) and len(waiting) >= 320:
            sink.write(waiting)
            waiting = []
    sink.write(waiting)


def _record(batch: Batch, offset: int) -> Record:
    tp = TopicPartition(topic_of(batch.header), 0)
    return Record(tp, offset, offset + 1, START, batch.header.encode(), batch.body)


def _sizes(report: Report, lake: Path, files: list[Path]) -> None:
    """What is on the disk once vacuum has been: the files that the newest snapshot names."""
    from deltalake import DeltaTable

    named = {Path(uri.removeprefix("file://")) for uri in DeltaTable(lake / "business").file_uris()}
    size = sum(path.stat().st_size for path in files if path in named)
    report.add(
        "lake: on disk", size / _EVENTS, "bytes/event", at_most=35, beside="Elasticsearch 9.5.3: 146-162 (DESIGN)"
    )


def _questions(report: Report, store: LakeStore) -> None:
    order = order_id(13, 1_000, _EVENTS)
    counted = sum(sum(series) for series in store.volume(_DAY, 86_400).series.values())
    assert counted >= _EVENTS, counted

    def fleet() -> None:
        store.volume(_DAY, 86_400, "application")
        store.volume(replace(_DAY, errors=True), 86_400, "application")

    def found() -> None:
        assert len(store.search(replace(_DAY, ids=(order,))).events) == 6

    size = f"over {counted / 1e6:.1f} M events"
    asked: list[tuple[str, Callable[[], object], float | None]] = [
        ("fleet: 24 h volume and errors by application", fleet, 0.3),
        ("fleet: 24 h latency by application", lambda: store.latency(_DAY, 86_400, "application"), 1.5),
        ("24 h volume by service, 10 min steps", lambda: store.volume(_DAY, 600, "service"), 1.0),
        ("24 h latency heat map, 10 min steps", lambda: store.latency(_DAY, 600), 1.5),
        ("24 h latency by service, 10 min steps", lambda: store.latency(_DAY, 600, "service"), None),
        ("peak minute of 24 h", lambda: store.peaks(_DAY, 60), 1.0),
        ("search by order id", found, 2.0),
        ("correlate an order id", lambda: store.correlate(order, _DAY.start, _DAY.end), 2.0),
        ("newest 100", lambda: store.search(_DAY), 2.0),
        ("search for a word", lambda: store.search(replace(_DAY, text="refused")), None),
        ("top labels.channel", lambda: store.top(_DAY, "labels.channel"), None),
        ("fields", lambda: store.fields(_DAY), None),
    ]
    for name, ask, limit in asked:
        cpu = time.process_time()
        spent = _seconds(ask, times=3)
        cpu = (time.process_time() - cpu) / 3
        report.add(f"lake: {name}", spent, "s", at_most=limit, beside=f"{size}, {cpu:.2f} CPU-s")


def _seconds(ask: Callable[[], object], times: int) -> float:
    """The best of a few: what the machine's other work adds is not the lake's."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        spent.append(time.perf_counter() - began)
    return min(spent)
