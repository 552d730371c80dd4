"""What the command line says of the fleet, incidents and logs."""

from __future__ import annotations

import dataclasses

import pytest

from alerts.fleet import ServiceRow
from alerts.incidents import Incident, Severity, Status
from alerts.staleness import Verdict
from alerts.state.memory import MemoryState
from collector.memory import MemoryStore
from collector.ports import Event, Table, Where
from compose.inquiries import print_fleet, print_incidents, print_logs, where_of
from shippers.clock import FakeClock
from shippers.errors import Misconfigured

NOW = 1_700_000_000.0
UP = ServiceRow("cn-east", "payment", Verdict.UP, "", NOW - 100, NOW - 3, 2, 2, 1, versions=("1.4.2",))
DOWN = ServiceRow("cn-north", "channel-wechat", Verdict.DOWN, "no instance lives", NOW - 192, NOW - 192, 0, 3, 1)
INCIDENT = Incident(
    "i1", "down:cn-north/channel-wechat", "down", Severity.PAGE, Status.FIRING, "cn-north", "channel-wechat", "", "",
    "channel-wechat is down in cn-north", "no instance lives", NOW - 192, NOW - 170,
)  # fmt: skip


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def state_with(*rows: ServiceRow, incidents: tuple[Incident, ...] = ()) -> MemoryState:
    state = MemoryState()
    state.put_many(Table.FLEET, {row.key: dataclasses.asdict(row) for row in rows})
    state.put_many(Table.INCIDENTS, {incident.id: dataclasses.asdict(incident) for incident in incidents})
    return state


def test_the_fleet_is_listed_worst_first_and_says_so_by_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_fleet(state_with(UP, DOWN), NOW) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in lines[1:]] == [["DOWN", "channel-wechat"], ["UP", "payment"]]
    assert "3 min 12 s ago" in lines[1]
    assert "0/1" in lines[1]
    assert print_fleet(state_with(UP), NOW) == 0


def test_an_empty_fleet_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_fleet(MemoryState(), NOW) == 0
    assert "Three lines" in capsys.readouterr().out


def test_open_incidents_come_before_resolved_ones(capsys: pytest.CaptureFixture[str]) -> None:
    resolved = dataclasses.replace(INCIDENT, id="i2", status=Status.RESOLVED, resolved_at=NOW - 10, opened_at=NOW - 20)
    assert print_incidents(state_with(incidents=(resolved, INCIDENT)), NOW) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "i1" in lines[0]
    assert "i2" in lines[2]
    assert "resolved after 3 min 2 s" in lines[2]


def test_the_newest_logs_are_printed_oldest_first(capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock(NOW)
    store = MemoryStore(clock)
    for number in range(1, 6):
        store.add(
            Event(NOW - 60 + number, "aaaaaaaa.business", number, f"paid {number}", "INFO", dataset="business",
                  service="payment", region="cn-east", duration_ns=87_000_000, labels={"order_id": "A1"})
        )  # fmt: skip
    assert print_logs(store, clock, Where(NOW - 3600, NOW + 60), 3, follow=False, place="files") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("paid ")[1][0] for line in lines] == ["3", "4", "5"]
    assert "87 ms order_id=A1" in lines[0]


def test_that_there_are_no_logs_is_said_with_where_they_were_looked_for(capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock(NOW)
    assert print_logs(MemoryStore(clock), clock, Where(NOW - 10, NOW), 3, follow=False, place="files in x") == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("no such events since ")
    assert shown.err.endswith(" in files in x\n")


def test_a_message_is_never_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock(NOW)
    store = MemoryStore(clock)
    store.add(Event(NOW - 1, "aaaaaaaa.business", 1, "[red]x[/red] [1:2]", dataset="business", service="payment"))
    print_logs(store, clock, Where(NOW - 10, NOW + 1), 3, follow=False, place="files")
    assert "[red]x[/red] [1:2]" in capsys.readouterr().out


def test_the_options_of_logs_become_one_question() -> None:
    where = where_of(NOW, "2h", ["payment"], None, ["error"], errors=True, id="A1", text="refused card")
    assert where == Where(
        NOW - 7200, NOW + 60, services=("payment",), levels=("ERROR",), errors=True, ids=("A1",), text="refused card"
    )
    with pytest.raises(Misconfigured, match="--since"):
        where_of(NOW, "yesterday", None, None, None, errors=False, id=None, text="")
