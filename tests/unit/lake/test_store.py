"""The store sees each event once, wherever it is at that moment, whatever happens to lake and journal meanwhile."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.journal.memory import MemoryJournal
from collector.lake import tail
from collector.lake.questions import BUCKET, span_us
from collector.lake.sink import LakeSink
from collector.lake.store import LakeStore
from collector.lake.upkeep import Upkeep
from collector.latency import GROWTH, bucket_of
from collector.ports import Page, TopicPartition, Where
from collector.settings import LakeSettings
from shippers.batch import DATASETS, Batch, Header, seal
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.unit.lake.events import DAY, NOON, PAY, batch

HOUR = Where(NOON, NOON + 3_600)
TP = TopicPartition("lastbeat.cn-east.business", 0)


@dataclass
class Site:
    """A journal, a lake, and a store over both. `settle` is the indexer."""

    lake: Path
    clock: FakeClock
    journal: MemoryJournal
    sink: LakeSink
    store: LakeStore

    def settle(self, records: int = 1_000) -> None:
        reader = self.journal.reader(None, DATASETS)
        for tp, position in (self.sink.positions() or {}).items():
            reader.seek(tp, position)
        waiting = [record for record in reader.poll(10**9, 0) if b'"canary":true' not in record.header]
        self.sink.write(waiting[:records])

    def another_store(self) -> LakeStore:
        return LakeStore(self.lake, self.journal, LakeSettings(), self.clock)

    def count(self) -> int:
        return sum(sum(counts) for counts in self.store.volume(HOUR, 3_600).series.values())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    clock = FakeClock(NOON)
    journal, lake = MemoryJournal(clock), tmp_path / "lake"
    made = Site(
        lake, clock, journal, LakeSink(lake, LakeSettings(), clock), LakeStore(lake, journal, LakeSettings(), clock)
    )
    yield made
    made.store.close()
    made.sink.close()


def test_an_event_counts_once_before_while_and_after_it_moves_to_the_lake(site: Site) -> None:
    for first in range(1, 31, 3):
        site.journal.append([batch(first, 3)])
    assert site.count() == 30
    for _ in range(4):
        site.settle(records=3)
        assert site.count() == 30
        assert len(site.store.search(HOUR).events) == 30


def test_voids_canaries_and_unreadable_lines_are_not_events(site: Site) -> None:
    canary = Header("gwbootid0001.heartbeat", 1, 0, "cn-east", "heartbeat", DAY, "lastbeat", "gw-1", 0, canary=True)
    site.journal.append([batch(1, 3, bad=(2,)), batch(4, 5).void("spool full"), seal(canary, [b'{"refused":{}}'])])
    assert site.count() == 2
    assert site.store.volume(dataclasses.replace(HOUR, datasets=()), 3_600).series == {"": (2,)}
    site.settle()
    assert site.count() == 2


@pytest.mark.parametrize("settled", [True, False])
def test_a_batch_sent_again_is_seen_once_by_a_store_that_began_before_and_by_one_that_begins_now(
    site: Site, settled: bool
) -> None:
    site.journal.append([batch(1, 4)])
    if settled:
        site.settle()
    assert site.count() == 4
    site.journal.append([batch(1, 4), batch(3, 5)])
    for store in (site.store, site.another_store()):
        assert store.volume(HOUR, 3_600).series == {"": (7,)}
        assert [event.sequence for event in store.search(HOUR).events] == [7, 6, 5, 4, 3, 2, 1]


def test_nobody_believes_a_body_about_who_sent_it(site: Site) -> None:
    header = batch(1, 1).header
    lie = (
        b'{"@timestamp":"2025-11-21T12:00:00Z","service":{"name":"shop"},"cloud":{"region":"x"},"event":{"sequence":9}}'
    )
    site.journal.append([seal(header, [lie])])
    [before] = site.store.search(HOUR).events
    site.settle()
    assert site.store.search(HOUR).events == (before,)
    assert (before.id, before.service, before.region) == (f"{PAY}:1", "payment", "cn-east")


def test_files_that_vanish_under_a_store_make_it_look_again(site: Site) -> None:
    for first in range(1, 17, 2):
        site.journal.append([batch(first, 2)])
        site.settle()
    assert site.count() == 16
    old = [path for path in site.lake.rglob("*.parquet") if "_delta_log" not in path.parts]
    Upkeep(site.sink).compact(DAY)
    stale = site.store._viewer.look()
    for path in old:
        path.unlink()
    site.store._viewer._snapshots._files["business"] = (
        site.store._viewer._snapshots._files["business"][0],
        tuple(dataclasses.replace(file, path=f"{file.path}.gone") for file in stale.snapshot.files["business"]),
    )
    assert site.count() == 16


def test_a_lake_that_was_set_back_is_filled_up_from_the_journal(site: Site) -> None:
    site.journal.append([batch(1, 4)])
    site.settle()
    assert site.count() == 4
    store = site.another_store()  # begins behind what the lake has
    assert store.volume(HOUR, 3_600).series == {"": (4,)}
    site.sink.close()
    shutil.rmtree(site.lake)
    assert store.volume(HOUR, 3_600).series == {"": (4,)}
    store.close()


def test_a_gap_in_the_journal_hides_nothing_that_the_lake_has(site: Site) -> None:
    for first in range(1, 7, 2):
        site.journal.append([batch(first, 2)])
    site.settle()
    site.journal.delete_before(TP, 2)
    assert site.another_store().volume(HOUR, 3_600).series == {"": (6,)}
    assert site.count() == 6


def test_a_journal_that_can_not_be_read_is_said(site: Site) -> None:
    site.store._viewer.look()
    reader = site.store._viewer._tail._reader  # type: ignore[union-attr]
    reader.close()
    with pytest.raises(Unavailable, match="closed"):
        site.count()


def test_a_broken_lake_is_said_in_words(site: Site) -> None:
    site.journal.append([batch(1, 1)])
    site.settle()
    [path] = (site.lake / "business").rglob("date=*/*.parquet")
    path.write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(Unavailable, match=r"the lake at .* can't be read"):
        site.count()


def test_many_threads_ask_at_once_while_events_move(site: Site) -> None:
    site.journal.append([batch(first, 3) for first in range(1, 61, 3)])

    def ask() -> list[tuple[int, int]]:
        return [(site.count(), len(site.store.search(HOUR, Page(5)).events)) for _ in range(6)]

    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(ask) for _ in range(4)]
        for _ in range(10):
            site.settle(records=2)
        assert [answer.result() for answer in answers] == [[(60, 5)] * 6] * 4


def test_tail_shows_what_the_lake_took_meanwhile_and_a_resend_only_once(site: Site) -> None:
    site.journal.append([batch(1, 2)])
    cursor = site.store.tail(HOUR).after
    site.journal.append([batch(3, 3), batch(1, 2)])
    site.settle()
    first = site.store.tail(HOUR, cursor, limit=2)
    assert [event.sequence for event in first.events] == [3, 4]
    rest = site.store.tail(HOUR, first.after)
    assert [event.sequence for event in rest.events] == [5]
    assert site.store.tail(HOUR, rest.after).events == ()


def test_a_tail_s_cursor_is_good_in_another_process_and_after_the_memory_of_it_is_gone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.journal.append([batch(1, 2)])
    cursor = site.store.tail(HOUR).after
    for first in range(3, 43, 4):
        site.journal.append([batch(first, 4)])
    site.journal.append([batch(1, 2, "shopbootid01.business", region="cn-north")])  # a partition that is new
    site.settle()
    monkeypatch.setattr(tail, "_RECENT_ROWS", 5)
    other = site.another_store()
    for store in (site.store, other):
        seen, after = [], cursor
        while events := (page := store.tail(HOUR, after, limit=7)).events:
            seen += [event.id for event in events]
            after = page.after
        assert sorted(seen) == sorted(
            [*(f"{PAY}:{n}" for n in range(3, 43)), "shopbootid01.business:1", "shopbootid01.business:2"]
        )


def test_what_waits_for_a_standing_indexer_is_kept_on_disk_and_answers_all_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_MEMORY_ROWS", 4)
    cursor = site.store.tail(HOUR).after
    for first in range(1, 31, 3):
        site.journal.append([batch(first, 3)])
        assert site.count() == first + 2
    assert [event.sequence for event in site.store.tail(HOUR, cursor).events] == list(range(1, 31))
    site.settle(records=4)
    assert [event.sequence for event in site.store.search(HOUR).events] == list(range(30, 0, -1))


def test_a_strange_cursor_is_refused(site: Site) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        site.store.tail(HOUR, "yesterday")


def test_a_heartbeat_s_figures_are_its_measures(site: Site) -> None:
    beat = (
        b'{"@timestamp":"2025-11-21T12:00:00Z","heartbeat":{"interval_s":10.0,"state":"up","datasets":'
        b'{"business":{"last":9,"acked":7,"dropped":{"full":2}}},"queue_events":3,"cpu_percent":1.5},'
        b'"event":{"dataset":"heartbeat"}}'
    )
    header = Header("paybootid001.heartbeat", 1, 0, "cn-east", "heartbeat", DAY, "payment", "pay-01", 0)
    site.journal.append([seal(header, [beat])])
    where = dataclasses.replace(HOUR, datasets=("heartbeat",))
    [before] = site.store.search(where).events
    site.settle()
    assert site.store.search(where).events == (before,)
    assert before.labels == {"state": "up"}
    assert before.measures == {
        "interval_s": 10.0, "cpu_percent": 1.5, "queue_events": 3.0,
        "business.last": 9.0, "business.acked": 7.0, "business.dropped": 2.0,
    }  # fmt: skip


EDGES = [math.ceil(1_000 * GROWTH**i) + d for i in range(0, 500, 7) for d in (-1, 0, 1)]


@settings(deadline=None, max_examples=30)
@example(EDGES)
@given(st.lists(st.integers(0, 2**62) | st.sampled_from(EDGES), min_size=1))
def test_the_buckets_are_those_of_collector_latency_to_the_edge(durations: list[int]) -> None:
    with duckdb.connect() as con:
        found = con.execute(
            f"SELECT duration_ns, {BUCKET} FROM (SELECT unnest(?::BIGINT[]) AS duration_ns)", [durations]
        ).fetchall()
    assert [bucket for _, bucket in found] == [bucket_of(duration) for duration, _ in found]


@given(st.integers(1_600_000_000_000_000, 2_000_000_000_000_000))
def test_a_time_asked_for_is_the_very_microsecond(at_us: int) -> None:
    assert span_us(Where(at_us / 1_000_000, (at_us + 1) / 1_000_000)) == (at_us, at_us + 1)


def test_an_unknown_batch_in_the_tail_harms_nobody(site: Site) -> None:
    sound = batch(1, 2)
    site.journal.append([Batch(sound.header, sound.body.replace(b"paid", b"PAID")), batch(3, 2), sound])
    assert site.count() == 4
    site.settle()
    assert site.count() == 4
