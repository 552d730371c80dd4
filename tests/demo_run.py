"""Running `lastbeat demo` as anybody would, and reading what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from shippers.clock import SystemClock

CLOCK = SystemClock()
COMMAND = (sys.executable, "-m", "compose", "demo")


def run_once(data: Path, *options: str, within_s: float, at_least: int) -> str:
    """`lastbeat demo --once` in `data`: what it printed, after all that must hold in any form was found to hold."""
    began = CLOCK.monotonic()
    command = [*COMMAND, "--once", "--data", str(data), *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=environment())
    took, out = CLOCK.monotonic() - began, ran.stdout
    assert ran.returncode == 0, f"{out}\n{ran.stderr}\n{logs(data)}"
    assert took < within_s, f"{took:.0f} s\n{out}"

    emitted, stored = figure("events emitted", out), figure("events stored", out)
    dropped, tail = figure("events dropped", out), figure("cut off by the SIGKILL", out)
    assert emitted == stored + dropped + tail
    assert emitted > at_least
    assert dropped == 0
    assert figure("alerts for the dead", out) == 1
    assert figure("alerts for the living", out) == 0
    assert 4.0 <= figure("seconds from the last beat to the alert", out) <= 6.5
    assert "retry queue full" in out
    assert "✖ not everything" not in out
    assert "\x1b" not in out
    assert not (data / "run" / "up.json").exists()
    nobody_left(data)
    return out


def figure(words: str, out: str) -> float:
    """The number that stands before these words."""
    found = re.search(rf"^\s*([\d.,]+)\s+{re.escape(words)}", out, re.MULTILINE)
    assert found, f"no figure for {words!r} in:\n{out}"
    return float(found[1].replace(",", ""))


def environment() -> dict[str, str]:
    """What a demo under test is run with."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default"}


def nobody_left(data: Path) -> None:
    """Every process of the demo has the data folder in its environment or in its arguments."""
    mark, left = str(data).encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes() or mark in (process / "cmdline").read_bytes():
                left.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    assert not left


def logs(data: Path) -> str:
    """The ends of the roles' logs."""
    return "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted((data / "run").glob("*.log")))
