"""Letters from before their sender's instance and day were kept stay readable, and their table takes new ones."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from collector.dead_letters import Among, DeadLetter, id_of
from collector.lake import rows, schema
from collector.lake.dead import LakeDeadLetters, dead_letters_in
from collector.lake.files import DataFile, write_file
from collector.lake.table import LakeTable
from collector.lake.upkeep import Upkeep
from shippers.clock import FakeClock
from tests.unit.lake.events import NOON, PAY, batch, record, sink_at

OLD = pa.schema([field for field in schema.DEAD_LETTERS if field.name not in ("instance", "day")])


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake with two letters as they were kept before."""
    with monkeypatch.context() as before:
        before.setattr(schema, "DEAD_LETTERS", OLD)
        before.setattr(rows, "DEAD_LETTERS", OLD)
        with closing(sink_at(tmp_path)) as sink:
            sink.write([record(0, batch(1, 3, bad=(2,)))])
            sink.write([record(1, batch(4, 3, bad=(5,)))])
    assert "day" not in {field.name for field in DeltaTable(tmp_path / "dead").schema().fields}
    return tmp_path


def letters(lake: Path) -> list[tuple[str, str, str]]:
    return sorted((id_of(letter), letter.instance, letter.day) for letter in dead_letters_in(lake))


def test_old_letters_are_read_beside_new_ones(lake: Path) -> None:
    assert letters(lake) == [(f"{PAY}:2", "", ""), (f"{PAY}:5", "", "")]
    with closing(sink_at(lake)) as sink:
        sink.write([record(2, batch(7, 1, bad=(7,)))])
    assert letters(lake) == [(f"{PAY}:2", "", ""), (f"{PAY}:5", "", ""), (f"{PAY}:7", "pay-01", "2025-11-21")]
    assert {field.name for field in DeltaTable(lake / "dead").schema().fields} >= {"day", "instance"}


def test_old_letters_can_be_dropped_and_merged(lake: Path) -> None:
    keeper = LakeDeadLetters(lake, FakeClock(NOON))
    keeper.drop([letter for letter in dead_letters_in(lake) if letter.first == 2])
    assert letters(lake) == [(f"{PAY}:5", "", "")]
    with closing(sink_at(lake, FakeClock(NOON + 3 * 86_400))) as sink:
        sink.write([record(2, batch(7, 1, bad=(7,)))])
        Upkeep(sink).compact("2025-11-21")
    assert [one[0] for one in letters(lake)] == [f"{PAY}:5", f"{PAY}:7"]


def test_a_letter_is_dropped_while_the_sink_writes_and_neither_loses_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = LakeDeadLetters(tmp_path, FakeClock(NOON))
    with closing(sink_at(tmp_path)) as sink:
        sink.write([record(0, batch(1, 3, bad=(2,)))])
        sink.write([record(1, batch(4, 3, bad=(5,)))])
        [letter] = keeper.find(Among(reason="not JSON", since=NOON), 10)[:1]
        commit, interfered = LakeTable.commit, [False]

        made: list[str] = []

        def noting(root: Path, *rest: Any) -> DataFile:
            file = write_file(root, *rest)
            made.append(file.path)
            return file

        def late(table: LakeTable, **changes: object) -> None:
            if changes.get("removes") and not interfered[0]:
                interfered[0] = True
                sink.write([record(2, batch(7, 3, bad=(8,)))])
            commit(table, **changes)  # type: ignore[arg-type]

        monkeypatch.setattr(LakeTable, "commit", late)
        monkeypatch.setattr("collector.lake.dead.write_file", noting)
        keeper.drop([letter])
    assert interfered == [True]
    left = {f"{PAY}:2", f"{PAY}:5", f"{PAY}:8"} - {id_of(letter)}
    assert {one[0] for one in letters(tmp_path)} == left
    named = {file.path for file in LakeTable(tmp_path / "dead", "dead").files()}
    on_disk = {str(path.relative_to(tmp_path / "dead")) for path in (tmp_path / "dead").rglob("*.parquet")}
    assert {path for path in made if path in on_disk} <= named, "nothing of the refused attempt is left"


def test_an_old_letter_is_sent_again_on_the_day_of_its_own_event() -> None:
    from collector.replay import remade

    original = b'{"@timestamp":"2025-11-21T01:00:00+02:00","message":"x"}'
    old = DeadLetter(PAY, 7, 1, "cn-east", "payment", "business", "mapper: no", "t/0/1", original, NOON)
    assert remade(old).header.day == "2025-11-20"
    broken = DeadLetter(PAY, 7, 1, "cn-east", "payment", "business", "not JSON", "t/0/1", b"no", NOON)
    mended = b'{"@timestamp":"2025-11-19T01:00:00Z","message":"x"}'
    assert remade(broken, mended).header.day == "2025-11-21", "by when it came, whatever it is mended with"
