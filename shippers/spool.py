"""One boot's spool: a folder of its own under the spool folder, locked for as long as the boot lives.

Made by the sender's thread at its first step, so no log call ever touches the disk. A disk that is full or fails
costs nothing but the spool: the sender goes on in memory, it is said once, counted, and tried again. What is still in
the folder when the process ends, however it ends, belongs to whoever gets its lock next (see `leftovers`).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from .batch import Batch
from .clock import Clock
from .identity import Identity
from .segments import DAMAGED, FULL, Segments
from .streams import Progress
from .tally import AT, COPY, Tally

log = logging.getLogger("lastbeat.spool")

RETRY_S = 30.0
_PATIENCE_S = 0.5
_LOCK = "lock"
SENT = "sent"
"""A file in the folder of a boot of which all is settled: what is there is only kept in case."""


class Folder:
    """A boot's folder under our lock. The lock is the open file's: it ends with the process."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self._handle = path, handle

    @classmethod
    def create(cls, root: Path, boot: str) -> Folder:
        """Make it, locked before anybody can see it. Raises OSError."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = root / f".new-{boot}"
        draft.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(draft / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(draft.rename(root / boot), handle)
        except OSError:
            os.close(handle)
            raise

    @classmethod
    def claim(cls, path: Path) -> Folder | None:
        """Lock a folder that a dead process left; None while somebody has it, or had it and is done with it."""
        try:
            handle = os.open(path / _LOCK, os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), (path / _LOCK).stat()):
                return cls(path, handle)
        except OSError:  # held, or removed since
            os.close(handle)
            return None
        os.close(handle)
        return None

    def release(self) -> None:
        """Let go of the lock and leave the folder."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)  # and no LOCK_UN: in a forked child that would free the parent's

    def remove(self) -> None:
        """Remove what is ours in it, and it; the lock last, so that nobody finds half a folder."""
        with contextlib.suppress(OSError):  # whoever gets the lock next finds the rest, and nothing to send
            for path in self.path.glob("*.new"):
                path.unlink(missing_ok=True)
            (self.path / SENT).unlink(missing_ok=True)
            (self.path / COPY).unlink(missing_ok=True)
            (self.path / _LOCK).unlink(missing_ok=True)
            self.path.rmdir()
        self.release()


class Spool:
    """What the sender keeps on disk. Its thread calls everything; closing it is anybody's, once."""

    def __init__(
        self,
        root: Path,
        max_bytes: int,
        boot: str,
        me: Identity,
        pid: int,
        clock: Clock,
        count_into: Callable[[memoryview], None],
    ) -> None:
        self._root, self._max_bytes, self._boot, self._me, self._pid = root, max_bytes, boot, me, pid
        self._clock, self._count_into = clock, count_into
        self._lock = threading.RLock()
        self._folder: Folder | None = None
        self._segments: Segments | None = None
        self._tally: Tally | None = None
        self._closed = False
        self._retry_at = 0.0
        self._failing = False
        self.events = 0
        """Events in it with a body, not yet known to be durable elsewhere."""
        self.faults = 0
        """How often the disk would not have it, or didn't give it back."""
        self.voided: dict[str, int] = {}
        """Events given up because it was full, or because they could not be read again, by reason."""

    @property
    def size_bytes(self) -> int:
        """What the batches take on disk."""
        segments = self._segments
        return segments.size_bytes if segments is not None else 0

    @property
    def kept_bytes(self) -> int:
        """What is durable elsewhere and only kept in case takes on disk."""
        segments = self._segments
        return segments.kept_bytes if segments is not None else 0

    @property
    def has_more(self) -> bool:
        """Whether `next` may have something now."""
        segments = self._segments
        return segments is not None and segments.has_more

    def usable(self) -> bool:
        """Whether there is sense in trying to keep something; begins with the counting, before the first batch."""
        with self._lock:
            if self._closed or self._clock.monotonic() < self._retry_at:
                return False
            try:
                self._open()
            except OSError as error:
                self._fails(error)
                return False
            return True

    def keep(self, batches: Sequence[Batch]) -> bool:
        """Have batches on disk, fsynced; False if that can't be, and they are the caller's to keep."""
        with self._lock:
            if not self.usable() or self._segments is None:
                return False
            given_up = self._segments.given_up
            try:
                self._segments.append(batches)
            except OSError as error:
                self._fails(error)
                return False
            finally:
                self._count_given_up(self._segments.given_up - given_up)
            self.events += sum(batch.header.count for batch in batches)
            if self._failing:
                self._failing = False
                log.warning("lastbeat: the spool is used again")
            return True

    def next(self) -> Batch | None:
        """The next batch to be sent, in order; None if there is none now."""
        with self._lock:
            if self._segments is None:
                return None
            damaged = self._segments.damaged
            batch = self._segments.next()
            self.faults += self._segments.damaged - damaged
            if batch is not None and batch.header.void == DAMAGED:
                self.voided[DAMAGED] = self.voided.get(DAMAGED, 0) + batch.header.count
            return batch

    def settle(self, batches: Iterable[Batch]) -> None:
        """These are durable elsewhere."""
        batches = list(batches)
        with self._lock:
            if self._segments is None:
                return
            held = self._segments.settle(batches)
            self.events -= sum(batch.header.count for batch in held if batch.header.void != FULL)

    def again(self, stream: str, first: int, last: int) -> list[Batch] | None:
        """See Segments.again."""
        with self._lock:
            return self._segments.again(stream, first, last) if self._segments is not None else []

    def forget_kept(self) -> bool:
        """Make room by what is only kept in case, the oldest first. False if there is nothing of it."""
        with self._lock:
            return self._segments is not None and self._segments.forget_kept()

    def note(self, progress: Mapping[str, Progress]) -> None:
        """Write down where the streams stand, beside what the log calls count."""
        with self._lock:
            if self._tally is None:
                return
            for dataset, stream in progress.items():
                self._tally.cells[AT[dataset] + 2] = stream.last
                self._tally.cells[AT[dataset] + 3] = stream.acked
            try:
                self._tally.copy()
            except OSError as error:
                self._fails(error)

    def close(self) -> None:
        """Let go: an empty spool is removed, any other waits for the next process."""
        if not self._lock.acquire(timeout=_PATIENCE_S):
            return  # the sender hangs in the disk; the lock ends with the process
        try:
            self._closed = True
            segments, tally, folder = self._segments, self._tally, self._folder
            self._segments = self._tally = self._folder = None
            if segments is None or tally is None or folder is None:
                return
            empty = not segments.size_bytes
            with contextlib.suppress(OSError):
                segments.close()
                tally.close()
            if not empty:
                folder.release()
                return
            with contextlib.suppress(OSError):
                segments.remove()
            folder.remove()
        finally:
            self._lock.release()

    def abandon(self) -> None:
        """In a forked child: close the copies of what is the parent's, and touch nothing of it."""
        # Without the lock: in the child nobody is left to free it, and nobody to hold it against.
        self._closed = True
        with contextlib.suppress(OSError):
            if self._segments is not None:
                self._segments.close()
            if self._tally is not None:
                self._tally.abandon()
            if self._folder is not None:
                self._folder.release()

    def _open(self) -> None:
        if self._segments is not None:
            return
        folder = Folder.create(self._root, self._boot)
        try:
            self._tally = Tally(folder.path, self._boot, self._me, self._pid)
            self._segments = Segments(folder.path, self._max_bytes)
        except OSError:
            folder.remove()
            raise
        self._folder = folder
        self._count_into(self._tally.cells)

    def _count_given_up(self, gone: int) -> None:
        if gone:
            self.events -= gone
            self.voided[FULL] = self.voided.get(FULL, 0) + gone
            log.error("lastbeat: the spool is full, its %d oldest events are given up", gone)

    def _fails(self, error: OSError) -> None:
        self.faults += 1
        self._retry_at = self._clock.monotonic() + RETRY_S
        if not self._failing:
            self._failing = True
            log.error("lastbeat: the spool can't be used, events are kept in memory meanwhile: %s", error)
