"""What Ctrl-C and SIGTERM lead to: an event that is set, by a thread of its own.

A handler in Python runs between any two instructions of the main thread: in a wait for that very event, or in the
handler of the signal before (Ctrl-C reaches a whole process group, whose parent then sends SIGTERM). Setting the event
right there waits for a lock that only the interrupted code can give back, for ever. Nor does it always run: not before
the main thread wakes, which a signal that comes in the moment before it waits, or to another thread, doesn't do. So
the main thread has no part in this: the interpreter writes to a pipe as the signal comes, and the thread reads that.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable
from typing import NoReturn

from shippers.clock import SystemClock

log = logging.getLogger("lastbeat.roles")

BOTH = (signal.SIGTERM, signal.SIGINT)


def stop_on_signal(signals: Iterable[signal.Signals] = BOTH, *, within_s: float | None = None) -> threading.Event:
    """An event that these signals set from now on; for the main thread.

    With `within_s`, the process ends so long after the first of them, with exit code 1, whatever hangs in it. Nothing
    is lost by that: what isn't settled is not committed, and is read again.
    """
    stop, wanted = threading.Event(), set(signals)
    came, written = os.pipe()
    os.set_blocking(written, False)

    def obey() -> None:
        while wanted.isdisjoint(os.read(came, 4096)):
            pass
        stop.set()
        if within_s is not None:
            SystemClock().wait(threading.Event(), within_s)
            log.warning("not done in %.0f s, a server doesn't answer: what is under way is read again", within_s)
            os._exit(1)

    threading.Thread(target=obey, name="lastbeat-stop", daemon=True).start()
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for number in wanted:
        signal.signal(number, lambda *_: None)
    return stop


def leave() -> NoReturn:
    """End the process, all that it had being closed. A thread that was not waited for may be deep in a library then
    (a count in the lake, say): the interpreter's own end would tear it out of there, which aborts the process."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
