"""A real gateway on a real port: ended or killed under load, sent too much, too slowly, or before a hanging disk."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from collector.gateway import connection
from collector.gateway.http import create_app
from collector.gateway.serve import Server
from collector.journal.local import LocalJournal
from collector.journal.memory import MemoryJournal
from collector.settings import GatewaySettings, JournalSettings
from shippers.batch import MEDIA_TYPE, Batch, Header, pack, seal
from shippers.clock import SystemClock
from shippers.errors import Misconfigured

LINE = b'{"message":"%s"}' % (b"x" * 400)


def batch(stream: str, first: int, count: int = 20) -> Batch:
    return seal(Header(f"{stream}.business", first, 0, "eu", "business", "2026-11-21", "s", "i", 0), [LINE] * count)


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)


def ask(client: http.client.HTTPConnection, body: bytes) -> int:
    client.request("POST", "/v1/batches", body, {"Content-Type": MEDIA_TYPE})
    answer = client.getresponse()
    answer.read()
    return answer.status


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


class Senders:
    """Threads that send one batch after the other until nobody answers; they know what was acknowledged."""

    def __init__(self, url: str, count: int = 3) -> None:
        self.acknowledged: set[tuple[str, int]] = set()
        self.statuses: set[int] = set()
        self._threads = [threading.Thread(target=self._send, args=(url, f"sender0{n}")) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _send(self, url: str, stream: str) -> None:
        client, first = connect(url), 1
        try:
            while True:
                sent = batch(stream, first)
                status = ask(client, pack(sent.header.encode(), sent.body))
                self.statuses.add(status)
                if status == 200:
                    self.acknowledged.add((sent.header.stream, first))
                    first += 20
        except (OSError, http.client.HTTPException):
            client.close()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_gateway_that_is_ended_under_load_loses_nothing_acknowledged(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.gateway_process", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            senders = Senders(process.stdout.readline().decode().strip())
            wait_until(lambda: len(senders.acknowledged) > 50)
            process.send_signal(number)
            process.wait(10)
            rest = process.stdout.read()
        finally:
            process.kill()
        senders.join()
    if number == signal.SIGTERM:
        assert process.returncode == 0
        assert rest == b"closed\n"
    assert senders.statuses == {200}
    journal = LocalJournal(tmp_path, JournalSettings(), SystemClock(), writable=True)
    with closing(journal), closing(journal.reader(None, ["business"])) as reader:
        kept = {(h.stream, h.first) for r in iter(lambda: reader.poll(1 << 22, 0), []) for h in map(decoded, r)}
    assert senders.acknowledged <= kept


def decoded(record: object) -> Header:
    return Header.decode(record.header)  # type: ignore[attr-defined]


class HangingJournal(MemoryJournal):
    """Its appends return when they are let."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.go_on = threading.Event()

    def append(self, batches: Sequence[Batch]) -> None:
        self.go_on.wait(60)
        super().append(batches)


@contextmanager
def served(journal: MemoryJournal, **settings: object) -> Iterator[str]:
    chosen = GatewaySettings(port=0, canary_interval_s=1000, **settings)  # type: ignore[arg-type]
    server = Server(create_app(journal, chosen, SystemClock()), chosen)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def test_a_hanging_disk_does_not_stop_the_process_from_answering() -> None:
    journal = HangingJournal()
    with served(journal) as url:
        answers: list[int] = []

        def send(n: int) -> None:
            with closing(connect(url)) as client:
                one = batch(f"hanging{n:02d}", 1)
                answers.append(ask(client, pack(one.header.encode(), one.body)))

        threads = [threading.Thread(target=send, args=(n,)) for n in range(40)]
        for thread in threads:
            thread.start()
        with closing(connect(url)) as client:
            client.request("GET", "/health")
            assert client.getresponse().status == 200
        assert answers == []
        journal.go_on.set()
        for thread in threads:
            thread.join(30)
        assert answers == [200] * 40


def test_too_big_is_answered_and_the_connection_can_go_on() -> None:
    journal = MemoryJournal(SystemClock())
    with served(journal, max_request_bytes=100_000) as url, closing(connect(url)) as client:
        assert ask(client, bytes(5_000_000)) == 413
        good = batch("tooobig0", 1)
        assert ask(client, pack(good.header.encode(), good.body)) == 200


def test_a_client_that_is_too_slow_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.3)
    journal = MemoryJournal(SystemClock())
    with served(journal, read_timeout_s=0.3) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        head = b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        for sent, expected in ((b"", b""), (head, b""), (head + b"\r\nsome", b"HTTP/1.1 408")):
            with socket.create_connection((host, int(port)), timeout=20) as slow:
                slow.sendall(sent)
                answer = b"".join(iter(lambda s=slow: s.recv(4096), b""))
                assert answer.startswith(expected)
                assert bool(answer) == bool(expected)


def test_a_head_without_an_end_is_cut_off() -> None:
    with served(MemoryJournal(SystemClock())) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            sent = 0
            with pytest.raises(OSError):  # noqa: PT012
                client.sendall(b"GET / HTTP/1.1\r\n")
                while sent < 50_000_000:
                    client.sendall(b"X-Filler: " + b"x" * 4000 + b"\r\n")
                    sent += 4000
            assert sent < 10_000_000


def test_a_port_that_is_taken_is_said_at_once() -> None:
    with served(MemoryJournal(SystemClock())) as url:
        taken = GatewaySettings(port=int(url.rpartition(":")[2]))
        with pytest.raises(Misconfigured, match="can't listen on"):
            Server(create_app(MemoryJournal(SystemClock()), taken, SystemClock()), taken)


def test_its_canaries_come_in_by_its_own_port(tmp_path: Path) -> None:
    journal = MemoryJournal(SystemClock())
    with served(journal, regions=("eu", "cn")):
        wait_until(lambda: len(journal.records()) >= 2)
    headers = [decoded(record) for record in journal.records()]
    assert {header.region for header in headers} == {"eu", "cn"}
    assert all(header.canary for header in headers)
