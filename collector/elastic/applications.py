"""How many events each application (region/service) has, counted without looking at every event.

Elasticsearch knows how often a single value occurs; of pairs it has to look at each document. But where all events are
of one region, the counts of the services are those of the pairs; and an index holds one region, as a rule. Only where
that turns out to be otherwise every document is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from collector.ports import Where

from .query import FIELDS, MAX_TERMS, Query, parts_of, query_of, split_by
from .timesteps import AT_ONCE, AggregateEach, is_all, parts, whole_days

_REGIONS = 20


class _Flat(NamedTuple):
    """How often each value occurs; '' stands for what is absent. `cut` says that there are more."""

    regions: dict[str, int]
    services: dict[str, int]
    cut: bool


def count(where: Where, ask: AggregateEach) -> dict[str, int]:
    """By application. Raises what `ask` raises."""
    wide = whole_days(where) if is_all(where) else where
    whole = _flat(ask(wide, query_of(wide), [_asked(wide)])[0])
    found, regions = {"": whole}, whole.regions
    if 1 < len(regions) <= _REGIONS and "" not in regions and not where.regions:
        found = {one: _flat(ask(_of(wide, one), _query(wide, one, regions), [_asked(wide)])[0]) for one in regions}
        regions = {region: size for part in found.values() for region, size in part.regions.items()}
    counts: Counter[str] = Counter()
    if regions == whole.regions and all(len(part.regions) <= 1 and not part.cut for part in found.values()):
        for one, part in found.items():
            for region in part.regions:
                for service, size in part.services.items() if where == wide else _within(where, one, regions, ask):
                    counts[f"{region}/{service}"] += size
    else:
        [answer] = ask(where, query_of(where), [split_by("application", {})])
        for value, inner in parts_of("application", answer) if answer else []:
            counts[value] += inner["doc_count"]
    return dict(counts)


def _within(where: Where, region: str, regions: Iterable[str], ask: AggregateEach) -> Iterator[tuple[str, int]]:
    """The services of a region in a part of the days, of which all is known; some may come several times."""
    wide = whole_days(where)
    asked = [
        {"span": {"filters": {"filters": [part]}, "aggs": split_by("service", {})}}
        for part in parts(where.start, where.end, AT_ONCE)
    ]
    for answer in ask(_of(wide, region), _query(wide, region, regions), asked):
        for bucket in answer["span"]["buckets"] if answer else ():
            yield from ((value, inner["doc_count"]) for value, inner in parts_of("service", bucket))


def _of(where: Where, region: str) -> Where:
    """Whose indices are asked: of the region alone, as far as names tell."""
    return replace(where, regions=(region,)) if region else where


def _query(where: Where, region: str, regions: Iterable[str]) -> Query:
    """What they are asked: for all that they hold, unless a name that begins alike is another region's."""
    alike = any(other.startswith(f"{region}-") for other in regions)
    return query_of(_of(where, region) if alike else where)


def _asked(where: Where) -> Query:
    """How many have none is asked in the form that needs no look at each event; of some events, in the other."""
    absent: Query = {f"no {name}": {"missing": {"field": FIELDS[name]}} for name in ("region", "service")}
    if is_all(where):
        absent = {
            "having": {
                "filters": {
                    "filters": {
                        "all": {"match_all": {}},
                        **{name: {"exists": {"field": FIELDS[name]}} for name in ("region", "service")},
                    }
                }
            }
        }
    terms = {name: {"terms": {"field": FIELDS[name], "size": MAX_TERMS // 2}} for name in ("region", "service")}
    return terms | absent


def _flat(answer: Query) -> _Flat:
    having = {name: one["doc_count"] for name, one in answer.get("having", {}).get("buckets", {}).items()}

    def of(name: str) -> dict[str, int]:
        found = {str(one["key"]): int(one["doc_count"]) for one in answer.get(name, {}).get("buckets", ())}
        absent = having["all"] - having[name] if having else answer.get(f"no {name}", {}).get("doc_count", 0)
        if absent:
            found[""] = found.get("", 0) + int(absent)
        return found

    cut = any(answer.get(name, {}).get("sum_other_doc_count") for name in ("region", "service"))
    return _Flat(of("region"), of("service"), cut)
