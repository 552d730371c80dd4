"""What the supervisor does about its roles' logs."""

from __future__ import annotations

from pathlib import Path

from compose.supervisor import put_aside_if_long

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
