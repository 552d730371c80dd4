"""A gateway of a few lines, on loopback: unpacks and checks what comes, keeps it, and answers as scripted."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shippers.batch import Batch, unpack
from shippers.errors import BadBatch


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that went away, which is what these tests do."""


class FakeGateway:
    def __init__(self, port: int = 0) -> None:
        self.batches: list[Batch] = []
        self.requests: list[dict[str, str]] = []
        self.connections: set[tuple[str, int]] = set()
        self.answers: deque[tuple[int, dict[str, str], bytes]] = deque()
        self.before_answer = threading.Event()
        self.before_answer.set()
        self.close_after_each = False
        gateway = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                gateway.take(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = Server(("127.0.0.1", port), Door)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def take(self, door: BaseHTTPRequestHandler) -> None:
        body = door.rfile.read(int(door.headers["Content-Length"]))
        self.requests.append({"path": door.path, **{name.lower(): value for name, value in door.headers.items()}})
        self.connections.add(door.client_address)
        self.before_answer.wait(10)
        status, headers, answer = self.answers.popleft() if self.answers else self.judge(body)
        door.send_response(status)
        for name, value in headers.items():
            door.send_header(name, value)
        door.send_header("Content-Length", str(len(answer)))
        door.end_headers()
        door.wfile.write(answer)
        if self.close_after_each:
            door.close_connection = True

    def judge(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        try:
            batches = list(unpack(body))
            for batch in batches:
                batch.check()
        except BadBatch as error:
            return 400, {}, json.dumps({"error": {"code": error.code, "message": str(error)}}).encode()
        self.batches.extend(batches)
        return 200, {}, json.dumps({"accepted": len(batches)}).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.answers.extend([(503, {}, b"")] * 1_000)  # for connections that outlive it
        self.server.server_close()
        self.thread.join()

    def events(self, *datasets: str) -> list[dict]:
        kept = [batch for batch in self.batches if not datasets or batch.header.dataset in datasets]
        return [json.loads(line) for batch in kept for line in batch.body.splitlines()]

    def beats(self) -> list[dict]:
        """What the beats say, by number, each once."""
        by_number = {(e["event"]["stream"], e["event"]["sequence"]): e for e in self.events("heartbeat")}
        return [by_number[key] for key in sorted(by_number)]
