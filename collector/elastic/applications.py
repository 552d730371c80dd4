"""How many events each application (region/service) has, counted without looking at every event.

Elasticsearch knows how often a single value occurs; of pairs it has to look at each document. But where all events are
of one region, the counts of the services are those of the pairs; and an index holds one region, as a rule. Only where
that turns out to be otherwise every document is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from collector.ports import Where

from .query import FIELDS, MAX_TERMS, Query, parts_of, query_of, split_by

_REGIONS = 20


class _Flat(NamedTuple):
    """How often each value occurs; '' stands for what is absent. `cut` says that there are more."""

    regions: dict[str, int]
    services: dict[str, int]
    cut: bool


def count(where: Where, aggregate: Callable[[Where, Query, Query], Query]) -> dict[str, int]:
    """By application. `aggregate` asks the indices of a Where. Raises what it raises."""
    whole = _flat(aggregate(where, query_of(where), _FLAT))
    regions = whole.regions
    parts = [whole]
    if 1 < len(regions) <= _REGIONS and "" not in regions and not where.regions:
        parts = [_flat(aggregate(replace(where, regions=(one,)), query_of(where), _FLAT)) for one in regions]
        regions = {region: size for part in parts for region, size in part.regions.items()}
    if regions == whole.regions and all(len(part.regions) <= 1 and not part.cut for part in parts):
        pairs = [(region, service, part) for part in parts for region in part.regions for service in part.services]
        return {f"{region}/{service}": part.services[service] for region, service, part in pairs}
    answer = aggregate(where, query_of(where), split_by("application", {}))
    return {value: int(part["doc_count"]) for value, part in (parts_of("application", answer) if answer else [])}


def _values(name: str, field: str) -> Query:
    return {name: {"terms": {"field": field, "size": MAX_TERMS // 2}}, f"no {name}": {"missing": {"field": field}}}


_FLAT = _values("region", FIELDS["region"]) | _values("service", FIELDS["service"])


def _flat(answer: Query) -> _Flat:
    def of(name: str) -> dict[str, int]:
        found = {str(one["key"]): int(one["doc_count"]) for one in answer.get(name, {}).get("buckets", ())}
        if absent := int(answer.get(f"no {name}", {}).get("doc_count", 0)):
            found[""] = found.get("", 0) + absent
        return found

    cut = any(answer.get(name, {}).get("sum_other_doc_count") for name in ("region", "service"))
    return _Flat(of("region"), of("service"), cut)
