"""One connection pool to one Elasticsearch node, over the standard library's HTTP.

It takes a third of the CPU of elastic-transport's own, which counts when bulk bodies of megabytes are sent all day.
It never retries: who sends decides what may be sent twice.
"""

from __future__ import annotations

import http.client
import select
import ssl
import threading
import time
from typing import Any

from elastic_transport import (
    ApiResponseMeta,
    BaseNode,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    TlsError,
)
from elastic_transport import ConnectionError as CutOff
from elastic_transport._node import NodeApiResponse  # named in BaseNode's signature, but not exported
from elastic_transport.client_utils import DEFAULT, DefaultType


class LeanNode(BaseNode):
    """A node for elastic-transport's Transport. From any thread; each request has a connection to itself meanwhile."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._tls = ssl.create_default_context(cafile=config.ca_certs) if config.scheme == "https" else None

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        started = time.perf_counter()
        sent = dict(self.headers.items()) | dict((headers or HttpHeaders()).items())
        connection = self._take()
        try:
            self._set_timeout(connection, request_timeout)
            connection.request(method, self.path_prefix + target, body, sent)
            answer = connection.getresponse()
            data = answer.read()
        except BaseException as error:
            connection.close()
            raise _named(error) from error
        if answer.will_close:
            connection.close()
        else:
            self._give_back(connection)
        meta = ApiResponseMeta(
            node=self.config,
            duration=time.perf_counter() - started,
            http_version="1.1",
            status=answer.status,
            headers=HttpHeaders(answer.getheaders()),
        )
        return NodeApiResponse(meta, data)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if not _closed_by_peer(connection):
                    return connection
                connection.close()
        common: dict[str, Any] = {"timeout": self.config.request_timeout, "blocksize": 256 * 1024}
        if self._tls is not None:
            return http.client.HTTPSConnection(self.host, self.port, context=self._tls, **common)
        return http.client.HTTPConnection(self.host, self.port, **common)

    def _set_timeout(self, connection: http.client.HTTPConnection, wanted: DefaultType | float | None) -> None:
        usual = self.config.request_timeout
        timeout = min(wanted, usual or wanted) if isinstance(wanted, int | float) else usual
        if connection.timeout != timeout:
            connection.timeout = timeout
            if connection.sock is not None:
                connection.sock.settimeout(timeout)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append(connection)


def _closed_by_peer(connection: http.client.HTTPConnection) -> bool:
    """An idle connection that has something to read was ended by the other side."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))


def _named(error: BaseException) -> BaseException:
    """The error in elastic-transport's words, so that it marks the node dead; others as they are."""
    if isinstance(error, ssl.SSLError):
        return TlsError(str(error), errors=())
    if isinstance(error, TimeoutError):
        return ConnectionTimeout("no answer in time", errors=())
    if isinstance(error, http.client.HTTPException | OSError):
        return CutOff(f"{type(error).__name__}: {error}", errors=())
    return error
