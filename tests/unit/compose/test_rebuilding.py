"""`lastbeat audit --rebuild` takes no folder that isn't the store for a store that lost everything."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alerts.state.memory import MemoryState
from alerts.state.sqlite import SqliteState
from collector.ledger.account import Total
from collector.ledger.keeper import LedgerKeeper
from collector.ledger.rebuild import Rebuilt
from collector.ledger.view import LedgerView
from compose import wiring
from compose.cli import app
from compose.settings import Settings
from shippers.clock import FakeClock
from shippers.errors import Misconfigured
from tests.unit.ledger.given import STREAM, header, outcome
from tests.unit.ledger.test_keeper import TP, keep


def audit(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["audit", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def known() -> list[str]:
    with closing(SqliteState(Settings().ledger_path)) as state:
        view = LedgerView(state)
        view.refresh()
        return [STREAM] if view.account("lake", STREAM) is not None else []


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger of a lake that is not here, in the data folder that is asked."""
    monkeypatch.setenv("LASTBEAT_DATA", str(tmp_path))
    with closing(SqliteState(Settings().ledger_path)) as state:
        keeper = LedgerKeeper(state, "lake", FakeClock(1_795_262_400.0))
        keeper.load([TP], {})
        keep(keeper, [outcome(0, header(1, 10))])


@pytest.mark.usefixtures("ledger")
def test_a_store_that_holds_nothing_empties_no_ledger_unless_somebody_insists(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=f"{tmp_path}/lake holds nothing, and the ledger knows 1 streams"):
        audit("--rebuild")
    assert known() == [STREAM]
    assert "lake: 0 streams" in audit("--rebuild", "--even-empty")
    assert known() == []
    assert "lake: 0 streams" in audit("--rebuild")


def test_where_the_archive_is_not_that_is_said_and_its_ledger_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LASTBEAT_DATA", str(tmp_path))
    monkeypatch.setenv("LASTBEAT_ELASTIC__URLS", '["http://127.0.0.1:9"]')
    monkeypatch.setattr(wiring, "open_ledger", lambda _: MemoryState())
    monkeypatch.setattr("collector.ledger.rebuild.would_forget", lambda *_: 0)
    monkeypatch.setattr("collector.ledger.rebuild.rebuild", lambda *_: Rebuilt(3, Total()))
    said = audit("--rebuild")
    assert f"there is no lake at {tmp_path}/lake; ask where the archiver runs" in said
    assert "elastic: 3 streams" in said
    assert "lake: " not in said
