"""Batches over HTTP/1.1 to a gateway: one keep-alive connection, every error with its decision.

Connects lazily and in the thread that sends. A connection that the other side had closed meanwhile is opened anew and
the request sent again at once: a batch that arrives twice is stored once. Follows no redirects, uses no proxies.
"""

from __future__ import annotations

import codecs
import http.client
import json
import math
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shippers.batch import MEDIA_TYPE, Batch, pack
from shippers.clock import Clock, SystemClock
from shippers.errors import Misconfigured, Unavailable
from shippers.wishes import Ask, Wishes

from .protocol import Rejected

# Connecting looks this codec up, which imports it. A child forked by one thread while another imports waits for ever
# on that import, so nothing that our threads need may be imported late.
codecs.lookup("idna")

LACKING = "X-Lastbeat-Lacking"
"""What was asked for and is not there any more, as JSON: [[stream, first, last], …]."""

_MAX_ANSWER = 64 * 1024
_MAX_RETRY_AFTER_S = 300.0
_TRANSIENT = frozenset({408, 425, 429})
_STALE = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, http.client.CannotSendRequest)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A gateway's address, parsed and checked once."""

    secure: bool
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Raises Misconfigured when `url` isn't http(s)://host[:port][/prefix]."""

        def wrong(why: str) -> Misconfigured:
            return Misconfigured(f"gateway url {url!r}: {why}; it should look like http://gateway.example:7411")

        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise wrong(str(error)) from None
        if parts.scheme not in ("http", "https"):
            raise wrong("it must begin with http:// or https://")
        if not host or any(letter.isspace() or not letter.isprintable() for letter in url.strip()):
            raise wrong("it has no host" if not host else "it has a space or a control character")
        if parts.query or parts.fragment or parts.username is not None:
            raise wrong("it may have no user, query or fragment (a token goes into LASTBEAT_TOKEN)")
        secure = parts.scheme == "https"
        return cls(secure, host, port or (443 if secure else 80), f"{parts.path.rstrip('/')}/v1/batches")


def check_token(token: str) -> str:
    """The token, if an HTTP header can carry it; raises Misconfigured."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Misconfigured("the token may only have printable ASCII characters and no space: check LASTBEAT_TOKEN")
    return token


class HttpTransport:
    """POSTs batches to one gateway. Used by one thread; `connect_timeout_s` bounds the connecting alone."""

    def __init__(self, url: str, token: str = "", connect_timeout_s: float = 3.0, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._endpoint = Endpoint.parse(url)
        self._headers = {"Content-Type": MEDIA_TYPE, "Accept": "application/json"}
        if check_token(token):
            self._headers["Authorization"] = f"Bearer {token}"
        self._connect_timeout_s = connect_timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self.wishes: Wishes | None = None

    def send(self, batches: Sequence[Batch], timeout_s: float) -> None:
        body = b"".join([pack(batch.header.encode(), batch.body) for batch in batches])
        reused = self._connection is not None
        deadline = self._clock.monotonic() + timeout_s
        lacking = self.wishes.lacking() if self.wishes is not None else ()
        try:
            try:
                status, retry_after, answer = self._post(body, deadline, lacking)
            except _STALE:
                self.close()
                if not reused:
                    raise
                status, retry_after, answer = self._post(body, deadline, lacking)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            place = f"{self._endpoint.host}:{self._endpoint.port}"
            raise Unavailable(f"gateway {place}: {type(error).__name__}: {error}") from None
        except BaseException:
            self.close()  # half a request stands on the wire: this connection can't be used again
            raise
        try:
            said = _judge(status, retry_after, answer, len(batches))
        except Unavailable:
            self.close()  # behind one address there may be a gateway that can: the next try connects anew
            raise
        if self.wishes is not None:
            self.wishes.told(lacking)
            self.wishes.hear(said.get("resend"))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes, deadline: float, lacking: Sequence[Ask]) -> tuple[int, str | None, bytes]:
        connection = self._connection or self._connect(self._left(deadline))
        self._allow(connection, deadline)
        headers = self._headers | {LACKING: json.dumps(lacking)} if lacking else self._headers
        connection.request("POST", self._endpoint.path, body, headers)
        self._allow(connection, deadline)
        response = connection.getresponse()
        answer = response.read(_MAX_ANSWER)
        if response.will_close or not response.isclosed():
            self.close()
        return response.status, response.getheader("Retry-After"), answer

    def _left(self, deadline: float) -> float:
        return max(0.01, deadline - self._clock.monotonic())

    def _allow(self, connection: http.client.HTTPConnection, deadline: float) -> None:
        if connection.sock is not None:
            connection.sock.settimeout(self._left(deadline))

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        end = self._endpoint
        timeout = min(timeout_s, self._connect_timeout_s)
        connection: http.client.HTTPConnection
        if end.secure:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(end.host, end.port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(end.host, end.port, timeout=timeout)
        connection.connect()
        self._connection = connection
        return connection


def _judge(status: int, retry_after: str | None, answer: bytes, count: int) -> dict[str, Any]:
    """What the answer says, if it says that everything is durable; else raise what it says."""
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        said = None
    said = said if isinstance(said, dict) else {}
    if status == 200 and said.get("accepted") == count:
        return said
    error = said.get("error")
    error = error if isinstance(error, dict) else {}
    text = f"answered {status}: {error.get('message') or answer[:200].decode('utf-8', 'replace')!r}"
    if 400 <= status < 500 and status not in _TRANSIENT and isinstance(error.get("code"), str):
        index = error.get("index")
        good = isinstance(index, int) and not isinstance(index, bool) and 0 <= index < count
        raise Rejected(error["code"], f"gateway {text}", index if good else None)
    # Also what isn't a gateway's answer at all: a proxy's page, a redirect, 404 on a wrong path. Never durable.
    raise Unavailable(f"gateway {text}", retry_after_s=_seconds(retry_after))


def _seconds(retry_after: str | None) -> float | None:
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None  # also the form with a date: our own backoff will do
    return min(seconds, _MAX_RETRY_AFTER_S) if math.isfinite(seconds) and seconds >= 0 else None
