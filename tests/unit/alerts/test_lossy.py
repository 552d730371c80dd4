"""Findings of the audit become incidents: one a scope, the ranges named, closed with the evidence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from alerts.audit.findings import Finding, finding_doc
from alerts.audit.statement import Difference, Head, Liar, Statement, Writer
from alerts.book import Book
from alerts.incidents import Incident, Severity
from alerts.losses import SHARE, Losses
from alerts.settings import AlertSettings
from alerts.state.memory import MemoryState
from collector.ports import Row, Table
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.unit.audit.books import Sender
from tests.unit.audit.books import World as Audited


class Desk:
    """Incidents over findings that a test puts there."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock, self.state = FakeClock(), MemoryState()
        self.settings = AlertSettings(outbox=tmp_path / "outbox.jsonl")
        self.start()

    def start(self) -> None:
        self.book = Book(self.state, self.settings, self.clock)
        self.book.load()
        self.losses = Losses(self.state, self.book, self.clock)

    def put(self, *findings: Finding) -> None:
        self.state.put_many(Table.AUDIT, {each.key: finding_doc(each) for each in findings})
        self.step()

    def step(self) -> None:
        self.clock.advance(3)
        self.losses.read()
        self.losses.step()
        self.book.tend()

    @property
    def open(self) -> dict[str, Incident]:
        return {each.dedup_key: each for each in self.book.opens()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def finding(service: str = "pay", region: str = "eu", sink: str = "lake", instance: str = "") -> Finding:
    instance = instance or f"{service}-1"
    stream = f"{instance.replace('-', '')}000000.business"
    return Finding(sink, stream, region, service, instance, "business", "2026-11-21", 1_700_000_000.0, 7,
                   1_700_000_025.0, ((101, 150), (201, 201)), missing=51)  # fmt: skip


def filled(one: Finding) -> Finding:
    return replace(one.tried_again({"archive": one.holes}, "all of it was found"), holes=(), found=one.holes, missing=0,
                   ended_at=1_700_000_100.0)  # fmt: skip


def test_one_incident_names_the_ranges_and_its_end_names_the_evidence(desk: Desk) -> None:
    desk.put(finding(), finding(sink="elastic"), finding(instance="pay-2"))
    [incident] = desk.open.values()
    assert incident.kind == "lossy"
    assert incident.severity is Severity.PAGE
    assert incident.summary == "events of pay are lost in eu: elastic lacks 51 and lake lacks 102"
    assert "101–150, 201 of pay-1" in incident.why
    assert incident.evidence["findings"][0]["ranges"] == [[101, 150], [201, 201]]
    desk.put(*[filled(each) for each in (finding(), finding(sink="elastic"), finding(instance="pay-2"))])
    assert desk.open == {}
    over = desk.state.get(Table.INCIDENTS, incident.id)
    assert over is not None
    assert "business 101–150, 201 of pay-1; business 101–150, 201 of pay-2 came after all" in over.doc["amendments"][-1]
    assert "153 archive" in over.doc["amendments"][-1]


def test_what_is_given_up_is_not_said_to_have_come(desk: Desk) -> None:
    desk.put(finding())
    [incident] = desk.open.values()
    desk.put(finding().give_up(1_700_000_200.0))
    assert desk.open == {}
    over = desk.state.get(Table.INCIDENTS, incident.id)
    assert over is not None
    assert "given up, 51 events are lost: business 101–150, 201 of pay-1" in over.doc["amendments"][-1]


def test_of_three_services_in_a_region_there_is_one_incident_until_all_of_it_is_over(desk: Desk) -> None:
    desk.put(finding("pay"), finding("shop"))
    assert set(desk.open) == {"lossy/eu/pay", "lossy/eu/shop"}
    desk.put(finding("mail"))
    assert set(desk.open) == {"lossy/eu"}
    assert "3 services" in desk.open["lossy/eu"].summary
    desk.put(filled(finding("mail")), filled(finding("shop")))
    assert set(desk.open) == {"lossy/eu"}, "what is told wide stays so"
    desk.put(filled(finding("pay")))
    assert desk.open == {}


def test_a_restart_of_the_watch_opens_nothing_twice_and_closes_what_ended_meanwhile(desk: Desk) -> None:
    desk.put(finding())
    [before] = desk.open.values()
    desk.start()
    desk.step()
    [after] = desk.open.values()
    assert (before.id, before.reopened) == (after.id, after.reopened)
    desk.state.put_many(Table.AUDIT, {finding().key: finding_doc(filled(finding()))})
    desk.start()
    desk.step()
    assert desk.open == {}


def test_while_state_is_away_incidents_stay_as_they_are(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise Unavailable("State is away")

    desk.put(finding())
    monkeypatch.setattr(desk.state, "scan", away)
    desk.step()
    assert set(desk.open) == {"lossy/eu/pay"}


@pytest.mark.parametrize(
    "broken",
    [
        {"sink": "lake"},
        {**finding_doc(finding("shop")), "holes": [7]},
        {**finding_doc(finding("shop")), "since": "yesterday"},
        {**finding_doc(finding("shop")), "service": None},
        {**finding_doc(finding("shop")), "sources": ["archive"]},
    ],
)
def test_a_row_that_makes_no_sense_is_left_out_said_once_and_hides_no_other(
    desk: Desk, broken: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    desk.put(finding("pay"))
    desk.state.put_many(Table.AUDIT, {"finding/lake/x": broken})
    desk.put(finding("mail"))
    desk.put(filled(finding("pay")))
    assert set(desk.open) == {"lossy/eu/pay", "lossy/eu/mail"}, "the row may have been of pay"
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert "finding/lake/x" in caplog.text
    desk.state.delete(Table.AUDIT, "finding/lake/x")
    desk.step()
    assert set(desk.open) == {"lossy/eu/mail"}


def test_a_statement_that_makes_no_sense_ends_nothing_of_what_it_told(desk: Desk) -> None:
    other = Difference("2026-11-20", "eu", "business", "pay1000000.business", "elastic lacks 7–9, which the lake has")
    Writer(desk.state).write(Statement(Head(1.0, 1.0, differences=(other,), counted_at=5.0), ()))
    desk.step()
    for broken in ({"at": "x", "since": 1.0}, {"at": 1.0, "since": 1.0, "differences": [{"day": "2026-11-20"}]}):
        desk.state.put_many(Table.AUDIT, {"statement/head": broken})
        desk.step()
        assert set(desk.open) == {"lossy/store/eu"}


class Stuck(MemoryState):
    """Answers nothing of the audit until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = threading.Event(), threading.Event()

    def scan(self, table: Table, prefix: str = "") -> Iterator[Row]:
        if table is Table.AUDIT:
            self.asked.set()
            self.answer.wait(10)
        return super().scan(table, prefix)


def test_the_watch_goes_on_while_what_the_audit_found_is_not_answered(desk: Desk) -> None:
    stuck, stop = Stuck(), threading.Event()
    losses = Losses(stuck, desk.book, desk.clock)
    losses.step()
    thread = threading.Thread(target=losses.run, args=(stop,), daemon=True)
    thread.start()
    assert stuck.asked.wait(5)
    for _ in range(1_000):
        losses.step()
    assert thread.is_alive()
    stop.set()
    stuck.answer.set()
    thread.join(5)
    assert not thread.is_alive()


def test_reading_takes_at_most_a_tenth_of_the_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, read_at = threading.Event(), list[float]()

    def slow() -> bool:
        read_at.append(desk.clock.monotonic())
        desk.clock.advance(3.0)
        if len(read_at) == 5:
            stop.set()
        return True

    desk.losses.step()
    monkeypatch.setattr(desk.losses, "read", slow)
    desk.losses.run(stop)
    assert {later - before for before, later in pairwise(read_at)} == {3.0 * SHARE}


def test_liars_and_stores_that_differ_are_told_and_end(desk: Desk) -> None:
    liar = Liar("lake", "pay1000000.business", "eu", "pay", "pay-1", "overlap: 1-10 and 5-14")
    other = Difference("2026-11-20", "eu", "business", "pay1000000.business", "elastic lacks 7–9, which the lake has")
    writer = Writer(desk.state)
    writer.write(Statement(Head(1.0, 1.0, liars=(liar,), differences=(other,), counted_at=5.0), ()))
    desk.step()
    assert set(desk.open) == {"lying/eu/pay", "lossy/store/eu"}
    assert desk.open["lying/eu/pay"].severity is Severity.WARNING
    assert "elastic lacks 7–9" in desk.open["lossy/store/eu"].why
    for counted_at in (None, 5.0):
        writer.write(Statement(Head(2.0, 1.0, counted_at=counted_at), ()))
        desk.step()
        assert set(desk.open) == {"lossy/store/eu"}, "nobody has counted them again"
    writer.write(Statement(Head(2.0, 1.0, counted_at=6.0), ()))
    desk.step()
    assert desk.open == {}


def test_an_auditor_and_a_watch_on_one_state_tell_a_loss_in_time_and_its_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    world = Audited(state=desk.state)
    desk.clock = world.clock
    desk.start()
    pay = Sender(world)
    lost = pay.log(50)
    pay.send(lost=True)
    pay.beat()
    began = world.clock.monotonic()
    while not desk.open:
        world.run(1)
        desk.losses.read()
        desk.losses.step()
        assert world.clock.monotonic() - began < 25
    assert "1–50 of pay-1" in desk.open["lossy/eu/pay"].why
    world.journal.append([lost])
    world.run(3)
    desk.losses.read()
    desk.losses.step()
    assert desk.open == {}
