"""One process's shipper: buffer, numbers, the two lanes and their threads, put together once for each boot.

A forked child is a new boot: new id, empty buffer, own connections, threads that start with its first event. What the
parent had not sent stays the parent's. Nothing here raises into the host or blocks it, `flush` and `close` excepted,
which wait for a bounded time.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .buffer import Buffer
from .clock import Clock
from .errors import LastbeatError
from .event import Line, Renderer
from .heartbeat import Heartbeat
from .identity import Identity, new_boot
from .leftovers import Estates
from .resends import Resender
from .resources import Resources
from .sender import BATCH_EVENTS, Sender
from .settings import Settings
from .spool import Spool
from .streams import Progress, Streams
from .transports.protocol import Transport
from .wishes import Wishes
from .worker import Worker

log = logging.getLogger("lastbeat.shipper")

_GOODBYE_SHARE = 0.4  # of the time to close: a goodbye matters more than the last of the logs


@dataclass(frozen=True, slots=True)
class Stats:
    """What became of everything that this boot logged. Per dataset: emitted = last + (still queued) + dropped."""

    boot: str
    emitted: Mapping[str, int] = field(default_factory=dict)
    last: Mapping[str, int] = field(default_factory=dict)
    acked: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    voided: Mapping[str, int] = field(default_factory=dict)
    queue_events: int = 0
    queue_bytes: int = 0
    trimmed: int = 0
    beats: int = 0
    trouble: str = ""
    spool_bytes: int = 0
    spool_faults: int = 0

    @property
    def total_dropped(self) -> int:
        """Events dropped for any reason, in any dataset."""
        return sum(sum(reasons.values()) for reasons in self.dropped.values())


class _Tally:
    """Counts calls without a lock: `next` on a C iterator can't be interrupted."""

    def __init__(self) -> None:
        self._next = itertools.count(1).__next__
        self.count = 0

    def add(self) -> None:
        self.count = self._next()


class _Boot:
    """Everything that belongs to one boot of one process."""

    def __init__(self, shipper: Shipper, identity: Identity, pid: int) -> None:
        settings, clock = shipper.settings, shipper.clock
        self.id = new_boot()
        self.trimmed = _Tally()
        self.renderer = Renderer(identity, pid, clock, self.trimmed.add)
        self.identity = identity
        self.buffer = Buffer(settings.buffer_events, settings.buffer_bytes)
        self.streams = Streams(self.id, identity)
        self.transports = (shipper.make_transport(), shipper.make_transport())
        self.wishes = Wishes(self._look_now)
        for transport in self.transports:
            transport.wishes = self.wishes
        self.spool: Spool | None = None
        self.estates: Estates | None = None
        if settings.spool:
            root, limit = Path(settings.spool), settings.spool_bytes
            self.spool = Spool(root, limit, self.id, identity, pid, clock, self.buffer.count_into)
            self.estates = Estates(root, self.id, identity, self.transports[0], clock, limit)
        self.sender = Sender(self.buffer, self.streams, self.transports[0], clock, spool=self.spool)
        self.resender = Resender(self.id, self.wishes, self.transports[0], clock, self.spool, self.estates)
        self.resources = Resources(clock, None if pid == os.getpid() else pid)
        self.heartbeat = Heartbeat(
            identity,
            self.id,
            self.renderer,
            self.transports[1],
            clock,
            self.vitals,
            settings.interval_s,
            settings.grace_s,
        )
        self.send_worker = Worker("lastbeat-sender", self._send)
        self.beat_worker = Worker("lastbeat-heartbeat", self._beat)
        self.keep_worker = Worker("lastbeat-keeper", self.sender.keep_overdue)

    def _look_now(self) -> None:
        self.send_worker.wake()

    def ensure_sending(self) -> bool:
        """Start the threads of the log lane unless they run; False if there can be none that sends."""
        if self.spool is not None:
            self.keep_worker.ensure()
        return self.send_worker.ensure()

    def _send(self) -> float:
        wait_s = self.sender.step()
        if self.spool is not None and self.estates is not None:
            self.spool.note(self.streams.progress())
            wait_s = min(wait_s, self.estates.step(self.spool))
        return self.resender.step(wait_s)

    def end(self) -> None:
        """Nothing more is sent by this boot: let go of its files; what is in them waits for the next process."""
        if self.spool is not None:
            self.spool.note(self.streams.progress())
            self.spool.close()
        if self.estates is not None and not self.send_worker.alive:
            self.estates.end()

    def abandon(self) -> None:
        """In a forked child: this boot is the parent's; close our copies of what it holds open."""
        for transport in self.transports:
            transport.close()  # the child's copy of the socket; the parent's stays open
        if self.spool is not None:
            self.spool.abandon()
        if self.estates is not None:
            self.estates.release()

    def _beat(self) -> float:
        if self.buffer.waiting:
            self.ensure_sending()  # should they ever have died
        return self.heartbeat.step()

    def voided(self) -> dict[str, int]:
        """Events given up after they had numbers, by reason."""
        return {**self.sender.voided, **(self.spool.voided if self.spool is not None else {})}

    @property
    def spool_bytes(self) -> int:
        """What this process holds on disk: its own, and what it took over from the dead."""
        own = self.spool.size_bytes if self.spool is not None else 0
        return own + (self.estates.size_bytes if self.estates is not None else 0)

    def vitals(self) -> dict[str, Any]:
        """What a beat says of this process."""
        counts, progress = self.buffer.counts(), self.streams.progress()
        datasets = {}
        for name in counts.emitted:
            stream = progress.get(name, Progress())
            datasets[name] = {"last": stream.last, "acked": stream.acked, "dropped": counts.dropped.get(name, {})}
        return {
            "datasets": datasets,
            "queue_events": counts.events + self.sender.sealed_events,
            "queue_bytes": counts.size_bytes,
            "spool": self.spool is not None,
            "spool_bytes": self.spool_bytes,
            **self.resources.sample(),
        }


class Shipper:
    """Ships one process's events and beats. Threads start with the first event, or with `start`."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        make_transport: Callable[[], Transport],
        pid: int | None = None,
    ) -> None:
        self.settings, self.clock, self.make_transport = settings, clock, make_transport
        self._pid = pid or os.getpid()
        self._boot = _Boot(self, settings.identity, self._pid)
        self._closed = False

    @property
    def boot(self) -> str:
        """The boot id."""
        return self._boot.id

    @property
    def identity(self) -> Identity:
        """Under which names this process ships; a forked child's instance is its own."""
        return self._boot.identity

    @property
    def renderer(self) -> Renderer:
        """Writes this boot's events."""
        return self._boot.renderer

    def start(self) -> None:
        """Start beating now, without waiting for the first event. Safe to call again."""
        if not self._closed:
            self._boot.beat_worker.ensure()
            if self._boot.spool is not None:
                self._boot.ensure_sending()  # for what the dead may have left

    def put(self, line: Line, level: int) -> None:
        """Hand over an event: kept, or dropped and counted. Takes about a microsecond."""
        boot = self._boot
        waiting = boot.buffer.put(line, level)
        if waiting == 1 or (waiting and waiting % BATCH_EVENTS == 0):
            boot.ensure_sending()
            boot.beat_worker.ensure()
            boot.send_worker.wake()

    def refuses(self, level: int) -> bool:
        """Whether an event of this level would be dropped now: count it as `lost` for "full", and save the work."""
        return self._boot.buffer.refuses(level)

    def lost(self, dataset: str, reason: str) -> None:
        """Count an event that never became a line."""
        self._boot.buffer.drop(dataset, reason, emitted=True)

    def beat(self) -> None:
        """Beat now. Never blocks."""
        if not self._closed:
            boot = self._boot
            boot.heartbeat.ask()
            boot.beat_worker.ensure()
            boot.beat_worker.wake()

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was logged before is durable, at most `timeout_s`; no longer than one try fails.

        True if it is. False also when called by the thread that would have to do it.
        """
        return not self._closed and self._flush(timeout_s)

    def _flush(self, timeout_s: float) -> bool:
        boot = self._boot
        if boot.send_worker.is_me or boot.beat_worker.is_me:
            return False
        if not boot.buffer.kept:
            return True
        request = boot.sender.flush()
        if not boot.ensure_sending():
            return False
        boot.send_worker.wake()
        request.done.wait(timeout_s)
        return request.reached

    def close(self, reason: str, *, state: str = "stopping", timeout_s: float = 2.0) -> None:
        """Send what there is, spool or count what there is no time for, say goodbye. Safe to call again.

        state: "stopping" is the goodbye; "up" leaves the last counts without one, for a process that crashed.
        """
        if self._closed:
            return
        self._closed = True
        boot, deadline = self._boot, self.clock.monotonic() + timeout_s
        self._flush((1 - _GOODBYE_SHARE) * timeout_s)
        if boot.spool is not None:
            _within(0.3 * timeout_s, lambda: boot.sender.keep_the_rest(0.05 * timeout_s))
        boot.buffer.close("stopped")
        boot.keep_worker.stop(0.0)
        boot.send_worker.stop(0.05 * timeout_s)
        boot.beat_worker.stop(0.05 * timeout_s)
        if boot.beat_worker.started:
            last = self.make_transport()
            try:
                boot.heartbeat.last_words(state, reason, last, max(0.1, deadline - self.clock.monotonic()))
            except LastbeatError as error:
                log.warning("lastbeat: the goodbye could not be sent: %s", error)
            finally:
                last.close()
        if boot.spool is not None:
            _within(0.3 * timeout_s, boot.end)
        if not (boot.send_worker.alive or boot.beat_worker.alive):
            for transport in boot.transports:
                transport.close()

    def after_fork(self, parent_pid: int) -> None:
        """Called in a forked child, before anything else runs there."""
        if self._closed:
            return
        self._boot.abandon()
        self._pid = os.getpid()
        self._boot = _Boot(self, self._boot.identity.child(parent_pid, self._pid), self._pid)

    def stats(self) -> Stats:
        """A picture of this boot's counts; takes microseconds."""
        boot = self._boot
        counts, progress = boot.buffer.counts(), boot.streams.progress()
        return Stats(
            boot.id,
            counts.emitted,
            {name: stream.last for name, stream in progress.items()},
            {name: stream.acked for name, stream in progress.items()},
            counts.dropped,
            boot.voided(),
            counts.events + boot.sender.sealed_events,
            counts.size_bytes,
            boot.trimmed.count,
            boot.heartbeat.number,
            boot.sender.trouble.text or boot.heartbeat.trouble.text,
            boot.spool_bytes,
            (boot.spool.faults if boot.spool is not None else 0)
            + (boot.estates.faults if boot.estates is not None else 0),
        )


def _within(timeout_s: float, act: Callable[[], None]) -> None:
    """Do what may touch a disk, and go on without it after `timeout_s`: a disk that hangs must not hold up an exit."""
    thread = threading.Thread(target=act, name="lastbeat-spool", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads, or the interpreter is shutting down
        act()
        return
    thread.join(timeout_s)
