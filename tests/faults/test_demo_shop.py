"""The demo's shop as real processes, shipping to a gateway of a few lines that keeps what it gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from compose.demo.processes import Processes
from compose.demo.topology import INSTANCES, VICTIM
from shippers.batch import unpack
from shippers.clock import SystemClock

CLOCK = SystemClock()


class StubGateway(ThreadingHTTPServer):
    """Takes every sound batch; `events` has the numbers by stream, `streams` whose they are."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.events: dict[str, set[int]] = defaultdict(set)
        self.lines: list[dict[str, object]] = []
        self.streams: dict[str, tuple[str, str]] = {}
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stored(self, instance: str, dataset: str = "business") -> int:
        with self.guard:
            mine = [stream for stream, owner in self.streams.items() if owner == (instance, dataset)]
            return sum(len(self.events[stream]) for stream in mine)


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StubGateway

    def do_POST(self) -> None:
        batches = list(unpack(self.rfile.read(int(self.headers["Content-Length"]))))
        with self.server.guard:
            for batch in batches:
                batch.check()
                header = batch.header
                self.server.events[header.stream].update(range(header.first, header.last + 1))
                self.server.streams[header.stream] = (header.instance, header.dataset)
                self.server.lines += [json.loads(line) for line in batch.body.splitlines()]
        answer = json.dumps({"accepted": len(batches)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[StubGateway]:
    with StubGateway() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def soon(holds: Callable[[], bool], within_s: float = 20.0) -> bool:
    end, pause = CLOCK.monotonic() + within_s, threading.Event()
    while not holds():
        if CLOCK.monotonic() > end:
            return False
        CLOCK.wait(pause, 0.05)
    return True


def test_the_shop_sells_beats_loses_one_and_accounts_for_every_line(stub: StubGateway, tmp_path: Path) -> None:
    names = [instance.name for instance in INSTANCES]
    with Processes(tmp_path / "shop", stub.url) as shop:
        shop.start()
        assert soon(lambda: all(stub.stored(name, "heartbeat") >= 2 for name in names)), shop.gone()
        assert soon(lambda: shop.orders() >= 3)
        shop.ail(VICTIM)
        assert soon(lambda: any("provider answers slowly" in str(line.get("message")) for line in list(stub.lines)))
        shop.kill(VICTIM)
        beats = stub.stored(VICTIM.name, "heartbeat")
        assert soon(lambda: stub.stored("order-north-a", "heartbeat") > beats + 2)
        assert [name.split()[0] for name in shop.gone()] == [VICTIM.name]
        assert shop.stop() == []
        emitted = shop.emitted()

    assert all(emitted[name] >= 2 for name in names)
    for name in names:
        missing = emitted[name] - stub.stored(name)
        assert missing == 0 or (name == VICTIM.name and 0 < missing < 20), name
    goodbyes = {
        line["service"]["node"]["name"] for line in stub.lines if line.get("heartbeat", {}).get("state") == "stopping"
    }
    assert goodbyes == set(names) - {VICTIM.name}


_PARENT = """
import sys, threading
from pathlib import Path
from compose.demo.processes import Processes
shop = Processes(Path(sys.argv[1]), sys.argv[2]).__enter__()
shop.start()
print(*[child.pid for child in shop._children.values()], flush=True)
threading.Event().wait()
"""


def test_nobody_of_the_shop_outlives_a_parent_that_is_killed(stub: StubGateway, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PARENT, str(tmp_path / "shop"), stub.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == len(INSTANCES) + 1
        assert soon(lambda: stub.stored("payment-east-a", "heartbeat") >= 1)
        parent.send_signal(signal.SIGKILL)
    assert soon(lambda: not any(map(_runs, pids)))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
