"""The on-call's telephone: a webhook on loopback that keeps what it was told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from .reckoning import Call


class Pager:
    """Answers every POST with 200 and keeps it by its Idempotency-Key: the same notice twice is one. A context
    manager."""

    def __init__(self) -> None:
        self.notices: dict[str, dict[str, Any]] = {}
        notices = self.notices

        class Telephone(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers.get("content-length", 0))
                notices.setdefault(self.headers.get("idempotency-key", ""), json.loads(self.rfile.read(size) or b"{}"))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: what came is kept."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Telephone)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="lastbeat-pager", daemon=True)

    @property
    def calls(self) -> list[Call]:
        """What it was told so far. What came again under one key is told once, and what hides under it, never."""
        return [
            Call(said.get("incident_id", ""), said.get("dedup_key", ""), said.get("turn", ""), said.get("title", ""))
            for said in list(self.notices.values())
        ]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
