"""One process of the shop: a small HTTP server around one service of `shop`, instrumented in three lines.

Started by `processes`, which hands it a listening socket, its neighbours' addresses (SHOP_PEERS) and a file for its
own count (SHOP_TALLY). Everything that concerns lastbeat comes from LASTBEAT_*, as with any service.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lastbeat

from .child import on_parent_gone
from .shop import SERVICES, Call, Shop
from .tally import LogTally
from .topology import INSTANCES, Instance


class Server(ThreadingHTTPServer):
    """Answers POST with what the shop says; stops when it is told to, not before its last answer is out."""

    daemon_threads = False

    def __init__(self, listening: socket.socket, shop: Shop) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.shop = shop
        self.handle_call = SERVICES[shop.me.service]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        """One call: JSON in, JSON out, the trace and the order by header."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path == "/ail":
            self.server.shop.ailment.begin()
            self._answer({"code": "ailing"})
            return
        call = Call.received(self.headers, body, self.server.shop.random)
        try:
            self._answer(self.server.handle_call(self.server.shop, call))
        except (OSError, http.client.HTTPException):
            self.server.shop.log.exception("a neighbour is gone", extra=call.about("call", outcome="failure"))
            self._answer({"code": "unavailable"}, HTTPStatus.BAD_GATEWAY)

    def _answer(self, answer: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        raw = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
        except OSError:
            self.close_connection = True  # the caller gave up waiting; what happened is logged already

    def log_message(self, format: str, *args: Any) -> None:
        """No access log: the services log what they do themselves."""


def main(name: str, descriptor: int) -> None:
    """Serve as the instance `name` on the listening socket `descriptor` until the parent says stop."""
    me: Instance = next(instance for instance in INSTANCES if instance.name == name)
    logging.getLogger().addHandler(LogTally(Path(os.environ["SHOP_TALLY"])))
    lastbeat.init(me.service)
    logging.getLogger(me.service).info("serving", extra={"action": "start"})
    shop = Shop(me, json.loads(os.environ["SHOP_PEERS"]))
    with Server(socket.socket(fileno=descriptor), shop) as server:
        on_parent_gone(server.shutdown)
        server.serve_forever(poll_interval=0.2)
    logging.getLogger(me.service).info("stopped serving", extra={"action": "stop"})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
