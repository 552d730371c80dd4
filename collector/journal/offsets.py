"""How far each reader group is: one small file a group, replaced as a whole and synced, in the journal's folder.

What a group has not committed is not deleted. A topic that no group reads counts as unread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shippers.durable import sync
from shippers.errors import Misconfigured

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Group:
    """What a group reads, and from where in each topic. A topic that isn't named was born later: from 0 on."""

    name: str
    datasets: frozenset[str]
    positions: Mapping[str, int]

    def reads(self, topic: str) -> bool:
        """Whether the topic is of one of its datasets."""
        return topic.rpartition(".")[2] in self.datasets


class Offsets:
    """The groups' files. Any process may write its own group's; the journal's writer reads them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path_of(self, group: str) -> Path:
        """Where a group's offsets lie; deleting the file makes the journal forget the group."""
        if not group or "/" in group or group.startswith("."):
            raise Misconfigured(f"reader group {group!r}: must be a plain name")
        return self._folder / f"{group}{_SUFFIX}"

    def load(self, group: str) -> Group | None:
        """The group as it stands, None if it never read."""
        try:
            raw = self.path_of(group).read_bytes()
        except FileNotFoundError:
            return None
        try:
            doc = json.loads(raw)
            return Group(group, frozenset(doc["datasets"]), {str(k): int(v) for k, v in doc["positions"].items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Misconfigured(
                f"{self.path_of(group)} is damaged ({error}); delete it to let group {group} begin at the oldest record"
            ) from None

    def store(self, group: Group) -> None:
        """Replace the group's file; durable on return."""
        self._folder.mkdir(parents=True, exist_ok=True)
        doc = {"datasets": sorted(group.datasets), "positions": dict(sorted(group.positions.items()))}
        path = self.path_of(group.name)
        fresh = path.with_suffix(f".{os.getpid()}.new")
        with fresh.open("wb") as file:
            file.write(json.dumps(doc).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync(self._folder)

    def all(self) -> list[Group]:
        """Every group."""
        try:
            names = sorted(path.name for path in self._folder.iterdir() if path.name.endswith(_SUFFIX))
        except FileNotFoundError:
            return []
        groups = (self.load(name.removesuffix(_SUFFIX)) for name in names)
        return [group for group in groups if group is not None]


def read_below(topic: str, groups: Iterable[Group]) -> tuple[int, str]:
    """Below which offset every group has read `topic`, and who is last. (0, "") if nobody reads it."""
    positions = [(group.positions.get(topic, 0), group.name) for group in groups if group.reads(topic)]
    return min(positions, default=(0, ""))
