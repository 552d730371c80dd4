"""Reads what Elasticsearch answered to a bulk request: pure, and item by item only when it has to."""

from __future__ import annotations

import json
from enum import Enum
from typing import NamedTuple

from shippers.errors import Unavailable

FILTER = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"

_ALL_WELL = b'{"errors":false,"items":['
_CREATED = b'"status":201}'
_INDEX_TYPES = {"cluster_block_exception", "index_closed_exception", "index_read_only_exception"}


class Fate(Enum):
    """What became of one item, as the one who must act on it needs to know it."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    DEAD = "dead"
    """The event itself can't be stored: its reason and its bytes go to the dead letters."""
    LATER = "later"
    """This one item again, after a while."""
    NO_INDEX = "no index"
    """Its index isn't there (never was, or not any more)."""
    BLOCKED = "blocked"
    """Trouble with that one index: a block, a closed index. Others go on."""
    DENIED = "denied"
    """The credentials don't allow it: everything stops, and a person must help."""


class Item(NamedTuple):
    """One item's fate, with Elasticsearch's words where it isn't well."""

    fate: Fate
    why: str = ""


class Garbled(Unavailable):
    """The answer was cut off or isn't what was asked for: what it did is unknown, and `create` makes it safe to ask
    again."""


def read(answer: bytes, count: int) -> list[Item] | None:
    """The fate of each of `count` items in their order; None if all are stored. Raises Garbled."""
    if answer.startswith(_ALL_WELL) and answer.endswith(b"]}") and answer.count(_CREATED) == count:
        return None
    try:
        items = json.loads(answer)["items"]
        read_items = [_item(next(iter(one.values()))) for one in items]
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise Garbled(
            f"Elasticsearch's answer to a bulk request can't be read ({type(error).__name__}): cut off?"
        ) from None
    if len(read_items) != count:
        raise Garbled(f"Elasticsearch answered for {len(read_items)} items, {count} were sent")
    return read_items


def _item(item: dict[str, object]) -> Item:
    status = int(str(item["status"]))
    if status in (200, 201) or (status == 404 and "error" not in item):  # to be deleted, and gone already
        return Item(Fate.STORED)
    error = item.get("error")
    type_, reason = (str(error.get("type")), str(error.get("reason"))) if isinstance(error, dict) else ("", "")
    return Item(fate_of(status, type_), f"{type_}: {reason}"[:1_000])


def fate_of(status: int, type_: str) -> Fate:
    """The decision, by status and Elasticsearch's own word for the error."""
    if status == 409:
        return Fate.DUPLICATE
    if type_ in _INDEX_TYPES:
        return Fate.BLOCKED
    if status == 404 and type_ == "index_not_found_exception":
        return Fate.NO_INDEX
    if status in (401, 403):
        return Fate.DENIED
    if status in (400, 413):
        return Fate.DEAD
    return Fate.LATER
