"""How the indices are built: mappings and settings, from code. Pure; `plan` brings them to the cluster.

No field of any service can make another's event be rejected: what isn't listed here is kept but not indexed, what the
caller adds goes to `labels` (text) and `measures` (numbers, at most MEASURES names an index), where nothing conflicts.
An index is only ever made explicitly (`allow_auto_create` is off): so no late event brings a deleted day back.
"""

from __future__ import annotations

from typing import Any

from collector.settings import ElasticSettings

from . import names

VERSION = 1
MEASURES = 200
MAX_VALUE_CHARS = 1_024
MAX_LABEL_CHARS = 4_096
"""As many as a shipper lets through."""
MAX_MESSAGE_CHARS = 8_191
"""Longer messages are kept, but not found by their words: a term of Lucene has at most 32,766 bytes."""

_TEXT = {"type": "keyword", "ignore_above": MAX_VALUE_CHARS}
_WORDS = {"type": "keyword", "ignore_above": MAX_MESSAGE_CHARS, "normalizer": "lowercase", "doc_values": False}
_WHOLE = {"type": "long", "ignore_malformed": True}
_NUMBER = {"type": "double", "ignore_malformed": True}

_EVENT: dict[str, Any] = {
    "@timestamp": {"type": "date_nanos", "format": "strict_date_optional_time_nanos"},
    "message": _WORDS,
    "log": {"level": _TEXT, "logger": _TEXT},
    "event": {
        "dataset": _TEXT,
        "action": _TEXT,
        "outcome": _TEXT,
        "duration": _WHOLE,
        "stream": _TEXT,
        "sequence": _WHOLE,
    },
    "service": {"name": _TEXT, "version": _TEXT, "environment": _TEXT, "node": {"name": _TEXT}},
    "cloud": {"region": _TEXT, "availability_zone": _TEXT},
    "host": {"name": _TEXT},
    "trace": {"id": _TEXT},
    "span": {"id": _TEXT},
    "transaction": {"id": _TEXT},
    "error": {"type": _TEXT, "message": _WORDS},
    "labels": {"type": "flattened", "ignore_above": MAX_LABEL_CHARS},
    "measures": {"type": "object", "dynamic": True, "subobjects": False},
}
_BEAT: dict[str, Any] = {
    "heartbeat": {
        "state": _TEXT,
        **dict.fromkeys(("interval_s", "grace_s", "uptime_s", "cpu_percent"), _NUMBER),
        **dict.fromkeys(("queue_events", "queue_bytes", "spool_bytes", "memory_bytes"), _WHOLE),
        **dict.fromkeys(("io_read_bytes", "io_write_bytes", "threads", "open_files"), _WHOLE),
    }
}


def mappings() -> dict[str, Any]:
    """The mappings of every event index."""
    return {
        "dynamic": False,
        "_meta": {"lastbeat": VERSION},
        "dynamic_templates": [
            {"measures": {"path_match": "measures.*", "match_mapping_type": "*", "mapping": dict(_NUMBER)}}
        ],
        "properties": {name: _property(spec) for name, spec in (_EVENT | _BEAT).items()},
    }


def index_settings(settings: ElasticSettings, dataset: str, region: str) -> dict[str, Any]:
    """The settings of one dataset's and region's indices; the narrower of [elastic.indices] wins."""
    chosen = {"shards": settings.shards, "replicas": settings.replicas, "refresh_s": settings.refresh_s}
    for name in (dataset, f"{dataset}/{region}"):
        if name in settings.indices:
            chosen |= {key: value for key, value in settings.indices[name] if value is not None}
    return {
        "index.number_of_shards": str(int(chosen["shards"])),
        "index.number_of_replicas": str(int(chosen["replicas"])),
        "index.refresh_interval": f"{round(chosen['refresh_s'] * 1000)}ms",
    }


def event_template(settings: ElasticSettings) -> dict[str, Any]:
    """The template of all event indices; what differs by dataset and region is said when an index is made."""
    return {
        "index_patterns": names.event_patterns(settings.prefix),
        "priority": 500,
        "allow_auto_create": False,
        "_meta": {"lastbeat": VERSION},
        "template": {
            "settings": {
                **index_settings(settings, "", ""),
                "index.codec": "best_compression",
                "index.sort.field": ["@timestamp"],
                "index.sort.order": ["desc"],
                "index.mapping.total_fields.limit": str(_fields_in(mappings()["properties"]) + MEASURES),
                "index.mapping.total_fields.ignore_dynamic_beyond_limit": "true",
            },
            "mappings": mappings(),
        },
    }


def dead_template(settings: ElasticSettings) -> dict[str, Any]:
    """The template of the dead letters: everything that was known, the original bytes in base64."""
    kept = {"type": "keyword", "index": False, "doc_values": False}
    text = ("stream", "region", "service", "dataset", "instance", "day", "kind", "source")
    return {
        "index_patterns": [f"{settings.prefix}-dead-*"],
        "priority": 500,
        "_meta": {"lastbeat": VERSION},
        "template": {
            "settings": {"index.number_of_shards": "1", "index.number_of_replicas": str(settings.replicas)},
            "mappings": {
                "dynamic": False,
                "properties": {
                    "at": {"type": "double"},
                    "first": {"type": "long"},
                    "count": {"type": "long"},
                    **{name: dict(_TEXT) for name in text},
                    "reason": kept,
                    "original": kept,
                },
            },
        },
    }


def state_template(settings: ElasticSettings) -> dict[str, Any]:
    """The template of State's tables: rows are found by key alone."""
    kept = {"type": "keyword", "index": False, "doc_values": False}
    return {
        "index_patterns": [f"{settings.prefix}-state-*"],
        "priority": 500,
        "_meta": {"lastbeat": VERSION},
        "template": {
            "settings": {"index.number_of_shards": "1", "index.number_of_replicas": str(settings.replicas)},
            "mappings": {"dynamic": False, "properties": {"key": {"type": "keyword"}, "doc": kept}},
        },
    }


def templates(settings: ElasticSettings) -> dict[str, dict[str, Any]]:
    """All templates, by name."""
    return {
        f"{settings.prefix}-events": event_template(settings),
        f"{settings.prefix}-dead": dead_template(settings),
        f"{settings.prefix}-state": state_template(settings),
    }


def _property(spec: dict[str, Any]) -> dict[str, Any]:
    if isinstance(spec.get("type"), str):
        return dict(spec)
    return {"properties": {name: _property(inner) for name, inner in spec.items()}}


def _fields_in(properties: dict[str, Any]) -> int:
    """As Elasticsearch counts them against its limit: objects too."""
    return sum(1 + _fields_in(each.get("properties", {})) for each in properties.values())
