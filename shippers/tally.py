"""One boot's counters in memory that outlives a SIGKILL, so that what had no number yet can be counted afterwards.

Each log call writes one number into shared memory (/dev/shm: never a disk, so it can neither block nor fail); the
sender's thread copies it into the spool's folder, which outlives the machine's restart and the container. Where there
is no /dev/shm only the copy is kept, as of the sender's last step.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .batch import DATASETS
from .identity import Identity, is_name, is_region

COPY = "counters"

_SIZE = 4_096
_MAGIC = b"lastbeat"
_PER_DATASET = 4  # emitted, dropped before it had a number, last number given, acked
_CELLS = struct.Struct(f"={_PER_DATASET * len(DATASETS)}Q")
_NAMES_AT = 1_024
_SHARED = Path("/dev/shm")  # noqa: S108  a name that can't be guessed, opened for its owner alone

AT: Mapping[str, int] = {name: _PER_DATASET * index for index, name in enumerate(DATASETS)}
"""Where a dataset's cells begin."""


@dataclass(frozen=True, slots=True)
class Account:
    """One dataset of one boot: `emitted` = `dropped` + numbered up to `last` + those that had no number yet."""

    emitted: int = 0
    dropped: int = 0
    last: int = 0
    acked: int = 0


@dataclass(frozen=True, slots=True)
class Estate:
    """What is known of a boot from its counters."""

    service: str
    region: str
    instance: str
    pid: int
    accounts: Mapping[str, Account] = field(default_factory=dict)


class Tally:
    """The counters of a living boot. `cells` are written by log calls, under the buffer's lock."""

    def __init__(self, folder: Path, boot: str, me: Identity, pid: int) -> None:
        names = json.dumps({"service": me.service, "region": me.region, "instance": me.instance, "pid": pid}).encode()
        page = bytearray(_SIZE)
        page[: len(_MAGIC)] = _MAGIC
        page[_NAMES_AT : _NAMES_AT + len(names)] = names
        self._shared = shared_path(boot)
        self._map = _map(self._shared, page)
        self._whole = memoryview(self._map if self._map is not None else page)
        self.cells = self._whole[len(_MAGIC) : len(_MAGIC) + _CELLS.size].cast("Q")
        self._copied = b""
        self._copy = os.open(folder / COPY, os.O_WRONLY | os.O_CREAT, 0o600)

    def copy(self) -> None:
        """Write the copy in the spool's folder, if anything has changed. Raises OSError."""
        now = bytes(self._whole)
        if now != self._copied:
            os.pwrite(self._copy, now, 0)
            self._copied = now

    def close(self) -> None:
        """Let go; nobody may write `cells` any more. The copy says the rest."""
        self.abandon()
        if self._map is not None:
            self._shared.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Let go without a word, as a forked child does of what is its parent's."""
        copy, self._copy = self._copy, -1
        if copy >= 0:
            os.close(copy)


def shared_path(boot: str) -> Path:
    """Where a boot's counters are while it lives."""
    return _SHARED / f"lastbeat-{boot}"


def _map(path: Path, page: bytearray) -> mmap.mmap | None:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return None
    try:
        # Written, not only made longer: a page that can't be had is an error here, and a SIGBUS later.
        os.write(handle, page)
        return mmap.mmap(handle, _SIZE)
    except (OSError, ValueError):
        path.unlink(missing_ok=True)
        return None
    finally:
        os.close(handle)


def read(folder: Path, boot: str) -> Estate | None:
    """What a dead boot's counters say, the later of the two places; None if there is nothing to be believed."""
    found = [estate for estate in (_read(shared_path(boot), strict=True), _read(folder / COPY)) if estate is not None]
    return max(found, key=lambda estate: sum(one.emitted for one in estate.accounts.values()), default=None)


def _read(path: Path, *, strict: bool = False) -> Estate | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if strict and os.fstat(handle).st_uid != os.geteuid():
                return None
            page = os.read(handle, _SIZE)
        finally:
            os.close(handle)
        if len(page) != _SIZE or not page.startswith(_MAGIC):
            return None
        names = json.loads(page[_NAMES_AT:].rstrip(b"\0"))
        estate = Estate(names["service"], names["region"], names["instance"], int(names["pid"]), _accounts(page))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    good = is_name(estate.service) and is_region(estate.region) and is_name(estate.instance)
    return estate if good else None


def _accounts(page: bytes) -> dict[str, Account]:
    cells = _CELLS.unpack_from(page, len(_MAGIC))
    accounts = {name: Account(*cells[at : at + _PER_DATASET]) for name, at in AT.items()}
    return {name: account for name, account in accounts.items() if account.emitted}
