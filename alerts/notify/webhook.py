"""Tells a URL: POSTs the message as JSON, with `Idempotency-Key` set to the notice's id."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from .message import Message, Undelivered

TEMPORARY = frozenset({408, 425, 429})


class Webhook:
    """Any answer from 200 to 299 is delivered; 5xx, 408, 425, 429 and silence are tried again; all else is a no."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self._url = url
        self._client = httpx.Client(headers=dict(headers), timeout=timeout_s, follow_redirects=False)

    def send(self, message: Message) -> None:
        try:
            answer = self._client.post(
                self._url, json=message.doc(), headers={"Idempotency-Key": message.notice_id.encode().decode("latin-1")}
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Undelivered(f"{self._host()}: {type(error).__name__} {error}") from None
        if not answer.is_success:
            status = answer.status_code
            raise Undelivered(
                f"{self._host()} answered {status}",
                permanent=status < 500 and status not in TEMPORARY,
                retry_after_s=_seconds(answer.headers.get("retry-after", "")),
            )

    def _host(self) -> str:
        """The URL may hold a secret; its host does not."""
        try:
            return httpx.URL(self._url).host
        except httpx.InvalidURL:
            return "webhook"

    def close(self) -> None:
        self._client.close()


def _seconds(text: str) -> float | None:
    return min(float(text), 3600.0) if text.isascii() and text.isdigit() else None
