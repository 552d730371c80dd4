"""What a role says of itself over HTTP: /health (it runs), /ready (it does its work), /metrics (for Prometheus).

The gateway answers at its own port; this is for all other roles.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collector.figures import labels_of

log = logging.getLogger("lastbeat.health")

READY = ("ok", "behind", "standby")
"""The states in which a role does its work, or would at once if another one ended."""


class _Figures(Collector):
    """A role's own numbers; what ends in `_total` is a counter. Names may bear labels: see collector.figures."""

    def __init__(self, role: str, figures: Callable[[], Mapping[str, float]]) -> None:
        self._role, self._figures = role, figures

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for figure, value in self._figures().items():
            name, labels = labels_of(figure)
            if name not in families:
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                families[name] = kind(f"lastbeat_{self._role}_{name}", name.replace("_", " "), labels=list(labels))
            families[name].add_metric(list(labels.values()), value)  # type: ignore[attr-defined]
        yield from families.values()


@contextmanager
def served(
    role: str,
    host: str,
    port: int,
    health: Callable[[], Mapping[str, Any]],
    figures: Callable[[], Mapping[str, float]],
) -> Iterator[int]:
    """Answer for `role` while the block runs; gives the port. `health()` holds a `status` and what it rests on.

    Without the port, the role does its work all the same, gives 0 and says so: a probe is not worth a watch.
    """
    registry = CollectorRegistry()
    registry.register(_Figures(role, figures))
    ProcessCollector(registry=registry)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/health":
                    self._answer(200, json.dumps(health()).encode(), "application/json")
                case "/ready":
                    said = health()
                    self._answer(200 if said["status"] in READY else 503, json.dumps(said).encode(), "application/json")
                case "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                case _:
                    self._answer(404, b"there are /health, /ready and /metrics\n", "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds: they are not worth a line."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        log.error("%s answers no /health: %s:%d can't be opened: %s", role, host, port, error.strerror)
        yield 0
        return
    thread = threading.Thread(target=server.serve_forever, name=f"lastbeat-{role}-health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
