"""The port's questions in Elasticsearch's query language. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.ports import BY, Where
from shippers.errors import Unavailable

from . import names

Query = dict[str, Any]

FIELDS = {
    "service": "service.name",
    "region": "cloud.region",
    "level": "log.level",
    "version": "service.version",
    "instance": "service.node.name",
    "action": "event.action",
    "outcome": "event.outcome",
    "logger": "log.logger",
}
"""Where each of BY is kept; `application` is two of them."""

MAX_TERMS = 60_000
"""Fewer than the 65,536 buckets that an answer may have."""

_ID_FIELDS = ("trace.id", "span.id", "transaction.id", "labels")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = 9_214_646_400 * 1_000_000
_SPECIAL = re.compile(r"([*?\\])")
_OPERATOR = re.compile(r"""[.?+*|{}\[\]()"\\^$]""")
_SAID = ("message", "error.message")
_LONG_WORD, _LONGEST_WORD, _STATES = 64, 450, 1_000_000  # Elasticsearch takes patterns of 1,000 characters


def query_of(where: Where, *, timed: bool = True) -> Query:
    """Which documents `where` is about, of the indices that `patterns` names: those are of its datasets alone. So a
    question about all of a day is about all of an index, which Elasticsearch answers without looking at every event.
    """
    filters: list[Query] = []
    if timed:
        filters.append(between(where.start, where.end))
    for field, values in (
        ("cloud.region", where.regions),
        ("service.name", where.services),
        ("log.level", where.levels),
        ("service.version", where.versions),
        ("service.node.name", where.instances),
        ("event.action", where.actions),
    ):
        if values:
            filters.append(_one_of(field, values))
    if where.errors:
        filters.append(
            either([{"terms": {"log.level": ["ERROR", "CRITICAL"]}}, {"term": {"event.outcome": "failure"}}])
        )
    filters += [containing(word) for word in where.text.lower().split()]
    if where.ids:
        filters.append(found_by(where.ids))
    return {"bool": {"filter": filters}}


def _one_of(field: str, values: Sequence[str]) -> Query:
    """One of these; '' stands for what is absent."""
    found: Query = {"terms": {field: list(values)}}
    return either([found, {"bool": {"must_not": {"exists": {"field": field}}}}]) if "" in values else found


def between(start: float, end: float) -> Query:
    """Times from `start` up to but not including `end`."""
    return {"range": {"@timestamp": {"gte": _iso(start), "lt": _iso(end)}}}


def containing(word: str) -> Query:
    """The word in the message or the error's: in lower case, as both are kept. A long one (Chinese has no spaces) may
    need more states than a wildcard is given. Raises Unavailable if it is too long."""
    if len(word) > _LONG_WORD:
        if len(word) > _LONGEST_WORD:
            raise Unavailable(f"a word of {len(word)} characters can't be looked for: give {_LONGEST_WORD} of them")
        value = {
            "value": ".*" + _OPERATOR.sub(r"\\\g<0>", word) + ".*",
            "flags": "NONE",
            "max_determinized_states": _STATES,
        }
        return either([{"regexp": {field: value}} for field in _SAID])
    pattern = "*" + _SPECIAL.sub(r"\\\1", word) + "*"
    return either([{"wildcard": {field: {"value": pattern}}} for field in _SAID])


def found_by(ids: Iterable[str]) -> Query:
    """Exactly one of these as trace, span or transaction id, or as the value of any label."""
    return either([{"terms": {field: list(ids)}} for field in _ID_FIELDS])


def either(queries: Sequence[Query]) -> Query:
    """At least one of them."""
    return {"bool": {"should": list(queries), "minimum_should_match": 1}}


def split_by(by: str | None, inner: Query) -> Query:
    """Aggregations that split by one of BY ('' where an event has none), with `inner` inside each part."""
    if by is None:
        return inner
    if by == "application":
        return split_by("region", split_by("service", inner))
    terms = {"field": FIELDS[by], "size": MAX_TERMS, "missing": ""}
    return {"parts": {"terms": terms, **({"aggs": inner} if inner else {})}}


def parts_of(by: str | None, aggregations: Query) -> list[tuple[str, Query]]:
    """The parts of an answer to `split_by`: each value with what is inside of it."""
    if by is None:
        return [("", aggregations)]
    buckets = [(str(bucket["key"]), bucket) for bucket in aggregations["parts"]["buckets"]]
    if by == "application":
        return [
            (f"{region}/{service}", part) for region, bucket in buckets for service, part in parts_of("service", bucket)
        ]
    return buckets


def check_by(by: str | None) -> None:
    """Raises ValueError for what nothing can be split by."""
    if by is not None and by not in BY:
        raise ValueError(f"can't split by {by!r}: it must be one of {', '.join(BY)}")


def patterns(prefix: str, where: Where) -> str:
    """The indices that can hold what `where` asks for, as a path."""
    found = names.event_patterns(prefix, where.datasets)
    if 0 < len(where.regions) <= 20:
        found = [f"{pattern[:-1]}{region}-*" for pattern in found for region in where.regions]
    return ",".join(found)


def _iso(at: float) -> str:
    us = min(max(round(at * 1_000_000), 0), _LATEST_US)
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")
