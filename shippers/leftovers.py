"""What dead processes left in the spool folder: found, taken under its lock, sent in order, removed.

Any lastbeat process with the same folder may do it, never two at once. What a SIGKILL cut off before it had a number
gets its numbers here, after the dead boot's last: one void batch a dataset, `void` = "killed". So for the dead boot too
emitted = stored + dead + dropped, and its successor's own numbers stay its own. What is sent is kept, like a living
boot's own, while there is room and the heir lives. One thread calls `step`.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from .batch import Batch, Header
from .clock import Clock
from .errors import LastbeatError
from .identity import Identity
from .segments import Segments
from .spool import SENT, Folder, Spool
from .tally import Account, Estate, read, shared_path
from .transports.protocol import Rejected, Transport

log = logging.getLogger("lastbeat.spool")

KILLED = "killed"

_SCAN_S = 60.0
_RETRY_S = 15.0
_NOT_MINE_S = 3_600.0
_TIMEOUT_S = 10.0
_REQUEST_BATCHES = 20
_REQUEST_BYTES = 4_000_000
_MOST_KEPT = 8


class Estates:
    """Everything claimed by this process."""

    def __init__(self, root: Path, boot: str, me: Identity, transport: Transport, clock: Clock, max_bytes: int) -> None:
        self._root, self._boot, self._me = root, boot, me
        self._transport, self._clock, self._max_bytes = transport, clock, max_bytes
        self._claims: deque[Leftover] = deque()
        self._kept: deque[Leftover] = deque()
        self._not_mine: dict[str, float] = {}
        self._scan_at = self._retry_at = clock.monotonic()
        self.faults = 0
        """Damaged or torn places that were skipped."""

    @property
    def size_bytes(self) -> int:
        """What is claimed and not yet sent takes on disk."""
        return sum(claim.segments.size_bytes for claim in tuple(self._claims))

    @property
    def kept_bytes(self) -> int:
        """What is sent, and only kept in case, takes on disk."""
        return sum(claim.segments.kept_bytes for claim in (*tuple(self._claims), *tuple(self._kept)))

    def step(self, own: Spool | None = None) -> float:
        """Look for leftovers, or send some: at most one request. Returns in how many seconds to come again.

        What this process's own spool takes and this stay within the limit together.
        """
        now = self._clock.monotonic()
        if now >= self._scan_at:
            self._scan_at = now + _SCAN_S
            self._scan(now)
        self._make_room(own)
        if self._claims and now >= self._retry_at:
            self._send(self._claims[0], now)
        if not self._claims:
            return max(0.0, self._scan_at - self._clock.monotonic())
        return max(0.0, min(self._retry_at, self._scan_at) - self._clock.monotonic())

    def again(self, stream: str, first: int, last: int) -> list[Batch] | None:
        """See Segments.again; for streams of boots that `knows`."""
        boot = stream.partition(".")[0]
        for left in (*self._kept, *self._claims):
            if left.boot == boot:
                return left.segments.again(stream, first, last)
        return []

    def knows(self, boot: str) -> bool:
        """Whether what that boot left is in our hands."""
        return any(left.boot == boot for left in (*self._kept, *self._claims))

    def end(self) -> None:
        """Remove what is only kept in case, and let go of the rest, for others to take."""
        while self._kept:
            self._kept.popleft().remove()
        self.release()

    def release(self) -> None:
        """Let go of all of it, for others to take; also in a forked child, where it stays the parent's."""
        for each in (self._claims, self._kept):
            while each:
                each.popleft().folder.release()

    def _make_room(self, own: Spool | None) -> None:
        """What is only kept in case goes first, the dead's before our own; then the oldest of what is unsent."""
        while self.size_bytes + self.kept_bytes + (own.size_bytes + own.kept_bytes if own else 0) > self._max_bytes:
            if self._forget_kept() or (own is not None and own.forget_kept()):
                continue
            if not any(claim.evict() for claim in self._claims):
                return

    def _forget_kept(self) -> bool:
        while self._kept and not self._kept[0].segments.forget_kept():
            self._kept.popleft().remove()
        return bool(self._kept) or any(claim.segments.forget_kept() for claim in self._claims)

    def _keep(self, left: Leftover) -> None:
        self._kept.append(left)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popleft().remove()

    def _scan(self, now: float) -> None:
        try:
            paths = sorted(path for path in self._root.iterdir() if path.is_dir() and path.name[0] != ".")
        except OSError:
            return  # no spool folder yet
        found = []
        for path in paths:
            if path.name == self._boot or self._not_mine.get(path.name, now) > now:
                continue
            if (folder := Folder.claim(path)) is None:
                continue
            try:
                left = Leftover(folder, self._clock, self._max_bytes)
            except OSError as error:
                log.error("lastbeat: what a dead process left can't be read: %s: %s", path, error)
                self._not_mine[path.name] = now + _NOT_MINE_S
                folder.release()
                continue
            if left.is_sent:
                self._keep(left)
            else:
                found.append(left)
        found.sort(key=lambda left: not left.is_of(self._me))
        for left in found:
            log.warning("lastbeat: %s left %d bytes in the spool, sent from here", left.name, left.segments.size_bytes)
        self._claims.extend(found)

    def _send(self, left: Leftover, now: float) -> None:
        request = left.request()
        if not request:
            self._claims.popleft()
            self.faults += left.segments.damaged
            if left.finish():
                self._keep(left)
            return
        try:
            self._transport.send(request, _TIMEOUT_S)
        except Rejected as error:
            if error.is_of_the_batch and left.refuse(error.index, error.code):
                return
            log.error("lastbeat: what %s left can't be sent from here: %s", left.name, error)
            self._not_mine[left.folder.path.name] = now + _NOT_MINE_S
            self._claims.popleft().folder.release()
        except LastbeatError as error:
            self._retry_at = self._clock.monotonic() + max(_RETRY_S, error.retry_after_s or 0.0)
        else:
            left.settle(request)


class Leftover:
    """One dead boot's folder, in our hands."""

    def __init__(self, folder: Folder, clock: Clock, max_bytes: int) -> None:
        self.folder, self._clock = folder, clock
        self.boot = folder.path.name
        self.is_sent = (folder.path / SENT).exists()
        """All of it was sent by an heir that is dead by now as well."""
        self._estate: Estate | None = read(folder.path, self.boot)
        accounts = self._estate.accounts if self._estate else {}
        acked = {f"{self.boot}.{dataset}": account.acked + 1 for dataset, account in accounts.items()}
        self.segments = Segments(folder.path, max_bytes, acked)
        self._pending: deque[Batch] = deque()
        self._tail: deque[Batch] | None = None
        self._one_by_one = False
        self.killed = 0

    @property
    def name(self) -> str:
        """Who left it, for people."""
        who = self._estate
        return f"{who.service}/{who.instance} (pid {who.pid}, boot {self.boot})" if who else f"boot {self.boot}"

    def is_of(self, me: Identity) -> bool:
        """Whether it was of the same service, whose token surely is good for it."""
        return self._estate is not None and self._estate.service == me.service

    def request(self) -> list[Batch]:
        """What to send next, in order; empty once there is nothing more."""
        size = sum(len(batch.body) for batch in self._pending)
        while len(self._pending) < _REQUEST_BATCHES and size < _REQUEST_BYTES:
            batch = self.segments.next() or self._next_of_tail()
            if batch is None:
                break
            self._pending.append(batch)
            size += len(batch.body)
        return list(self._pending)[: 1 if self._one_by_one else None]

    def refuse(self, index: int | None, code: str) -> bool:
        """One batch is refused: void it, or find out which it is. False if nothing more can be done about it."""
        if index is None and not self._one_by_one:
            self._one_by_one = True
            return True
        batch = self._pending[index or 0]
        if batch.header.void:
            return False
        log.error("lastbeat: %d events that %s left are refused: %s", batch.header.count, self.name, code)
        self._pending[index or 0] = batch.void(f"refused: {code}")
        return True

    def settle(self, batches: list[Batch]) -> None:
        """These are durable."""
        for _ in batches:
            self._pending.popleft()
        self.segments.settle(batches)
        self._one_by_one = False

    def evict(self) -> int:
        """Give up the oldest that is not in hand, for lack of room."""
        try:
            gone = self.segments.evict()
        except OSError as error:
            log.error("lastbeat: the spool can't be made smaller: %s", error)
            return 0
        if gone:
            log.error("lastbeat: the spool is full, the %d oldest events that %s left are given up", gone, self.name)
        return gone

    def finish(self) -> bool:
        """All is sent. Whether there is anything left to be kept in case; else the folder is removed."""
        if self._estate is None:
            log.warning("lastbeat: what %s left is sent; how much it had not written yet is unknown", self.name)
        elif self.killed:
            log.warning(
                "lastbeat: what %s left is sent; %d events it had only in memory are lost", self.name, self.killed
            )
        else:
            log.warning("lastbeat: what %s left is sent; nothing of it is lost", self.name)
        shared_path(self.boot).unlink(missing_ok=True)
        self.segments.settle(())
        if self.segments.kept_bytes and not self.segments.size_bytes:
            with contextlib.suppress(OSError):  # then the next heir sends it once more, and it is stored once
                (self.folder.path / SENT).touch()
                return True
        self.remove()
        return False

    def remove(self) -> None:
        """Nothing of it is of use any more."""
        try:
            self.segments.remove()
        except OSError as error:
            log.error("lastbeat: the spool can't remove what was sent: %s: %s", self.folder.path, error)
        self.folder.remove()

    def _next_of_tail(self) -> Batch | None:
        """After all that is on disk: numbers for what had none, or none that anybody ever saw."""
        if self._tail is None:
            accounts = self._estate.accounts if self._estate else {}
            tails = [self._killed(dataset, account) for dataset, account in accounts.items()]
            self._tail = deque(batch for batch in tails if batch is not None)
        return self._tail.popleft() if self._tail else None

    def _killed(self, dataset: str, account: Account) -> Batch | None:
        assert self._estate is not None
        stream = f"{self.boot}.{dataset}"
        first = self.segments.expected(stream)
        last = account.emitted - account.dropped
        if last < first:
            return None
        self.killed += last - first + 1
        day = datetime.fromtimestamp(self._clock.time(), UTC).date().isoformat()
        who = self._estate
        header = Header(stream, first, last - first + 1, who.region, dataset, day, who.service, who.instance, 0, KILLED)
        return Batch(header, b"")
