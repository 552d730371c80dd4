"""How State's documents become text: one JSON for every implementation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def encode(table: str, key: str, doc: Mapping[str, Any]) -> str:
    """Compact ASCII JSON, so that text from hostile bodies (lone surrogates) is kept as it came.

    Raises ValueError or TypeError, naming the row, for what JSON can't say (NaN, bytes …): a fault of the caller's.
    """
    try:
        return json.dumps(doc, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{table} {key}: {error}") from None
