"""SIGTERM ends a process whatever it is doing at that moment, be it obeying the SIGTERM before."""

from __future__ import annotations

import subprocess
import sys

SIGNAL_AT_EVERY_LINE = """
import signal, sys, threading
from compose.stopping import stop_on_signal

def at_every_line(frame, event, _):
    if frame.f_code.co_filename != threading.__file__:
        return None
    signal.raise_signal(signal.SIGTERM)
    return at_every_line

stop = stop_on_signal()
sys.settrace(at_every_line)
{first}
assert stop.wait(10)
sys.settrace(None)
print("ended in order")
"""
TO_ANOTHER_THREAD = """
import signal, threading
from compose.stopping import stop_on_signal

def take_it():
    begun.wait()
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

begun = threading.Event()
threading.Thread(target=take_it, daemon=True).start()
stop = stop_on_signal()
begun.set()
stop.wait()
print("ended in order")
"""
DEAF = """
import threading
from compose.stopping import stop_on_signal
stop = stop_on_signal(within_s=0.3)
print("runs", flush=True)
stop.wait()
print("was told", flush=True)
threading.Event().wait()
"""
IN_A_LIBRARY = """
import threading
import duckdb
from compose.stopping import leave

began = threading.Event()

def count():
    con = duckdb.connect()
    began.set()
    con.execute("SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b").fetchall()

threading.Thread(target=count, daemon=True).start()
began.wait()
print("all is closed")
leave()
"""


def start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its exit code and what it said. Fails if it hangs."""
    with process:
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    return process.returncode, out, err


def test_a_signal_at_any_line_of_a_wait_for_the_stop_ends_it() -> None:
    assert ended(start(SIGNAL_AT_EVERY_LINE.format(first=""))) == (0, "ended in order\n", "")


def test_a_second_signal_at_any_line_of_what_the_first_one_does_hangs_nothing() -> None:
    script = SIGNAL_AT_EVERY_LINE.format(first="signal.raise_signal(signal.SIGTERM)")
    assert ended(start(script)) == (0, "ended in order\n", "")


def test_a_signal_that_does_not_wake_the_main_thread_ends_a_wait_without_a_limit() -> None:
    """The kernel may give it to any thread; and one that comes in the moment before the wait wakes nobody either."""
    assert ended(start(TO_ANOTHER_THREAD)) == (0, "ended in order\n", "")


def test_what_hangs_when_it_was_told_to_stop_is_ended_all_the_same() -> None:
    process = start(DEAF)
    assert process.stdout
    assert process.stdout.readline() == "runs\n"
    process.terminate()
    code, out, err = ended(process)
    assert (code, out) == (1, "was told\n")
    assert "not done in 0 s, a server doesn't answer" in err


def test_a_count_that_nobody_waits_for_does_not_abort_the_process() -> None:
    assert ended(start(IN_A_LIBRARY)) == (0, "all is closed\n", "")
