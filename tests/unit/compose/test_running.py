"""A second terminal finds the platform that runs on its data folder, and only one that runs."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from collector.settings import ElasticSettings, KafkaSettings
from compose.running import find, running, tell
from compose.settings import Settings
from shippers.errors import Misconfigured

STACK = {
    "kafka": KafkaSettings(bootstrap="127.0.0.1:4092"),
    "elastic": ElasticSettings(urls=("http://127.0.0.1:4200",)),
}


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that a supervisor runs with: ports and servers that no other terminal could know."""
    monkeypatch.chdir(tmp_path)
    plain = Settings()
    plain.run_path.mkdir(parents=True)
    gateway = plain.gateway.model_copy(update={"port": 4242})
    boards = plain.boards.model_copy(update={"port": 4243})
    return plain.model_copy(update={"gateway": gateway, "boards": boards, **STACK})


def test_its_ports_and_servers_are_used_while_it_runs(up: Settings) -> None:
    with closing(tell(up)):
        assert find(None).model_dump() == up.model_dump()
    assert find(None).model_dump() == Settings().model_dump()


def test_the_embedded_form_names_no_servers(up: Settings) -> None:
    with closing(tell(up.model_copy(update={"kafka": None, "elastic": None}))):
        assert (find(None).kafka, find(None).elastic, find(None).gateway.port) == (None, None, 4242)


def test_what_a_dead_process_left_is_not_believed_even_if_its_number_lives_again(up: Settings) -> None:
    tell(up).close()
    left = json.loads((up.run_path / "up.json").read_text())
    assert left["pid"] == os.getpid()
    assert running(Settings()) is None


def test_a_new_platform_is_found_where_an_old_one_left_its_file(up: Settings) -> None:
    tell(up).close()
    with closing(tell(up.model_copy(update={"kafka": None}))):
        found = running(Settings())
    assert found is not None
    assert found.kafka == ""
    assert [path.name for path in up.run_path.iterdir()] == ["up.json"]


def test_what_the_settings_name_explicitly_stays(up: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("lastbeat.toml").write_text('[kafka]\nbootstrap = "kafka-1:9092"\n[elastic]\nuser = "reader"\n')
    with closing(tell(up)):
        found = find(None)
        assert (found.kafka, found.elastic) == (
            KafkaSettings(bootstrap="kafka-1:9092"),
            ElasticSettings(user="reader", urls=("http://127.0.0.1:4200",)),
        )
        monkeypatch.setenv("LASTBEAT_ELASTIC__URLS", '["http://es-1:9200"]')
        explicit = find(None).elastic
    assert explicit is not None
    assert explicit.urls == ("http://es-1:9200",)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x"}'])
def test_a_file_that_says_nothing_is_nothing(up: Settings, text: str) -> None:
    with closing(tell(up)) as file:
        file.truncate(0)
        file.seek(0)
        file.write(text)
        file.flush()
        assert running(Settings()) is None


def test_where_there_is_no_platform_no_command_answers_and_none_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Misconfigured, match=f"no platform at {tmp_path}/lastbeat-data: .*--config"):
        find(None)
    Path("lastbeat.toml").write_text("[kafka]\n")  # the lake and the state are files yet
    with pytest.raises(Misconfigured, match="no platform"):
        find(None)
    Path("lastbeat.toml").write_text("[elastic]\n")
    assert find(None).elastic == ElasticSettings()
    assert [path.name for path in tmp_path.iterdir()] == ["lastbeat.toml"]
