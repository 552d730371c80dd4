"""`lastbeat demo --once`, as anybody would run it: real processes, a real death, and every count."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.demo_run import COMMAND, environment, nobody_left, run_once

WITHIN_S = 90.0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("hours", [6, pytest.param(24, marks=pytest.mark.soak)])
def test_the_demo_runs_unattended_accounts_for_every_event_and_accuses_only_the_dead(
    hours: int, tmp_path: Path
) -> None:
    run_once(tmp_path / "demo", "--hours", str(hours), within_s=WITHIN_S, at_least=hours * 4_000)
    assert (tmp_path / "demo" / "lake").is_dir()


@pytest.mark.timeout(120)
def test_ctrl_c_clears_everything_up(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    with subprocess.Popen(
        [*COMMAND, "--data", str(data), "--hours", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
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
    nobody_left(data)
