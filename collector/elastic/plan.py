"""What `lastbeat index plan` shows and `apply` does: the difference between the templates in code and the cluster.

Only what can be changed in place is changed in place. What can't (the number of shards, a field's type) holds from the
next day's index on, and is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collector.settings import ElasticSettings

from . import names, template
from .client import ElasticClient, quoted


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `now` and `then` are '' where there is nothing. `in_place`: `apply` changes it; else only
    indices that are made from now on have it."""

    where: str
    what: str
    now: str
    then: str
    in_place: bool = True

    def __str__(self) -> str:
        note = "" if self.in_place else "   (from the next index on)"
        return f"{self.where}: {self.what}  {self.now or '–'} → {self.then or '–'}{note}"


def plan(client: ElasticClient, settings: ElasticSettings) -> list[Change]:
    """Every difference. Changes nothing. Raises Unavailable."""
    changes: list[Change] = []
    for name, wanted in template.templates(settings).items():
        got = client.ask("GET", f"/_index_template/{quoted(name)}", allow=(404,)).get("index_templates", [])
        if not got:
            changes.append(Change(f"template {name}", "is missing", "", f"version {template.VERSION}"))
            continue
        has = {part: value for part, value in got[0]["index_template"].items() if part in wanted}  # no dates of changes
        changes += _differences(f"template {name}", _flat(_dotted(has)), _flat(_dotted(wanted)))
    for index, (had, mapped) in _indices(client, settings).items():
        parts = names.split(settings.prefix, index)
        assert parts is not None
        changes += _of_settings(index, had, template.index_settings(settings, parts[0], parts[1]))
        changes += _of_mappings(index, mapped)
    return changes


def apply(client: ElasticClient, settings: ElasticSettings) -> list[Change]:
    """Make the cluster as the plan says; what was changed. Safe to repeat. Raises Unavailable or ElasticError."""
    changes = plan(client, settings)
    for name, wanted in template.templates(settings).items():
        if any(change.where == f"template {name}" for change in changes):
            client.ask("PUT", f"/_index_template/{quoted(name)}", wanted)
    for index in {change.where for change in changes if change.in_place and not change.where.startswith("template ")}:
        mine = [change for change in changes if change.where == index and change.in_place]
        dynamic = {change.what: change.then for change in mine if change.what.startswith("index.")}
        if dynamic:
            client.ask("PUT", f"/{quoted(index)}/_settings", dynamic)
        if len(dynamic) < len(mine):
            fields = template.mappings()["properties"]
            new = {change.what.split(".")[0] for change in mine} & set(fields)
            client.ask("PUT", f"/{quoted(index)}/_mapping", {"properties": {name: fields[name] for name in new}})
    return changes


def _indices(client: ElasticClient, settings: ElasticSettings) -> dict[str, tuple[dict[str, str], dict[str, Any]]]:
    patterns = ",".join(names.event_patterns(settings.prefix))
    had = client.ask("GET", f"/{patterns}/_settings?flat_settings=true")
    mapped = client.ask("GET", f"/{patterns}/_mapping")
    return {
        index: (had[index]["settings"], mapped.get(index, {}).get("mappings", {}))
        for index in sorted(had)
        if names.split(settings.prefix, index) is not None
    }


def _of_settings(index: str, had: Mapping[str, str], wanted: Mapping[str, str]) -> list[Change]:
    return [
        Change(index, name, had.get(name, ""), value, in_place=name != "index.number_of_shards")
        for name, value in wanted.items()
        if had.get(name) != value
    ]


def _of_mappings(index: str, mapped: Mapping[str, Any]) -> list[Change]:
    """Fields that the index lacks can be added; those of another kind can't be changed."""
    had = _flat(mapped.get("properties", {}))
    changes: dict[str, Change] = {}
    for path, value in _flat(template.mappings()["properties"]).items():
        field = ".".join(part for part in path.split(".")[:-1] if part != "properties")
        if path not in had and not any(other.startswith(f"{path.rpartition('.')[0]}.") for other in had):
            changes.setdefault(field, Change(index, field, "", value))
        elif had.get(path) != value:
            changes[field] = Change(index, field, had.get(path, ""), value, in_place=False)
    return list(changes.values())


def _differences(where: str, had: Mapping[str, str], wanted: Mapping[str, str]) -> list[Change]:
    return [
        Change(where, name, had.get(name, ""), wanted.get(name, ""))
        for name in sorted(had.keys() | wanted.keys())
        if had.get(name, "") != wanted.get(name, "")
    ]


def _dotted(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A template with its settings as Elasticsearch gives them back: without the word `index` in front."""
    inner = dict(wanted["template"])
    inner["settings"] = {name.removeprefix("index."): value for name, value in _flat(inner.get("settings", {})).items()}
    return {**wanted, "template": inner}


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Nested JSON as one level of dotted names; all values as text, as Elasticsearch gives most of them back."""
    if isinstance(value, Mapping):
        found: dict[str, str] = {}
        for name, inner in value.items():
            found |= _flat(inner, f"{path}.{name}" if path else str(name))
        return found
    if isinstance(value, list):
        return _flat({str(position): inner for position, inner in enumerate(value)}, path)
    return {path: str(value).lower() if isinstance(value, bool) else str(value)}
