"""One write's files in the making: bodies are parsed, on all cores, while later ones are still being planned.

No commit names a file before `finish` has returned, and whoever leaves without it leaves nothing running behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from collector.dead_letters import DeadLetter

from .files import DataFile
from .plan import Planned

_FILE_BYTES = 8 * 1024 * 1024
"""Bodies that make one file. DuckDB reads so much with one thread: it is files that share the cores, and compaction
brings together what a backlog leaves."""


class Place(NamedTuple):
    """The partition of a table that rows go to."""

    dataset: str
    region: str
    date: str


@dataclass(slots=True)
class Filled:
    """What a write came to: files that no commit names yet, by dataset; and by `id(plan)` how many rows each plan has
    in them, and the dead letters that its lines made."""

    files: dict[str, list[DataFile]] = field(default_factory=dict)
    stored: dict[int, int] = field(default_factory=dict)
    dead: dict[int, tuple[DeadLetter, ...]] = field(default_factory=dict)


class Made(NamedTuple):
    """What became of some plans: their file, if they have any sound line; for each plan how many rows are its, and
    the dead letters that its lines made."""

    file: DataFile | None
    stored: Sequence[int]
    dead: Sequence[tuple[DeadLetter, ...]]


@dataclass(slots=True)
class _Part:
    plans: list[Planned] = field(default_factory=list)
    size_bytes: int = 0


class Filling:
    """`make` turns some plans of one place into a file, in the pool. Used by one thread, as a context."""

    def __init__(self, pool: Executor, make: Callable[[Place, Sequence[Planned]], Made]) -> None:
        self._pool, self._make = pool, make
        self._open: dict[Place, _Part] = {}
        self._begun: list[tuple[Place, list[Planned], Future[Made]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        made = [making for _, _, making in self._begun]
        for making in made:
            making.cancel()
        futures.wait(made)

    def add(self, place: Place, plan: Planned) -> None:
        """Take a plan that has lines to store."""
        part = self._open.setdefault(place, _Part())
        part.plans.append(plan)
        part.size_bytes += len(plan.record.body)
        if part.size_bytes >= _FILE_BYTES:
            self._begin(place, self._open.pop(place))

    def finish(self) -> Filled:
        """Wait for all of it. Raises what making a file raised: OSError or duckdb.Error."""
        for place, part in self._open.items():
            self._begin(place, part)
        self._open.clear()
        filled = Filled()
        for place, plans, making in self._begun:
            made = making.result()
            if made.file is not None:
                filled.files.setdefault(place.dataset, []).append(made.file)
            for plan, stored, dead in zip(plans, made.stored, made.dead, strict=True):
                filled.stored[id(plan)] = stored
                filled.dead[id(plan)] = dead
        return filled

    def _begin(self, place: Place, part: _Part) -> None:
        self._begun.append((place, part.plans, self._pool.submit(self._make, place, part.plans)))
