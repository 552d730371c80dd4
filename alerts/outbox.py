"""Where incidents go while State can't be reached: a local file, one JSON document a line, on the disk before a page
goes out. What is in it is merged into State later; the last line of an incident counts. It never decides anything."""

from __future__ import annotations

import json
import os
from pathlib import Path

from shippers.durable import sync

from .document import to_doc
from .incidents import Incident, incident_from


class Outbox:
    """A file of incidents that State has not seen. Used by one process; `add` and `clear` under the book's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, incident: Incident) -> None:
        """Keep an incident as it is now; on the disk when this returns. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self._path.exists()
        line = json.dumps(to_doc(incident), separators=(",", ":")).encode()
        with self._path.open("ab") as file:
            file.write(b"\n" + line + b"\n")  # the first line break ends a line that a crash cut off
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync(self._path.parent)

    def read(self) -> list[Incident]:
        """What is kept, each incident as it was last. A line that a crash cut off is no incident."""
        if not self._path.exists():
            return []
        last: dict[str, Incident] = {}
        for line in self._path.read_bytes().splitlines():
            try:
                incident = incident_from(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue
            last[incident.id] = incident
        return list(last.values())

    def clear(self) -> None:
        """State has everything."""
        if self._path.exists():
            self._path.unlink()
            sync(self._path.parent)
