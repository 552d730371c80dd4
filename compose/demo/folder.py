"""The demo's data folder: fresh at each start, and never somebody else's."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shippers.errors import Misconfigured

MARK = ".lastbeat-demo"


@contextmanager
def fresh(folder: Path) -> Iterator[bool]:
    """Empty `folder` and hold it for this demo alone; yields whether there was something to empty.

    Raises Misconfigured if it holds anything but an earlier demo's data, or if another demo is running there.
    """
    if folder.exists() and not (folder / MARK).exists() and any(folder.iterdir()):
        raise Misconfigured(
            f"{folder} holds what no demo put there, and the demo empties its folder: name another with --data"
        )
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / MARK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured(f"another demo is running in {folder}: end it, or name another with --data") from None
        yield _empty(folder)
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> bool:
    found = [entry for entry in folder.iterdir() if entry.name != MARK]
    for entry in found:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return bool(found)
