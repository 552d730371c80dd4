"""The demo empties its own folder, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.demo.folder import fresh
from shippers.errors import Misconfigured


def test_a_new_folder_is_made_and_its_own_old_data_is_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "demo"
    with fresh(folder) as emptied:
        assert not emptied
        (folder / "lake").mkdir()
        (folder / "lake" / "part").write_text("x")
        (folder / "state.db").write_text("x")
    with fresh(folder) as emptied:
        assert emptied
        assert [path.name for path in folder.iterdir()] == [".lastbeat-demo"]


def test_what_a_link_points_to_is_left_alone(tmp_path: Path) -> None:
    folder, other = tmp_path / "demo", tmp_path / "precious"
    other.mkdir()
    (other / "file").write_text("x")
    with fresh(folder):
        (folder / "link").symlink_to(other)
    with fresh(folder):
        assert (other / "file").exists()


def test_somebody_elses_folder_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Misconfigured, match="--data"), fresh(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with fresh(tmp_path / "demo"):
        (tmp_path / "demo" / "state.db").write_text("x")
        with pytest.raises(Misconfigured, match="another demo"), fresh(tmp_path / "demo"):
            pass
        assert (tmp_path / "demo" / "state.db").exists()
