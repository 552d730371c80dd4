"""The shippers of this process, and what happens to them when it forks, ends, crashes or is told to stop.

One identity has one shipper, however many handlers share it: one boot, one heartbeat. This is the only module with
state of its own, because fork and exit belong to the process and to nobody else.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import signal
import sys
import threading
from types import FrameType

from .clock import Clock, SystemClock
from .settings import Settings
from .shipper import Shipper
from .transports.http import HttpTransport
from .transports.protocol import Transport

EXIT_TIMEOUT_S = 2.0

_shippers: list[tuple[Shipper, Transport | None]] = []
_lock = threading.Lock()
_pid = os.getpid()


def shared(settings: Settings, transport: Transport | None = None, clock: Clock | None = None) -> Shipper:
    """The shipper for these settings' identity: the one there is, or a new one.

    With a `transport` of one's own (a fake in tests), all lanes use it, and it is part of what is shared.
    """
    with _lock:
        for shipper, own in _shippers:
            # A forked child is known by its own name, and by the one that its settings still give it.
            if own is transport and settings.identity in (shipper.identity, shipper.settings.identity):
                return shipper
        for warning in settings.warnings:
            complain(warning)
        make = (lambda: transport) if transport is not None else lambda: HttpTransport(settings.url, settings.token)
        shipper = Shipper(settings, clock or SystemClock(), make)
        _shippers.append((shipper, transport))
        return shipper


def retire(shipper: Shipper, reason: str, timeout_s: float = EXIT_TIMEOUT_S) -> None:
    """Close a shipper with a goodbye and forget it; a later `shared` makes a new boot."""
    with _lock:
        _shippers[:] = [pair for pair in _shippers if pair[0] is not shipper]
    shipper.close(reason, timeout_s=timeout_s)


def say_goodbye_on_sigterm() -> bool:
    """Unless the host handles SIGTERM itself: say goodbye, then die of it as before. True if that was arranged.

    Python's default is to die at once, so that each deployment would look like a death.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, _on_sigterm)
    return True


def _on_sigterm(signum: int, _frame: FrameType | None) -> None:
    # This runs between any two instructions of the main thread, perhaps while it holds a lock that closing needs:
    # so another thread closes, made without the locks of `threading`, and this one waits for a bounded time.
    done = _thread.allocate_lock()
    done.acquire()

    def close() -> None:
        try:
            _close_all("SIGTERM", "stopping")
        finally:
            done.release()

    try:
        _thread.start_new_thread(close, ())
        done.acquire(timeout=1.25 * EXIT_TIMEOUT_S)
    except RuntimeError:
        complain("no thread left to say goodbye")
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


def _close_all(reason: str, state: str) -> None:
    for shipper, _ in _shippers:
        shipper.close(reason, state=state, timeout_s=EXIT_TIMEOUT_S)


def _at_exit() -> None:
    error = _crash()
    if error is None:
        _close_all("exit", "stopping")
        return
    # An unhandled exception is a death and no goodbye, but its last words and its last counts still go out.
    words = f"unhandled {type(error).__name__}, the process ends"
    record = logging.LogRecord("lastbeat.exit", logging.CRITICAL, "", 0, words, None, None)
    record.exc_info = (type(error), error, error.__traceback__)
    record.__dict__.update(action="exit", outcome="failure")
    for shipper, _ in _shippers:
        shipper.put(shipper.renderer.record(record), logging.CRITICAL)
    _close_all(f"crashed: {type(error).__name__}", "up")


def _crash() -> BaseException | None:
    """The exception that ended the script, if one did; what a person typed at a prompt doesn't count."""
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return None
    error = getattr(sys, "last_value", None)
    return error if isinstance(error, BaseException) and not isinstance(error, KeyboardInterrupt) else None


def _after_fork() -> None:
    global _lock, _pid  # noqa: PLW0603  fork is the process's own affair
    _lock = threading.Lock()
    parent_pid, _pid = _pid, os.getpid()
    for shipper, _ in _shippers:
        shipper.after_fork(parent_pid)
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _shippers:
        # Its children leave by os._exit, past atexit; they run their finalisers, but first forget those of the parent.
        util.register_after_fork(_Exit, _Exit.arrange)


class _Exit:
    @staticmethod
    def arrange(_self: object) -> None:
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, args=("exit", "stopping"), exitpriority=0)


def complain(text: str) -> None:
    """One line for the person who looks at stderr; the host's own loggers are not ours to write to at start."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"lastbeat: {text}\n")
        except (OSError, ValueError):  # closed: there is nobody left to tell
            return


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
