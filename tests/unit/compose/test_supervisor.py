"""What the supervisor looks after before it starts a role: its log, and that nobody else runs there."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from compose.running import running, tell
from compose.settings import Settings
from compose.supervisor import Role, Supervisor, put_aside_if_long
from shippers.clock import FakeClock
from shippers.errors import Misconfigured

LONG = 16 * 1024 * 1024 + 1


def test_a_role_starts_with_a_short_log_and_only_the_last_long_one_is_kept(tmp_path: Path) -> None:
    log, aside = tmp_path / "gateway.log", tmp_path / "gateway.log.1"
    put_aside_if_long(log)
    log.write_bytes(b"said")
    put_aside_if_long(log)
    assert (log.read_bytes(), aside.exists()) == (b"said", False)
    for last in (b"1", b"2"):
        log.write_bytes(last * LONG)
        put_aside_if_long(log)
        assert not log.exists()
        assert (aside.stat().st_size, aside.read_bytes()[:1]) == (LONG, last)


def test_a_second_platform_on_the_same_data_starts_nothing_and_the_first_is_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "_start", lambda _, role: pytest.fail(f"{role.name} was started"))
    settings = Settings(data=tmp_path)
    settings.run_path.mkdir()
    with closing(tell(settings)):
        with pytest.raises(Misconfigured, match=f"already, by process {os.getpid()}, its boards are at http"):
            Supervisor(settings, FakeClock()).__enter__()
        assert [file.name for file in settings.run_path.iterdir()] == ["up.json"]
        assert running(settings) is not None
    assert running(settings) is None


def test_a_role_that_cannot_be_started_for_a_while_is_started_later_and_the_others_are_looked_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, started = [OSError(11, "no process can be made now")] * 2, []
    supervisor = Supervisor(Settings(data=tmp_path), FakeClock())

    def start(_: Supervisor, role: Role) -> None:
        if role.name == "indexer" and failures:
            raise failures.pop()
        started.append(role.name)
        process: Any = type("Process", (), {"poll": lambda _: None})()
        role.process = process
        if len(started) == 2:
            supervisor._stop.set()

    monkeypatch.setattr(Supervisor, "_start", start)
    for name in ("indexer", "watch"):
        supervisor._running[name] = Role(name, tmp_path / f"{name}.log")
    supervisor._keep()
    assert started == ["watch", "indexer"]
