"""`lastbeat demo --once`, as anybody would run it: real processes, a real death, and every count."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shippers.clock import SystemClock

CLOCK = SystemClock()
WITHIN_S = 90.0


def figure(words: str, out: str) -> float:
    found = re.search(rf"^\s*([\d.,]+)\s+{re.escape(words)}", out, re.MULTILINE)
    assert found, f"no figure for {words!r} in:\n{out}"
    return float(found[1].replace(",", ""))


@pytest.mark.timeout(240)
def test_the_demo_runs_unattended_accounts_for_every_event_and_accuses_only_the_dead(tmp_path: Path) -> None:
    data, began = tmp_path / "demo", CLOCK.monotonic()
    command = [sys.executable, "-m", "compose", "demo", "--once", "--data", str(data)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=_environment())
    took = CLOCK.monotonic() - began
    out = ran.stdout
    assert ran.returncode == 0, f"{out}\n{ran.stderr}\n{_logs(data)}"
    assert took < WITHIN_S, f"{took:.0f} s\n{out}"

    emitted, stored = figure("events emitted", out), figure("events stored", out)
    dropped, tail = figure("events dropped", out), figure("cut off by the SIGKILL", out)
    assert emitted == stored + dropped + tail
    assert emitted > 200_000
    assert dropped == 0
    assert figure("alerts for the dead", out) == 1
    assert figure("alerts for the living", out) == 0
    assert 4.0 <= figure("seconds from the last beat to the alert", out) <= 6.5
    assert "retry queue full" in out
    assert "✖ not everything" not in out
    assert "\x1b" not in out
    assert (data / "lake").is_dir()
    assert not (data / "run" / "up.json").exists()
    _nobody_left(data)


@pytest.mark.timeout(120)
def test_ctrl_c_clears_everything_up(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    command = [sys.executable, "-m", "compose", "demo", "--data", str(data)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment()
    ) as demo:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if "the shop is live" in line:
                demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0, said
    assert "boards http://127.0.0.1:" in said
    assert "nothing of it runs any more" in said
    _nobody_left(data)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default"}


def _nobody_left(data: Path) -> None:
    """Every process of the demo has the data folder in its environment or in its arguments."""
    mark, left = str(data).encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes() or mark in (process / "cmdline").read_bytes():
                left.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    assert not left


def _logs(data: Path) -> str:
    return "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted((data / "run").glob("*.log")))
