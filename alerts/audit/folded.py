"""Counts of boots that are forgotten: what stays of them in the statement, by day and name. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Days = dict[str, dict[str, dict[str, int]]]
"""By day and name (fields joined by slashes), what was counted."""


class Folded:
    """Sums by chunk, so that they are kept beside the boots that they come from."""

    def __init__(self) -> None:
        self._chunks: dict[int, Days] = {}

    def add(self, chunk: int, day: str, name: str, counts: Mapping[str, int], sign: int = 1) -> None:
        """Count these too, or no more (`sign` -1)."""
        names = self._chunks.setdefault(chunk, {}).setdefault(day, {})
        total = names.setdefault(name, {})
        for what, number in counts.items():
            total[what] = total.get(what, 0) + sign * number
            if not total[what]:
                del total[what]
        if not total:
            del names[name]

    def of(self, chunk: int) -> Days:
        """All of one chunk, as its document."""
        return self._chunks.get(chunk, {})

    def restore(self, chunk: int, doc: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """The same, back."""
        self._chunks[chunk] = {day: {name: dict(each) for name, each in names.items()} for day, names in doc.items()}

    def __iter__(self) -> Iterator[tuple[str, str, Mapping[str, int]]]:
        """Day, name and counts; they may come again."""
        for days in self._chunks.values():
            for day, names in days.items():
                for name, counts in names.items():
                    yield day, name, counts
