"""ElasticStore: the boards' and the rules' questions, answered by aggregations over the indices.

Its answers equal those of every other Store on the same events. An event counts once it was stored and the index was
refreshed (`refresh_s`), which is when "as soon as the journal holds it" is here. It never writes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from collector.latency import merge
from collector.memory import MAX_CORRELATED, MAX_FIELDS, steps
from collector.peaks import peaks_of
from collector.ports import Event, Field, Hits, Latency, Page, Peak, Tail, Volume, Where
from collector.settings import ElasticSettings
from shippers.batch import DATASETS
from shippers.clock import Clock
from shippers.errors import Unavailable

from . import applications, durations
from .client import ElasticClient
from .events import OLDEST_FIRST, SORT, event_of
from .query import FIELDS, between, check_by, found_by, parts_of, query_of
from .searching import Searching, TooManyBuckets
from .tail import Tailing
from .timesteps import in_steps, is_all, whole_days

T = TypeVar("T")
Counts = dict[str, dict[int, T]]
"""For each value: what there is at each step, by the step's number since the epoch."""

_SAMPLE = 2_000
_OWN = ["labels", "measures", "heartbeat", "event.dataset"]
_MOST_BUCKETS = 50_000


class ElasticStore:
    """A Store over one cluster. From any thread."""

    def __init__(self, settings: ElasticSettings, clock: Clock, *, client: ElasticClient | None = None) -> None:
        self._client = client or ElasticClient(settings)
        self._searching = Searching(self._client, settings, clock)
        self._tailing = Tailing(self._searching, settings.prefix)

    def volume(self, where: Where, step_s: float, by: str | None = None) -> Volume:
        check_by(by)
        times = steps(where, step_s)
        first = _first(times, step_s)

        def ask(part: Where) -> Counts[int]:
            if by == "application" and len(times) == 1:
                counted = applications.count(part, self._searching.aggregate_each)
                return {value: {first: size} for value, size in counted.items()}
            found: Counts[int] = {}
            for value, step, bucket in in_steps(part, step_s, by, {}, self._searching.aggregate_each):
                counts = found.setdefault(value, {})
                counts[step] = counts.get(step, 0) + bucket["doc_count"]
            return found

        found = self._in_parts(where, step_s, _MOST_BUCKETS, ask)
        empty: Counts[int] = {} if by else {"": {}}
        return Volume(
            step_s,
            times,
            {
                value: tuple(counts.get(first + index, 0) for index in range(len(times)))
                for value, counts in (empty | found).items()
                if counts or not by
            },
        )

    def latency(self, where: Where, step_s: float, by: str | None = None) -> Latency:
        check_by(by)
        times = steps(where, step_s)
        found = self._durations(where, step_s, by)
        empty: Counts[dict[int, int]] = {} if by else {"": {}}
        first = _first(times, step_s)
        return Latency(
            step_s,
            times,
            {
                value: tuple(counts.get(first + index, {}) for index in range(len(times)))
                for value, counts in (empty | found).items()
            },
        )

    def peaks(self, where: Where, step_s: float, by: str = "service", limit: int = 1) -> list[Peak]:
        return peaks_of(self.volume(where, step_s, by), limit)

    def top(self, where: Where, field: str, limit: int = 10) -> list[tuple[str, int]]:
        if not field.startswith("labels."):
            check_by(field)
        query = query_of(where)
        if field == "application":
            counts = applications.count(where, self._searching.aggregate_each)
        else:
            terms = {
                "field": FIELDS.get(field, field),
                "size": limit + 1,
                "shard_size": max(10_000, limit * 2),
                "order": [{"_count": "desc"}, {"_key": "asc"}],
            }
            answer = self._searching.aggregate(where, query, {"parts": {"terms": terms}})
            counts = {value: part["doc_count"] for value, part in _parts("service", answer)}
        counts.pop("", None)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]

    def search(self, where: Where, page: Page = Page()) -> Hits:
        after = None if page.before is None else json.loads(page.before)
        hits = list(self._searching.hits(where, query_of(where), SORT, page.limit + 1, after=after))
        shown = hits[: page.limit]
        more = len(hits) > page.limit and bool(shown)
        return Hits(tuple(map(event_of, shown)), json.dumps(shown[-1]["sort"]) if more else None)

    def tail(self, where: Where, after: str | None = None, limit: int = 500) -> Tail:
        return self._tailing.tail(where, after, limit)

    def correlate(self, id: str, start: float, end: float) -> tuple[Event, ...]:
        where = Where(start, end, datasets=DATASETS)
        query = {"bool": {"filter": [between(start, end), found_by([id])]}}
        return tuple(map(event_of, self._searching.hits(where, query, OLDEST_FIRST, MAX_CORRELATED)))

    def fields(self, where: Where) -> list[Field]:
        """Names are found in the newest and the oldest events of `where`, 2,000 each; their use is counted in all."""
        seen: Counter[str] = Counter()
        examples: dict[str, str] = {}
        ids: set[str] = set()
        for sort in (SORT, OLDEST_FIRST):
            for hit in self._searching.hits(where, query_of(where), sort, _SAMPLE, source=_OWN):
                if hit["_id"] not in ids:
                    ids.add(hit["_id"])
                    self._note(event_of(hit), seen, examples)
        most = [name for name, _ in sorted(seen.items(), key=lambda item: (-item[1], item[0]))][: 2 * MAX_FIELDS]
        counted = self._uses(where, most) | seen if len(ids) >= _SAMPLE else seen  # the larger of both
        ranked = sorted(most, key=lambda name: (-counted[name], name))[:MAX_FIELDS]
        return [Field(name, "text" if name.startswith("labels.") else "number", examples[name]) for name in ranked]

    def close(self) -> None:
        """Let go of the connections. Idempotent."""
        self._client.close()

    def _note(self, event: Event, seen: Counter[str], examples: dict[str, str]) -> None:
        for kind, values in (("labels", event.labels), ("measures", event.measures)):
            for name, value in values.items():
                seen[f"{kind}.{name}"] += 1
                examples.setdefault(f"{kind}.{name}", str(value))

    def _uses(self, where: Where, names: list[str]) -> Counter[str]:
        filters = {str(index): {"exists": {"field": name}} for index, name in enumerate(names)}
        answer = self._searching.aggregate(where, query_of(where), {"used": {"filters": {"filters": filters}}})
        buckets = answer.get("used", {}).get("buckets", {})
        return Counter({name: buckets.get(str(index), {}).get("doc_count", 0) for index, name in enumerate(names)})

    def _durations(self, where: Where, step_s: float, by: str | None) -> Counts[dict[int, int]]:
        wide = whole_days(where) if is_all(where) else where
        answer = self._searching.aggregate(wide, query_of(wide), durations.counting(durations.SPANS))
        ranges = durations.ranges_in(durations.counts_of(answer))
        if not ranges:
            return {}
        each = durations.counting(ranges)

        def ask(part: Where) -> Counts[dict[int, int]]:
            found: Counts[dict[int, int]] = {}
            for value, step, bucket in in_steps(part, step_s, by, each, self._searching.aggregate_each):
                if counts := durations.counts_of(bucket):
                    its = found.setdefault(value, {})
                    its[step] = merge((its.get(step, {}), counts))
            return found

        return self._in_parts(where, step_s, max(1, _MOST_BUCKETS // len(ranges)), ask)

    def _in_parts(self, where: Where, step_s: float, most_steps: int, ask: Callable[[Where], Counts[T]]) -> Counts[T]:
        """Ask for spans of at most `most_steps` steps; and for shorter ones where an answer is still too large."""
        found: Counts[T] = {}
        times = steps(where, step_s)
        for start in range(0, len(times), most_steps):
            end = start + most_steps
            part = replace(
                where,
                start=max(where.start, times[start]),
                end=min(where.end, times[end]) if end < len(times) else where.end,
            )
            try:
                answer = ask(part)
            except TooManyBuckets as error:
                here = len(times[start:end])
                if here < 2:
                    raise Unavailable(f"too many different values at once; ask for less: {error}") from None
                answer = self._in_parts(part, step_s, (here + 1) // 2, ask)
            for value, counts in answer.items():
                found.setdefault(value, {}).update(counts)
        return found


def _parts(by: str | None, answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return parts_of(by, answer) if answer else []


def _first(times: tuple[float, ...], step_s: float) -> int:
    return round(times[0] / step_s) if times else 0
