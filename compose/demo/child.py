"""What all of the demo's child processes do alike: end when the parent ends, however it ends.

The parent holds the write end of each child's standard input. It closes it to say "stop"; the kernel closes it if the
parent is killed. Ctrl-C and SIGTERM are left to the parent.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable


def on_parent_gone(stop: Callable[[], object]) -> None:
    """Call `stop` on a thread of its own once standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch_stdin() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock, held here at exit, would abort the interpreter
            pass
        stop()

    threading.Thread(target=watch_stdin, name="parent", daemon=True).start()
