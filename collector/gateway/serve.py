"""Serves a gateway's app with uvicorn, and ends it in order: no new requests, those under way are finished, out."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from collector.settings import GatewaySettings
from shippers.errors import Misconfigured

from .connection import BoundedConnection
from .http import url_of

log = logging.getLogger("lastbeat.gateway")

_KEEP_ALIVE_S = 75
_FINISH_S = 8


class Server:
    """A gateway on its port. The port is bound when this is made, so that its address is known before it runs."""

    def __init__(self, app: Starlette, settings: GatewaySettings) -> None:
        self._socket = _bind(settings)
        self.port = int(self._socket.getsockname()[1])
        self.url = url_of(settings, self.port)
        app.state.url = self.url
        self._server = _Uvicorn(
            app.state.gateway.prepare_to_stop,
            uvicorn.Config(
                app,
                http=BoundedConnection,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_FINISH_S,
            ),
        )

    def run(self) -> None:
        """Serve until `stop`, or SIGTERM or SIGINT if this is the main thread."""
        self._server.run([self._socket])

    def stop(self) -> None:
        """Let `run` end. From any thread."""
        self._server.end()


def serve(app: Starlette, settings: GatewaySettings, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is told the address once the port is bound."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every canary
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its five lines of start and stop say less than ours
    server = Server(app, settings)
    log.info(
        "gateway %s listens on %s:%d; clients reach it at %s", settings.name, settings.host, server.port, server.url
    )
    if ready is not None:
        ready(server.url)
    server.run()
    log.info("gateway %s stopped", settings.name)


class _Uvicorn(uvicorn.Server):
    def __init__(self, ending: Callable[[], None], config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = ending

    def end(self) -> None:
        """Say so first, then end."""
        self._ending()
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal that was obeyed isn't raised again: the caller has a journal to close."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def obey(_number: int, _frame: FrameType | None) -> None:
            self.end()

        before = {number: signal.signal(number, obey) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _bind(settings: GatewaySettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise Misconfigured(
            f"gateway: can't listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            "set gateway.host and gateway.port to an address that is free"
        ) from None
