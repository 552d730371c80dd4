"""The book, the outbox and the courier: no page is lost or forgotten, whatever fails between."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alerts.book import Book, acknowledge
from alerts.courier import Courier
from alerts.incidents import Severity, Status, read_incidents
from alerts.notify.message import Undelivered
from alerts.notify.scripted import ScriptedNotifier
from alerts.outbox import Outbox
from alerts.settings import AlertSettings
from alerts.state.memory import MemoryState
from alerts.state.sqlite import SqliteState
from alerts.transitions import Draft
from collector.ports import Row, State, Table
from shippers.clock import FakeClock
from shippers.errors import Unavailable


class FlakyState(MemoryState):
    """Can't be reached while `down`."""

    down = False

    def get(self, table: Table, key: str) -> Row | None:
        self._reach()
        return super().get(table, key)

    def put(self, table: Table, key: str, doc: Mapping[str, Any], version: str | None) -> str:
        self._reach()
        return super().put(table, key, doc, version)

    def scan(self, table: Table, prefix: str = "") -> Any:
        self._reach()
        return super().scan(table, prefix)

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("state is down")


class Desk:
    """A book with its courier; `crash` starts both anew."""

    def __init__(self, tmp_path: Path, state: State | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.state = state or FlakyState()
        self.settings = AlertSettings(outbox=tmp_path / "run" / "outbox.jsonl", **settings)
        self.pager = ScriptedNotifier()
        self.crash()

    def crash(self) -> None:
        self.book = Book(self.state, self.settings, self.clock)
        self.book.load()
        self.courier = Courier(self.book, {"console": self.pager}, self.clock)

    def open(self, key: str = "down/cn-east/pay", began_at: float = 1.0) -> str:
        what = Draft(
            "down", key, Severity.PAGE, f"{key} is down", "silent", began_at, "cn-east", key.rsplit("/", maxsplit=1)[-1]
        )
        return self.book.open(what).id

    def turns(self) -> list[str]:
        return [message.turn for message in self.pager.sent]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_incident_and_its_notices_are_one_row_before_anybody_is_told(desk: Desk) -> None:
    desk.open()
    (kept,) = read_incidents(desk.state)
    assert (kept.status, [notice.delivered_at for notice in kept.notices]) == (Status.FIRING, [None])
    desk.courier.step("console")
    (kept,) = read_incidents(desk.state)
    assert kept.notices[0].delivered_at == desk.clock.time()
    desk.courier.step("console")
    assert desk.turns() == ["firing"]


def test_a_crash_before_delivery_loses_no_page(desk: Desk) -> None:
    desk.open()
    desk.crash()
    desk.courier.step("console")
    assert desk.turns() == ["firing"]


def test_a_crash_between_delivery_and_its_mark_sends_again_with_the_same_ids(desk: Desk) -> None:
    desk.open()
    version = read_incidents(desk.state)
    desk.courier.step("console")
    row = desk.state.get(Table.INCIDENTS, version[0].id)
    assert row is not None
    from alerts.document import to_doc

    desk.state.put(Table.INCIDENTS, row.key, to_doc(version[0]), row.version)  # the mark never reached the disk
    desk.crash()
    desk.courier.step("console")
    first, second = desk.pager.sent
    assert (first.notice_id, first.dedup_key) == (second.notice_id, second.dedup_key)


def test_a_failed_delivery_is_tried_again_later_and_later_by_the_monotonic_clock(desk: Desk) -> None:
    desk.pager.script.extend([Undelivered("no answer")] * 4)
    desk.open()
    tries = []
    for second in range(40):
        before = len(desk.pager.script)
        desk.courier.step("console")
        if len(desk.pager.script) < before or (desk.pager.sent and tries[-1:] != ["sent"]):
            tries.append("sent" if desk.pager.sent else second)
        desk.clock.advance(1)
        desk.clock.jump(-3600)
    assert tries == [0, 1, 3, 7, "sent"]
    (incident,) = desk.book.opens()
    assert (incident.notices[0].attempts, incident.notices[0].error) == (5, "")


def test_one_that_is_refused_for_good_holds_up_no_other(desk: Desk) -> None:
    desk.pager.script.append(Undelivered("400", permanent=True))
    desk.open()
    desk.clock.advance(1)
    desk.open("down/cn-east/shop")
    desk.courier.step("console")
    assert [message.service for message in desk.pager.sent] == ["shop"]
    desk.clock.advance(1000)
    desk.courier.step("console")
    assert [message.service for message in desk.pager.sent] == ["shop", "pay"]


def test_the_turns_of_an_incident_go_out_in_their_order(desk: Desk) -> None:
    desk.pager.script.append(Undelivered("no answer"))
    desk.open()
    desk.courier.step("console")
    desk.book.resolve("down/cn-east/pay", "back")
    for _ in range(5):
        desk.clock.advance(5)
        desk.courier.step("console")
    assert desk.turns() == ["firing", "resolved"]


def test_a_notifier_with_a_fault_of_its_own_is_only_a_failure(desk: Desk) -> None:
    desk.pager.script.append(Undelivered("x"))
    desk.pager.send = lambda message: 1 / 0  # type: ignore[method-assign,assignment]
    desk.open()
    desk.courier.step("console")
    assert "ZeroDivisionError" in desk.book.opens()[0].notices[0].error


def test_while_state_is_down_the_page_still_goes_out_and_is_merged_later(desk: Desk) -> None:
    assert isinstance(desk.state, FlakyState)
    desk.state.down = True
    desk.open()
    desk.courier.step("console")
    assert desk.turns() == ["firing"]
    assert desk.book.in_outbox == 1
    desk.crash()
    desk.courier.step("console")
    assert desk.turns() == ["firing"]
    desk.state.down = False
    desk.clock.advance(5)
    desk.book.sync()
    (kept,) = read_incidents(desk.state)
    assert kept.notices[0].delivered_at is not None
    assert desk.book.in_outbox == 0
    assert not desk.settings.outbox.exists()


def test_what_was_paged_before_state_went_down_is_not_paged_again_by_a_restart_without_it(desk: Desk) -> None:
    assert isinstance(desk.state, FlakyState)
    desk.open()
    desk.courier.step("console")
    desk.state.down = True
    desk.crash()
    desk.open()  # the same decision, made again from the journal: the same id
    desk.courier.step("console")
    assert len({message.notice_id for message in desk.pager.sent}) == 1
    desk.state.down = False
    desk.clock.advance(5)
    desk.book.sync()
    assert len(read_incidents(desk.state)) == 1


def test_two_that_were_opened_apart_for_one_thing_become_one(desk: Desk) -> None:
    assert isinstance(desk.state, FlakyState)
    desk.open(began_at=1.0)
    desk.state.down = True
    desk.crash()
    desk.open(began_at=2.0)
    desk.state.down = False
    desk.clock.advance(5)
    desk.book.sync()
    assert len([each for each in read_incidents(desk.state) if each.is_open]) == 1


def test_a_line_that_a_crash_cut_off_in_the_outbox_harms_no_other(tmp_path: Path, desk: Desk) -> None:
    assert isinstance(desk.state, FlakyState)
    desk.state.down = True
    desk.open()
    path = desk.settings.outbox
    path.write_bytes(path.read_bytes() + b'\n{"id":"down-cut","dedup_k')
    outbox = Outbox(path)
    outbox.add(desk.book.opens()[0])
    assert [each.id for each in outbox.read()] == [desk.book.opens()[0].id]


def test_without_state_and_without_a_disk_the_page_goes_out_from_memory(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder")
    desk = Desk(tmp_path / "x")
    desk.settings = desk.settings.model_copy(update={"outbox": tmp_path / "run" / "outbox.jsonl"})
    desk.crash()
    assert isinstance(desk.state, FlakyState)
    desk.state.down = True
    desk.open()
    desk.courier.step("console")
    assert desk.turns() == ["firing"]


def test_what_a_person_acknowledges_elsewhere_is_kept_and_known(desk: Desk) -> None:
    opened = desk.open()
    taken = acknowledge(desk.state, opened, "ming", desk.clock.time())
    assert taken is not None
    assert taken.status is Status.ACKNOWLEDGED
    desk.courier.step("console")  # a change of ours meets theirs
    (kept,) = read_incidents(desk.state)
    assert (kept.acknowledged_by, kept.notices[0].delivered_at is None) == ("ming", False)
    desk.clock.advance(100_000)
    desk.book.sync()
    desk.book.tend()
    assert len(desk.book.opens()[0].notices) == 1
    assert acknowledge(desk.state, "nothing", "ming", 1.0) is None


def test_silences_come_from_settings_and_from_state(tmp_path: Path) -> None:
    clock_start = FakeClock().time()
    settled = {"service": "ship*", "starts_at": clock_start, "ends_at": clock_start + 60}
    desk = Desk(tmp_path, silences=(settled,))
    stated = {
        "service": "pay",
        "region": "cn-*",
        "starts_at": clock_start,
        "ends_at": clock_start + 60,
        "comment": "db",
    }
    desk.state.put(Table.SILENCES, "s1", stated, None)
    desk.state.put(Table.SILENCES, "broken", {"service": 7}, None)
    desk.book.sync()
    for name in ("pay", "shipping", "shop"):
        desk.open(f"down/cn-east/{name}")
    desk.courier.step("console")
    assert [message.service for message in desk.pager.sent] == ["shop"]
    desk.clock.advance(61)
    desk.book.tend()
    desk.courier.step("console")
    assert sorted(message.service for message in desk.pager.sent) == ["pay", "shipping", "shop"]


def test_what_is_long_over_leaves_memory_and_stays_in_state(desk: Desk) -> None:
    for i in range(20):
        desk.open(f"down/cn-east/s{i}")
        desk.courier.step("console")
        desk.book.resolve(f"down/cn-east/s{i}", "back")
        desk.courier.step("console")
    desk.clock.advance(1000)
    desk.book.sync()
    assert len(desk.book._held) == 0
    assert len(read_incidents(desk.state)) == 20


def test_watch_and_courier_change_one_row_at_once_and_lose_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, SqliteState(tmp_path / "state.db"))
    ids = [desk.open(f"down/cn-east/s{i}") for i in range(10)]
    other = SqliteState(tmp_path / "state.db")

    def acknowledge_all() -> None:
        for each in ids:
            acknowledge(other, each, "ming", 1.0)

    person = threading.Thread(target=acknowledge_all)
    courier = threading.Thread(target=desk.courier.step, args=("console",))
    person.start()
    courier.start()
    for i in range(10):
        desk.book.amend(f"down/cn-east/s{i}", "late beat")
    person.join()
    courier.join()
    desk.book.sync()
    for kept in read_incidents(desk.state):
        assert (kept.acknowledged_by, kept.amendments) == ("ming", ("late beat",))
        assert kept.notices[0].delivered_at is not None
    other.close()
