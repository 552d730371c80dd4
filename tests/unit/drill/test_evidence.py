"""What is counted of Elasticsearch by `--observe`, on scripted answers: a number that is there twice hides none."""

from __future__ import annotations

from typing import Any

import pytest

from collector.settings import ElasticSettings
from compose.drill import evidence
from compose.drill.evidence import counts_in_elastic

PAY, SHOP = "pay.business", "shop.business"


class _Elastic:
    """Answers as Elasticsearch would that has `indices`: by name, the ids in it."""

    def __init__(self, indices: dict[str, list[str]]) -> None:
        self._indices = indices

    def ask(self, method: str, path: str, body: Any = None, **_: Any) -> Any:
        if path.endswith("ignore_unavailable=true") and "_pit" in path:
            return {"id": "pit"}
        if path != "/_search":
            return {"aggregations": {"stream": {"buckets": [self._bucket(stream) for stream in (PAY, SHOP)]}}}
        (wanted,) = (test["term"]["event.stream"] for test in body["query"]["bool"]["filter"] if "term" in test)
        return {"hits": {"hits": [{"_id": each, "sort": [1]} for ids in self._of(wanted).values() for each in ids]}}

    def close(self) -> None:
        """Nothing to let go of."""

    def _of(self, stream: str) -> dict[str, list[str]]:
        found = {name: [each for each in ids if each.startswith(stream)] for name, ids in self._indices.items()}
        return {name: ids for name, ids in found.items() if ids}

    def _bucket(self, stream: str) -> dict[str, Any]:
        found = self._of(stream)
        buckets = [{"key": name, "doc_count": len(ids)} for name, ids in found.items()]
        return {"key": stream, "doc_count": sum(map(len, found.values())), "index": {"buckets": buckets}}


def test_a_number_that_is_in_two_indices_hides_none_that_is_in_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    first = [f"{PAY}:1", f"{PAY}:2", f"{PAY}:3", f"{SHOP}:1"]
    elastic = _Elastic({"business-21": first, "business-22": [f"{PAY}:3", f"{SHOP}:2"]})
    monkeypatch.setattr(evidence, "ElasticClient", lambda settings: elastic)
    rows, distinct = counts_in_elastic(ElasticSettings(), {PAY: (1, 4), SHOP: (1, 2)})
    assert rows == {PAY: 4, SHOP: 2}
    assert distinct == {PAY: 3, SHOP: 2}
