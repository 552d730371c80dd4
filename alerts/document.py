"""How the rows that State keeps become documents, and come back: flat dataclasses by field name.

Reading is lenient both ways, so that an older and a newer version can share a State: unknown fields are ignored,
missing ones take their default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


def to_doc(row: Any) -> dict[str, Any]:
    """A dataclass as a JSON-able mapping; dataclasses inside tuples too."""
    return {name: _plain(getattr(row, name)) for name in names_of(type(row))}


_AS_IT_IS = frozenset({str, int, float, bool, dict, type(None)})


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is tuple:
        return [_plain(item) for item in value]
    return value.value if isinstance(value, StrEnum) else to_doc(value)


def known(kind: type[T], doc: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a document that this version's dataclass has fields for; lists as tuples."""
    fields = names_of(kind)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in doc.items() if name in fields}


UNREADABLE = (TypeError, ValueError, KeyError, AttributeError)
"""What reading a row raises that is damaged, or that somebody else wrote."""
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}


def checked(row: T) -> T:
    """A dataclass whose plain fields are of their types; else raises TypeError: who goes on with it would fail later,
    and not know why."""
    for field in dataclasses.fields(row):  # type: ignore[arg-type]  # it is a dataclass
        value = getattr(row, field.name)
        if not isinstance(value, _TYPES.get(str(field.type), (object,))):
            raise TypeError(f"{field.name} is {value!r:.50}")
    return row


_NAMES: dict[type[Any], tuple[str, ...]] = {}


def names_of(kind: type[Any]) -> tuple[str, ...]:
    """A dataclass's field names."""
    if kind not in _NAMES:
        _NAMES[kind] = tuple(field.name for field in dataclasses.fields(kind))
    return _NAMES[kind]
