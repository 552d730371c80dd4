"""docker-compose.yml is one that Docker Compose takes, opens nothing to the network, and names only what there is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import yaml

from compose.settings import load
from tests.compose_file import FILE, FOLDER, ROLES, example, services, variables

SERVERS = ("kafka", "elasticsearch", "grafana")
SET = {name: value for name, value in example().items() if variables().get(name) == ":?"}


def test_it_is_valid_by_the_specifications_own_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_all_roles_and_servers_are_there_and_the_roles_share_one_image() -> None:
    found = services(SET)
    assert set(found) == {*ROLES, *SERVERS}
    assert {found[role]["image"] for role in ROLES} == {"lastbeat:local"}
    assert {role for role in ROLES if "build" in found[role]} == {"gateway"}  # which no profile leaves out
    assert not found["gateway"].get("profiles")
    assert {found[role]["pull_policy"] for role in ROLES} == {"never"}
    assert [found[role]["command"] for role in ROLES] == [["lastbeat", role] for role in ROLES]
    for name in SERVERS:
        assert re.search(r":\d+\.\d+", found[name]["image"]), f"{name} is not pinned"


def test_what_is_published_is_published_on_loopback() -> None:
    published = [port for service in services(SET).values() for port in service.get("ports", ())]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", [*ROLES, *SERVERS])
def test_each_is_capped_probed_restarted_and_given_time_to_end(name: str) -> None:
    service = services(SET)[name]
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert int(service["stop_grace_period"].removesuffix("s")) >= 10
    for needed in service.get("depends_on", {}).values():  # `required` as a profile may leave it out
        assert needed == {"condition": "service_healthy", "required": False}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_no_more_rights_than_it_needs(role: str) -> None:
    service = services(SET)[role]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "USER lastbeat" in (FOLDER / "Dockerfile").read_text()


def test_only_who_has_the_archive_has_a_lake_in_its_data_folder() -> None:
    made = re.findall(r"install --directory .* lastbeat (/.*?) *\\?\n", (FOLDER / "Dockerfile").read_text())
    folders = set(made[0].split())
    for role, service in ((role, services(SET)[role]) for role in ROLES):
        data = service["environment"]["LASTBEAT_DATA"]
        mounted = {volume.split(":")[1] for volume in service.get("volumes", ()) if volume.startswith("lake:")}
        assert data in folders
        assert (f"{data}/lake" in folders) is (role in ("archiver", "auditor"))
        assert mounted == ({f"{data}/lake"} if role in ("archiver", "auditor") else set())


def test_heaps_are_half_of_what_their_server_may_have() -> None:
    found = services(SET)
    assert "-Xmx384m" in found["kafka"]["environment"]["KAFKA_HEAP_OPTS"]
    assert "-Xmx1g" in found["elasticsearch"]["environment"]["ES_JAVA_OPTS"]
    assert (found["kafka"]["mem_limit"], found["elasticsearch"]["mem_limit"]) == ("1g", "2g")


def test_a_plain_up_with_the_example_runs_everything() -> None:
    profiles = set(example()["COMPOSE_PROFILES"].split(","))
    assert all(not service.get("profiles") or profiles & set(service["profiles"]) for service in services(SET).values())


def test_secrets_come_from_env_alone_and_the_example_explains_each_variable() -> None:
    secret = {name for name in variables() if re.search("PASSWORD|TOKENS", name)}
    assert {name for name, how in variables().items() if how == ":?"} == secret
    optional = {"LASTBEAT_VERSION", "LASTBEAT_GATEWAY__PUBLIC_URL", "LASTBEAT_ELASTIC__PREFIX"}
    assert variables().keys() - optional <= example().keys()
    for name in secret:
        assert "change-me" in example()[name]
        with pytest.raises(KeyError, match=name):
            services({other: value for other, value in SET.items() if other != name})
    assert ".env" in (FOLDER.parent / ".gitignore").read_text()


def settings_with(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> Any:
    monkeypatch.chdir(FOLDER)  # where no lastbeat.toml of a person's own is
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    return load()


@pytest.mark.parametrize("role", ROLES)
def test_every_setting_in_it_is_one(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {**example(), **services(SET)[role]["environment"]}
    known = settings_with(monkeypatch, own).model_dump()
    for name in own:
        if name.startswith("LASTBEAT_"):
            section, _, field = name.removeprefix("LASTBEAT_").lower().partition("__")
            assert section in known if not field else field in known[section], f"{name} sets nothing"


def test_a_role_is_probed_and_published_at_its_own_port_whatever_stands_in_env(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {"GATEWAY__PORT", "BOARDS__PORT", *(f"HEALTH__{role.upper()}" for role in ROLES if role != "gateway")}
    in_env = {"LASTBEAT_DATA": "/elsewhere"} | {f"LASTBEAT_{name}": 7500 for name in ports}
    exposed = set(re.findall(r"\d+", re.findall("EXPOSE (.*)", (FOLDER / "Dockerfile").read_text())[0]))
    for role in ROLES:
        service = services(SET)[role]
        settings = settings_with(monkeypatch, in_env | service["environment"])
        assert settings.data.as_posix() in ("/data", "/archive")
        reached = {"gateway": settings.gateway.port, "boards": settings.boards.port}
        assert all(port.endswith(f":{reached[role]}") for port in service.get("ports", ()))
        port = settings.gateway.port if role == "gateway" else getattr(settings.health, role)
        assert f"http://127.0.0.1:{port}/ready" in service["healthcheck"]["test"][-1]
        assert {str(port), str(reached.get(role, port))} <= exposed


def test_the_image_holds_every_folder_and_every_extra_that_a_role_imports() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text()
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())
    for part in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        assert f"COPY {part} /src/" in dockerfile
        assert f"!{part}\n" in (FOLDER.parent / ".dockerignore").read_text()
    assert "('platform', 'elastic', 'kafka')" in dockerfile
    assert "--constraint /src/constraints.txt" in dockerfile


def test_grafana_is_given_what_its_datasources_ask_for() -> None:
    provisioned = (FOLDER / "grafana" / "datasources.yml").read_text()
    asked = set(re.findall(r"\$([A-Z_]+)", provisioned))
    assert asked <= services(SET)["grafana"]["environment"].keys()
    assert {source["type"] for source in yaml.safe_load(provisioned)["datasources"]} == {"elasticsearch"}
