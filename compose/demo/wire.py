"""One HTTP call between the shop's processes: JSON there, JSON back, a connection each."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

OK = 200


def post(
    address: str, path: str, body: Mapping[str, Any], timeout_s: float, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """POST to `address` (host:port). Raises OSError (ConnectionRefusedError, TimeoutError …) if there is no answer,
    http.client.HTTPException if there is one that is none."""
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("POST", path, json.dumps(body).encode(), dict(headers or {}))
        response = connection.getresponse()
        raw = response.read()
        if response.status != OK:
            raise http.client.HTTPException(f"{address}{path} answered {response.status}")
        answer: dict[str, Any] = json.loads(raw)
        return answer
    finally:
        connection.close()
