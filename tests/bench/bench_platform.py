"""The whole platform as a user has it: from `lastbeat up` to the first page, and from a log call to the boards."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

import lastbeat
from collector.ports import Where
from collector.settings import GatewaySettings
from compose.settings import HealthSettings, Settings
from compose.supervisor import Supervisor
from compose.wiring import open_store
from dashboards.settings import BoardSettings
from shippers.clock import SystemClock
from tests.bench.report import Report

EVENTS = 300


def run(report: Report) -> None:
    """Two figures, and the parts that they are made of."""
    with tempfile.TemporaryDirectory() as folder:
        _first_page(report, Path(folder) / "up")
        _visible(report, Path(folder) / "visible")


def _first_page(report: Report, data: Path) -> None:
    """Warm: the second start on the same data, with the files of the first in memory."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("     (no chromium: the first page is not measured)")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(2):
            page = browser.new_page()
            start = time.monotonic()
            platform = subprocess.Popen(
                [sys.executable, "-m", "compose", "up"], env=_environment(data), stdout=subprocess.DEVNULL
            )
            while not _serves("http://127.0.0.1:17412/_stcore/health"):
                time.sleep(0.05)
            serving = time.monotonic() - start
            page.goto("http://127.0.0.1:17412")
            page.get_by_role("heading").first.wait_for(timeout=60_000)
            shown = time.monotonic() - start
            platform.send_signal(signal.SIGINT)
            platform.wait(30)
            page.close()
        browser.close()
    report.add(
        "lastbeat up, warm, to the first page", shown, "s", at_most=10.0, beside=f"boards serve after {serving:.1f} s"
    )


def _environment(data: Path) -> dict[str, str]:
    return {
        **os.environ,
        "LASTBEAT_DATA": str(data),
        "LASTBEAT_GATEWAY__PORT": "17411",
        "LASTBEAT_BOARDS__PORT": "17412",
    }


def _serves(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).is_success
    except httpx.HTTPError:
        return False


def _visible(report: Report, data: Path) -> None:
    """From the log call until the store, as the boards ask it each second, has the event."""
    settings = Settings(
        data=data,
        gateway=GatewaySettings(port=0),
        boards=BoardSettings(port=0),
        health=HealthSettings(indexer=0, watch=0, archiver=0),
    )
    with Supervisor(settings, SystemClock(), roles=("gateway", "indexer", "watch")) as platform:
        platform.wait_ready(60)
        store = open_store(platform.settings)
        where = Where(0, 2**33)
        logging.getLogger().addHandler(logging.NullHandler())  # nothing of this is for the terminal
        lastbeat.init("bench", url=platform.settings.gateway_url)
        log = logging.getLogger("bench")
        cursor = store.tail(where).after
        logged: dict[str, float] = {}
        seen: dict[str, float] = {}
        chance = random.Random(7)
        deadline = time.monotonic() + 60
        next_at = time.monotonic()
        while len(seen) < EVENTS and time.monotonic() < deadline:
            if len(logged) < EVENTS and time.monotonic() >= next_at:
                name = f"event {len(logged)}"
                logged[name] = time.monotonic()
                log.warning(name)
                next_at = time.monotonic() + chance.uniform(0.0, 0.1)
            tail = store.tail(where, cursor)
            cursor = tail.after
            for event in tail.events:
                seen.setdefault(event.message, time.monotonic())
            time.sleep(0.02)
        lastbeat.stop()
    waits = sorted(seen[name] - logged[name] for name in logged if name in seen)
    assert len(waits) == EVENTS, f"only {len(waits)} of {EVENTS} events were seen"
    p99 = waits[int(len(waits) * 0.99)]
    report.add("log call to visible, p99", p99, "s", at_most=3.0, beside=f"median {statistics.median(waits):.2f} s")
