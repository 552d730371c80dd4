"""compose/docker-compose.yml as Docker Compose reads it: merged, its variables filled in. No engine is needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "compose"
FILE = FOLDER / "docker-compose.yml"
EXAMPLE = FOLDER / ".env.example"
ROLES = ("gateway", "indexer", "archiver", "watch", "auditor", "boards")

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<how>:-|:\?)(?P<rest>[^}]*))?\}|\$\$")


def services(environment: Mapping[str, str]) -> dict[str, Any]:
    """Every service, with these variables. Raises KeyError for one that must be set and isn't."""
    return dict(_filled(yaml.safe_load(FILE.read_text()), environment)["services"])


def variables() -> dict[str, str]:
    """Each variable that the file asks for, and how: `:-` has a default, `:?` must be set."""
    return {found["name"]: found["how"] or "" for found in _VARIABLE.finditer(FILE.read_text()) if found["name"]}


def example() -> dict[str, str]:
    """What .env.example sets, the lines that are commented out included."""
    lines = (line.removeprefix("# ") for line in EXAMPLE.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if re.match(r"[A-Z][A-Z_]*=", line))
    return {name: value.strip("'") for name, _, value in pairs}


def _filled(node: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, environment) for value in node]
    return _VARIABLE.sub(lambda found: _value(found, environment), node) if isinstance(node, str) else node


def _value(found: re.Match[str], environment: Mapping[str, str]) -> str:
    if not found["name"]:
        return "$"
    given = environment.get(found["name"], "")
    if not given and found["how"] == ":?":
        raise KeyError(found["name"])
    return given or (found["rest"] if found["how"] == ":-" else "")
