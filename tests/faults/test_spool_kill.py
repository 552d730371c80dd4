"""A service with a spool is killed with -9 while nobody takes its events; the next one sends them, each once."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from shippers.batch import Batch
from tests.faults.service_process import environment, gateway, python, wait_for
from tests.unit.shippers.gateway import FakeGateway

__all__ = ["gateway"]  # the fixture

START = """
import logging, os, sys, time
import lastbeat
lastbeat.init("checkout", region="cn-east", interval=0.3)
log = logging.getLogger("shop")
"""


@pytest.fixture
def nobody():
    with socket.socket() as unanswered:
        unanswered.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unanswered.getsockname()[1]}"


def start(url: str, spool: Path, script: str) -> subprocess.Popen[str]:
    environ = environment(LASTBEAT_URL=url, LASTBEAT_SPOOL=str(spool))
    return subprocess.Popen(python(START, script), env=environ, stdout=subprocess.PIPE, text=True)


def of(gateway: FakeGateway, boot: str) -> list[Batch]:
    return [batch for batch in gateway.batches if batch.header.stream == f"{boot}.business"]


def numbers(batches: list[Batch]) -> list[int]:
    return [number for one in batches for number in range(one.header.first, one.header.last + 1)]


def shared() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob("lastbeat-*")}


@pytest.mark.parametrize("seed", range(3))
def test_what_a_killed_process_had_on_disk_arrives_once_and_the_rest_is_counted(tmp_path, gateway, nobody, seed):
    chance, spool = random.Random(seed), tmp_path / "spool"
    script = "for n in range(100000): log.info('paid %d', n); print(n, flush=True); time.sleep(0.0003)"
    process = start(nobody, spool, script)
    assert process.stdout is not None
    upto = chance.randint(50, 4_000)
    said = 0
    for text in process.stdout:
        said = int(text) + 1
        if said >= upto:
            break
    process.kill()
    said += len(process.stdout.read().split())
    process.wait(10)
    [boot] = [path.name for path in spool.iterdir()]
    heirs = [start(gateway.url, spool, "log.info('next'); time.sleep(4)") for _ in range(2)]  # a race for one leftover
    wait_for(lambda: (spool / boot / "sent").exists() or not (spool / boot).exists())

    def others() -> Counter[str]:
        return Counter(event["event"]["stream"] for event in gateway.events("business") if event["message"] == "next")

    wait_for(lambda: len(others()) == 2)
    for heir in heirs:
        heir.terminate()
        heir.wait(10)
    found = of(gateway, boot)
    total = max(numbers(found))
    assert said <= total <= said + 1, "every event that was logged has a number, or was being logged"
    assert numbers(found) == list(range(1, total + 1)), "in order, and each once"
    mine = [event for event in gateway.events("business") if event["event"]["stream"].startswith(boot)]
    kept = [event["message"] for event in mine]
    assert kept == [f"paid {n}" for n in range(len(kept))]
    assert {batch.header.void for batch in found} <= {None, "killed"}
    assert sum(batch.header.count for batch in found if batch.header.void) == total - len(kept)
    assert total - len(kept) < 2_500, "at most what came since the last fsync"
    assert sorted(others().values()) == [1, 1], "the successors' own numbers are their own"
    assert list(spool.iterdir()) == []
    assert f"lastbeat-{boot}" not in shared()


def test_what_a_clean_exit_could_not_send_waits_for_the_next_start(tmp_path, gateway, nobody):
    spool = tmp_path / "spool"
    process = start(nobody, spool, "[log.info('paid %d', n) for n in range(3000)]")
    assert process.wait(20) == 0
    [folder] = spool.iterdir()
    heir = start(gateway.url, spool, "time.sleep(30)")
    wait_for((folder / "sent").exists)
    heir.send_signal(signal.SIGTERM)
    heir.wait(10)
    found = of(gateway, folder.name)
    assert numbers(found) == list(range(1, 3_001))
    assert not any(batch.header.void for batch in found)
    assert list(spool.iterdir()) == []


def test_a_forked_child_has_a_spool_of_its_own_and_the_parent_keeps_its_lock(tmp_path, gateway, nobody):
    spool = tmp_path / "spool"
    script = """
        log.info("parent"); time.sleep(1)
        if os.fork() == 0:
            log.info("child"); lastbeat.stop(); os._exit(0)
        os.wait(); print("ready", flush=True); time.sleep(30)
        """
    parent = start(nobody, spool, script)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    assert len(list(spool.iterdir())) == 2
    heir = start(gateway.url, spool, "time.sleep(30)")
    wait_for(lambda: [event["message"] for event in gateway.events("business")] == ["child"])
    wait_for(lambda: any(beat["heartbeat"]["spool_bytes"] == 0 for beat in gateway.beats()))
    assert [event["message"] for event in gateway.events("business")] == ["child"], (
        "the parent lives: not to be touched"
    )
    for process in (heir, parent):
        process.kill()
        process.wait(10)
    for name in {path.name for path in spool.iterdir()}:
        Path(f"/dev/shm/lastbeat-{name}").unlink(missing_ok=True)
