"""Talks to Elasticsearch: bytes in, bytes or JSON out, and errors that carry the decision.

It knows nothing of events. It never retries by itself, so that nobody waits twice or sends twice unawares.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from collector.settings import ElasticSettings
from shippers.errors import LastbeatError, Misconfigured, Unavailable

try:  # everybody who asks Elasticsearch comes through here first
    import isal  # noqa: F401 - what bulk bodies are summed with
    from elastic_transport import NodeConfig, Serializer, Transport, TransportError
    from elastic_transport.client_utils import DEFAULT

    from .node import LeanNode
except ImportError as error:
    raise Misconfigured(f"Elasticsearch needs {error.name}: pip install 'lastbeat[elastic]'") from None

JSON, NDJSON = "application/json", "application/x-ndjson"


class Answer(NamedTuple):
    """What came back, unread."""

    status: int
    body: bytes


class ElasticError(LastbeatError):
    """Elasticsearch understood and said no to this one request. `type` is its own word for why."""

    permanent = True

    def __init__(self, status: int, type: str, reason: str) -> None:
        super().__init__(f"Elasticsearch says {status} {type}: {reason}")
        self.status, self.type, self.reason = status, type, reason


class Denied(Unavailable):
    """The credentials don't allow it: nothing moves until a person has helped, but nothing is given up either."""


class ElasticClient:
    """One cluster. From any thread, many at once."""

    def __init__(self, settings: ElasticSettings) -> None:
        self._where = ", ".join(settings.urls)
        raw = _Raw()
        self._transport = Transport(
            [_node(url, settings) for url in settings.urls],
            node_class=LeanNode,
            serializers=dict.fromkeys((JSON, NDJSON, "text/plain", "text/html"), raw),
            max_retries=0,
            retry_on_status=(),
            meta_header=False,
            dead_node_backoff_factor=0.5,
            max_dead_node_backoff=5.0,
        )

    def send(
        self, method: str, path: str, body: bytes | None = None, media: str = JSON, *, timeout_s: float | None = None
    ) -> Answer:
        """One request; what the answer says is the caller's to judge. Raises Unavailable if no whole answer came, or
        not within `timeout_s`, where the settings give more."""
        headers = {"accept": JSON} if body is None else {"accept": JSON, "content-type": media}
        try:
            answer = self._transport.perform_request(
                method, path, body=body, headers=headers, request_timeout=DEFAULT if timeout_s is None else timeout_s
            )
        except TransportError as error:
            raise Unavailable(
                f"Elasticsearch at {self._where} can't be reached ({error.message}); is it running?"
            ) from None
        return Answer(answer.meta.status, answer.body or b"")

    def ask(self, method: str, path: str, body: Any = None, *, allow: Collection[int] = ()) -> Any:
        """One request with JSON both ways; an answer whose status is in `allow` comes back as one of 2xx does.

        Raises Denied for 401 and 403, Unavailable when it makes sense to try again, else ElasticError.
        """
        return self.read(self.send(method, path, None if body is None else json.dumps(body).encode()), allow=allow)

    def read(self, answer: Answer, *, allow: Collection[int] = ()) -> Any:
        """What a JSON answer says. Raises as `ask` does."""
        if answer.status < 300 or answer.status in allow:
            try:
                return json.loads(answer.body) if answer.body else {}
            except ValueError:
                raise Unavailable(f"Elasticsearch at {self._where} gave an answer that is not JSON") from None
        raise self.error_of(answer)

    def error_of(self, answer: Answer) -> LastbeatError:
        """The error that an answer's status and body stand for."""
        type_, reason = _why(answer.body)
        words = f"Elasticsearch at {self._where} says {answer.status} {type_}: {reason}"
        if answer.status in (401, 403):
            return Denied(f"{words}. Check [elastic] user, password or api_key, and the cluster's blocks")
        if answer.status in (408, 429) or answer.status >= 500:
            return Unavailable(words)
        return ElasticError(answer.status, type_, reason)

    def exists(self, path: str) -> bool:
        """Whether there is something at a path. Raises as `ask` does."""
        answer = self.send("HEAD", path)
        if answer.status not in (200, 404):
            raise self.error_of(answer)
        return answer.status == 200

    def create_index(self, index: str, body: Any) -> bool:
        """Create an index unless it is there. True if this call did. Raises as `ask` does."""
        try:
            self.ask("PUT", f"/{quoted(index)}", body)
        except ElasticError as error:
            if error.type == "resource_already_exists_exception":
                return False
            raise
        return True

    def close(self) -> None:
        """Let go of the connections. Idempotent."""
        self._transport.close()


def documents_of(answer: Any) -> list[Any]:
    """The documents of an answer to `_mget`. Its status says nothing of single ones: raises Unavailable if any of them
    could not be looked at, but for those of an index that isn't there, which hold nothing."""
    documents = list(answer.get("docs", ()))
    for one in documents:
        error = one.get("error")
        if error is not None and error.get("type") != "index_not_found_exception":
            words = f"{one.get('_id')} of {one.get('_index')} can't be looked up"
            raise Unavailable(f"{words}: Elasticsearch says {error.get('type')}: {error.get('reason')}")
    return documents


def quoted(part: str) -> str:
    """One part of a path, safe whatever is in it."""
    return quote(part, safe="")


class _Raw(Serializer):
    """Bytes both ways: bulk bodies are built, and answers read, by those who know them."""

    mimetype = JSON

    def dumps(self, data: bytes) -> bytes:
        return data

    def loads(self, data: bytes) -> bytes:
        return data


def _node(url: str, settings: ElasticSettings) -> NodeConfig:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured(f"[elastic] urls: {url!r} must be http://host:port or https://host:port")
    headers = {}
    if settings.api_key.get_secret_value():
        headers["authorization"] = f"ApiKey {settings.api_key.get_secret_value()}"
    elif settings.user:
        pair = f"{settings.user}:{settings.password.get_secret_value()}".encode()
        headers["authorization"] = "Basic " + base64.b64encode(pair).decode()
    return NodeConfig(
        parts.scheme,
        parts.hostname,
        parts.port or (443 if parts.scheme == "https" else 9200),
        path_prefix=parts.path.rstrip("/"),
        headers=headers,
        request_timeout=settings.timeout_s,
        ca_certs=settings.ca_certs or None,
    )


def _why(body: bytes) -> tuple[str, str]:
    try:
        error = json.loads(body)["error"]
        if isinstance(error, str):
            return "error", error
        return str(error.get("type", "error")), str(error.get("reason", ""))[:500]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "error", body[:200].decode(errors="replace") or "an empty answer"
