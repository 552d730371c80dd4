"""A foreign record's bytes as a JSON object: fast where it can be, exact where it must be, and strict."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from shippers.errors import Misconfigured

try:
    import orjson
except ImportError:
    raise Misconfigured("foreign records on Kafka need orjson: pip install 'lastbeat[kafka]'") from None

_DIGITS = bytes(b"0"[0] if byte in b"0123456789" else b" "[0] for byte in range(256))
_LONG_NUMBER = b"0" * 19
"""Beyond 64 bits the fast parser makes a float of a whole number."""


class Unreadable(Exception):
    """These bytes are no event; the text says why, for the dead letter."""


def parse(body: bytes) -> dict[str, Any]:
    """The object in `body`. Raises Unreadable.

    What the fast parser refuses, or reads without its last digits, the exact one reads.
    """
    try:
        doc = orjson.loads(body)
    except orjson.JSONDecodeError:
        doc = _parse_exactly(body)
    if type(doc) is not dict:
        raise Unreadable("not a JSON object")
    if _LONG_NUMBER in body.translate(_DIGITS):  # a seventh of what a regular expression takes
        return _parse_exactly(body)  # type: ignore[no-any-return]
    return doc


def _parse_exactly(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8: {error.reason} at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number in JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)
