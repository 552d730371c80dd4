"""A role answers for itself over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from collector.figures import labelled
from compose.health import served


def test_health_ready_and_metrics_follow_the_role() -> None:
    said: dict[str, Any] = {"status": "ok"}
    with served("watch", "127.0.0.1", 0, lambda: said, lambda: {"beats_total": 3.0, "services": 2.0}) as port:
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/ready").status_code == 200
        said["status"] = "blind"
        assert httpx.get(f"{url}/ready").status_code == 503
        assert httpx.get(f"{url}/health").json() == {"status": "blind"}
        assert httpx.get(f"{url}/health").status_code == 200
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        assert "# TYPE lastbeat_watch_beats_total counter" in lines
        assert "lastbeat_watch_services 2.0" in lines
        assert httpx.get(f"{url}/else").status_code == 404


def test_a_port_that_is_taken_costs_the_probes_and_not_the_role(caplog: pytest.LogCaptureFixture) -> None:
    with served("watch", "127.0.0.1", 0, dict, dict) as port, served("indexer", "127.0.0.1", port, dict, dict) as none:
        assert none == 0
    assert f"indexer answers no /health: 127.0.0.1:{port}" in caplog.text


def test_figures_with_labels_are_one_family_for_prometheus() -> None:
    figures = {labelled("lag", topic="t", partition=str(number)): float(number) for number in range(3)}
    with served(
        "indexer", "127.0.0.1", 0, dict, lambda: figures | {labelled("events_total", outcome="stored"): 9}
    ) as port:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [(s.labels["partition"], s.value) for s in families["lastbeat_indexer_lag"].samples] == [
        ("0", 0),
        ("1", 1),
        ("2", 2),
    ]
    (stored,) = families["lastbeat_indexer_events"].samples
    assert (stored.name, stored.labels, stored.value) == ("lastbeat_indexer_events_total", {"outcome": "stored"}, 9)
