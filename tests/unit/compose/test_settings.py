"""Settings come from one file and the environment, and what is wrong in them is said where it stands."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compose import wiring
from compose.cli import app
from compose.settings import Settings, load, writable
from shippers.errors import Misconfigured

EXAMPLE = Path(__file__).parents[3] / "lastbeat.example.toml"


def refusal(folder: Path, text: str, said: str) -> str:
    """What is told of a settings file with this in it, which matches `said`."""
    file = folder / "lastbeat.toml"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=said) as caught:
        load(file)
    return str(caught.value)


def test_the_example_holds_every_setting_with_its_default() -> None:
    assert load(EXAMPLE).model_dump() == load().model_dump()
    written = tomllib.loads(EXAMPLE.read_text())
    told_by_comments = {"tokens", "services", "silences"}
    derived = {"outbox"}
    assert (written["data"], written["log_level"]) == (str(Settings().data), Settings().log_level)
    for name, section in Settings.model_fields.items():
        if name in ("data", "log_level", "kafka", "elastic"):  # not a section; absent unless wanted
            continue
        fields = set(type(section.default).model_fields) - told_by_comments - derived
        assert fields == set(written[name]) - told_by_comments, f"[{name}]"


def test_the_environment_wins_over_the_file_and_leaves_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lastbeat.toml"
    file.write_text('[gateway]\nport = 7500\nname = "east"\n')
    monkeypatch.setenv("LASTBEAT_GATEWAY__PORT", "7600")
    settings = load(file)
    assert (settings.gateway.port, settings.gateway.name) == (7600, "east")


def test_variables_of_services_are_none_of_the_platforms_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTBEAT_URL", "http://elsewhere")
    monkeypatch.setenv("LASTBEAT_SERVICE", "checkout")
    assert load().model_dump() == Settings().model_dump()


def test_a_role_logs_from_the_level_on_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[int] = []
    monkeypatch.setenv("LASTBEAT_LOG_LEVEL", "ERROR")
    monkeypatch.setattr(wiring, "run_watch", lambda _: levels.append(logging.getLogger().level))
    monkeypatch.setattr("compose.stopping.leave", lambda: None)
    before = logging.getLogger().level
    try:
        CliRunner().invoke(app, ["watch"])
    finally:
        logging.getLogger().setLevel(before)
    assert levels == [logging.ERROR]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[gateway]\nprot = 1\n", "gateway.prot"),
        ("[gateway]\nport = 99999\n", "gateway.port"),
        ("[gatway]\nport = 1\n", "gatway"),
        ('log_level = "LOUD"\n', "log_level"),
        ("[gateway\n", "not TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    assert str(tmp_path / "lastbeat.toml") in refusal(tmp_path, text, said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[gateway.tokens]]\ntoken = "hunter2"\nsha256 = "hunter2"\n', "not both"),
        ('[[gateway.tokens]]\nsha256 = "hunter2"\n', "64 hexadecimal"),
        ('[elastic]\npasswort = "hunter2"\n', "elastic.passwort"),
        ("[elastic]\npassword = 48151623\n", "elastic.password"),
        ('elastic = "https://elastic:hunter2@es:9200"\n', "elastic"),
        ('[elastic]\nurls = "https://elastic:hunter2@es:9200"\n', "elastic.urls"),
        ('[elastic]\nurls = ["https://elastic:hunter2@es:9200"]\n', "`user` and `password`"),
        ('[kafka]\npassword = ["hunter2"]\n', "kafka.password"),
        ('[[alerts.notifiers]]\nkind = "apprise"\nurl = "hunter2"\n', "apprise url"),
        ('[[alerts.notifiers]]\nheaders = { Authorization = ["hunter2"] }\n', "headers.Authorization"),
        ('[[alerts.notifiers]]\nheaders = "hunter2"\n', "headers"),
    ],
)
def test_no_secret_is_told(tmp_path: Path, text: str, said: str) -> None:
    told = refusal(tmp_path, text, said)
    assert "hunter2" not in told
    assert "48151623" not in told


def test_a_wrong_number_or_choice_is_told(tmp_path: Path) -> None:
    refusal(tmp_path, '[gateway]\nport = 99999\n[kafka]\nsecurity = "TLS"\n', r"(?s)got 99999.*got 'TLS'")


@pytest.mark.parametrize("name", ["LASTBEAT_ELASTIC__URLS", "LASTBEAT_ALERTS__NOTIFIERS", "LASTBEAT_GATEWAY"])
def test_a_list_in_the_environment_that_is_no_json_is_named_and_not_told(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://hunter2:9200")
    monkeypatch.setenv("LASTBEAT_ELASTIC__USER", "elastic")
    with pytest.raises(Misconfigured, match=f"^{name}: .*JSON") as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_utf8_or_can_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lastbeat.toml"
    file.write_bytes(b'data = "caf\xe9"\n')
    with pytest.raises(Misconfigured, match=r"lastbeat\.toml: not UTF-8"):
        load(file)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read anything
    with pytest.raises(Misconfigured, match=r"lastbeat\.toml: can't be read: Permission denied"):
        load(file)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no such file"):
        load(tmp_path / "none.toml")


def test_a_data_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    assert writable(tmp_path / "new" / "run").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match=r"file/run can't be written: Not a directory: .*LASTBEAT_DATA"):
        writable(tmp_path / "file" / "run")
