"""`lastbeat drill --observe` on a real lake and a fake clock: its counts are right, and most of all when something is
missing, or there twice, on purpose."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow.compute
import pytest
from deltalake import DeltaTable, write_deltalake
from rich.console import Console

from alerts.document import to_doc
from alerts.fleet import InstanceRow
from alerts.staleness import Verdict
from collector.lake.sink import LakeSink
from collector.ports import State, Table
from collector.settings import LakeSettings
from compose.drill import observe as module
from compose.drill.observe import Observed, observe, show
from compose.settings import Settings
from compose.wiring import open_state
from shippers.batch import Batch
from shippers.clock import FakeClock
from tests.contracts.sinks import START
from tests.contracts.test_sink import PAY, batch, record

SHOP = "shopbootid01.business"


class Acts(FakeClock):
    """Does what is next each time that somebody waits."""

    def __init__(self) -> None:
        super().__init__(START)
        self.acts: list[Callable[[], object]] = []

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        if self.acts:
            self.acts.pop(0)()
        return super().wait(event, timeout_s)


class Site:
    """A watch's rows and a lake, and what one process after another said."""

    def __init__(self, folder: Path, state: State) -> None:
        self.settings, self.clock = Settings(data=folder), Acts()
        self.sink = LakeSink(self.settings.lake_path, LakeSettings(), self.clock)
        self._state, self._offset = state, 0

    def says(self, acked: int, dropped: int = 0, stream: str = PAY, *, started_at: float = START - 100) -> None:
        boot, _, dataset = stream.partition(".")
        said: Mapping[str, Mapping[str, int]] = {dataset: {"last": acked, "acked": acked, "dropped": dropped}}
        row = InstanceRow("cn-east", "payment", boot, Verdict.UP, "", START, START, boot, 1, started_at, 10, 20)
        self._state.put_many(Table.FLEET, {row.key: to_doc(replace(row, streams=said if acked else {}))})

    def stores(self, *batches: Batch) -> None:
        self.sink.write([record(self._offset + number, each) for number, each in enumerate(batches)])
        self._offset += len(batches)

    def again(self, *numbers: int) -> None:
        """Put rows there a second time, past the sink."""
        root = self.settings.lake_path / "business"
        rows = DeltaTable(root).to_pyarrow_table()
        wanted = pyarrow.compute.field("sequence").isin(numbers)
        write_deltalake(root, rows.filter(wanted), mode="append")

    def observed(self, *acts: Callable[[], object]) -> Observed:
        self.clock.acts += acts
        return observe(self.settings, self.clock, 3.0, threading.Event())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(module, "_STORED_WITHIN_S", 1.0)
    with closing(open_state(Settings(data=tmp_path))) as state:
        made = Site(tmp_path, state)
        with closing(made.sink):
            yield made


def test_what_was_sent_in_the_time_is_counted_and_nothing_before_it(site: Site) -> None:
    site.says(10, dropped=2)
    site.stores(batch(1, 40), batch(1, 5, SHOP))
    found = site.observed(
        lambda: site.says(30, dropped=3), lambda: (site.says(40, 6), site.says(5, 1, SHOP, started_at=START + 1))
    )
    assert (found.streams, found.emitted, found.stored, found.dropped) == (2, 35 + 5, 35, 5)
    assert found.is_good


def test_who_is_shown_late_though_it_was_there_before_has_sent_nothing_yet(site: Site) -> None:
    site.says(0)
    found = site.observed(lambda: site.says(1_000, 7), lambda: site.says(1_000, 7))
    assert (found.emitted, found.missing) == (0, {})


def test_what_is_missing_and_what_is_there_twice_is_counted_by_stream_and_said(site: Site) -> None:
    site.says(10)
    site.stores(batch(1, 20), batch(26, 15), batch(1, 5, SHOP))
    site.again(12, 30, 31)
    found = site.observed(lambda: (site.says(40), site.says(5, 0, SHOP, started_at=START + 1)))
    assert (found.missing, found.double) == ({PAY: 5}, {PAY: 3})
    assert (found.emitted, found.stored) == (35, 30)
    assert not found.is_good
    out = io.StringIO()
    show(Console(file=out, width=120), found)
    assert f"{PAY}: +5 unaccounted" in out.getvalue()
    assert f"{PAY}: 3 stored more than once" in out.getvalue()


def test_what_is_missing_at_the_end_of_the_time_may_come_yet(site: Site) -> None:
    site.says(10)
    site.stores(batch(1, 20))
    found = site.observed(lambda: site.says(30), lambda: None, lambda: None, lambda: site.stores(batch(21, 10)))
    assert (found.stored, found.missing) == (20, {})


def test_where_nothing_was_sent_nothing_was_looked_at_and_that_is_not_good(site: Site) -> None:
    site.says(10)
    found = site.observed(lambda: None)
    assert (found.streams, found.missing) == (0, {})
    assert not found.is_good
    out = io.StringIO()
    show(Console(file=out, width=200), found)
    assert "nothing was looked at" in out.getvalue()


def test_dead_letters_and_void_batches_account_for_their_numbers(site: Site) -> None:
    site.says(10)
    site.stores(batch(1, 20, bad={7: b"no event", 12: b"no event", 13: b"no event"}), batch(21, 10).void("full"))
    found = site.observed(lambda: site.says(30))
    assert (found.emitted, found.stored, found.dead, found.void, found.missing) == (20, 8, 2, 10, {})


def test_a_dead_letter_that_is_stored_as_well_hides_no_other_that_is_missing(site: Site) -> None:
    site.says(10)
    site.stores(batch(1, 20, bad={12: b"no event", 15: b"no event"}), batch(22, 9))
    site.stores(batch(12, 1, replay=True))
    found = site.observed(lambda: site.says(30))
    assert (found.stored, found.dead, found.missing) == (18, 1, {PAY: 1})
