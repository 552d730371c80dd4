"""The local stack: idempotent, loopback only, memory capped, ends only its own processes, believes no wrong bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
from rich.console import Console

from collector.journal.kafka import KafkaJournal
from collector.settings import KafkaSettings
from compose.drill.proxy import Relay
from compose.stack import ANY_PORTS, Stack, fetch, java, kafka
from compose.stack import stack as stack_module
from compose.stack.server import Process, Runner, free_ports
from shippers.clock import SystemClock
from shippers.errors import Misconfigured, Unavailable
from tests.stack.batches import batch, numbers, read_count

CLOCK = SystemClock()
QUIET = Console(quiet=True)


def listening(pid: int) -> set[str]:
    """The addresses that a process listens on, as /proc has them."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_up_is_idempotent_and_what_was_appended_outlives_down(
    bootstrap: str, stack: Stack, kafka_settings: KafkaSettings
) -> None:
    process = stack.process("kafka")
    stack.up("kafka")
    assert stack.process("kafka") == process
    with closing(KafkaJournal(kafka_settings, CLOCK)) as journal:
        journal.append([batch(1)])
    stack.down("kafka")
    assert stack.process("kafka") is None
    assert [server.running for server in stack.status() if server.name == "kafka"] == [False]
    stack.down("kafka")  # nothing to do is no error
    stack.up("kafka")
    assert stack.kafka == bootstrap  # the address is kept
    with (
        closing(KafkaJournal(kafka_settings, CLOCK)) as journal,
        closing(journal.reader("lake", ["business"])) as reader,
    ):
        assert numbers(read_count(reader, 1)) == [1]


def test_both_servers_listen_on_loopback_only_and_have_their_memory_capped(
    bootstrap: str, elasticsearch: str, stack: Stack
) -> None:
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    for name, heap in (("kafka", "-Xmx384m"), ("elasticsearch", "-Xmx1g")):
        process = stack.process(name)
        assert process
        assert listening(process.pid) <= loopback
        assert heap.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        if os.geteuid() == 0:
            assert Path(f"/proc/{process.pid}").stat().st_uid != 0
    with urllib.request.urlopen(f"{elasticsearch}/_cluster/health", timeout=5) as answer:
        assert json.load(answer)["status"] in ("green", "yellow")
    assert all(server.serving for server in stack.status())


def test_nothing_is_known_before_the_first_up(tmp_path: Path) -> None:
    fresh = Stack(tmp_path, CLOCK)
    assert [(server.running, server.address) for server in fresh.status()] == [(False, ""), (False, "")]
    with pytest.raises(Unavailable, match="lastbeat stack up"):
        assert fresh.kafka
    fresh.down()
    fresh.reset()
    assert not fresh.home.exists()


def test_a_recycled_process_id_is_not_taken_for_the_server(tmp_path: Path) -> None:
    stack = Stack(tmp_path, CLOCK)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (stack.home / "kafka").mkdir(parents=True)
        Process(other.pid, "some boot/12345").save(stack.home / "kafka" / "process.json")
        assert stack.process("kafka") is None
        stack.down()
        stack.reset()
        assert other.poll() is None
    finally:
        other.kill()
        other.communicate()


def test_a_process_is_asked_to_end_even_when_it_is_stopped_and_a_dead_one_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process = Process.of(child.pid)
    assert process
    assert process.alive
    os.kill(child.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert process.end(CLOCK)
    assert time.monotonic() - began < 10
    assert not process.alive
    assert Process.of(child.pid) is None
    child.returncode = 0


def test_a_process_is_not_gone_before_its_last_thread_is() -> None:
    script = """
import ctypes, os, socket, threading
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
threading.Thread(target=lambda: os._exit(len(os.read(0, 1)))).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin
        assert running.stdout
        port = int(running.stdout.readline())
        process = Process.of(running.pid)
        assert process
        stat = Path(f"/proc/{running.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        assert free_ports([port]) != [port]
        assert process.alive
        running.stdin.close()
        assert running.wait(10) == 0
        assert not process.alive
        assert free_ports([port]) == [port]


def test_a_file_with_another_hash_is_fetched_once_more_and_then_refused(tmp_path: Path) -> None:
    class Source:
        def __init__(self, *contents: bytes) -> None:
            self.contents = list(contents)
            self.cached_path = tmp_path / "a.jar"

        def project(self, *_: str) -> Source:
            return self

        at_version = project

        def artifact(self, packaging: str) -> Source:
            return self

        def resolve(self) -> Path:
            if not self.cached_path.exists():
                self.cached_path.write_bytes(self.contents.pop(0))
            return self.cached_path

    wanted = fetch.Artifact("g", "a", "1", "jar", hashlib.sha256(b"whole").hexdigest())
    assert fetch._verified(Source(b"who", b"whole"), wanted).read_bytes() == b"whole"
    (tmp_path / "a.jar").unlink()
    with pytest.raises(Misconfigured, match="it is not used"):
        fetch._verified(Source(b"evil", b"evil"), wanted)
    assert not (tmp_path / "a.jar").exists()


def test_what_was_laid_out_half_is_never_taken_for_the_whole(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").touch()
        raise Unavailable("cut off")

    with pytest.raises(Unavailable):
        fetch._once(tmp_path / "kafka", broken)
    assert list(tmp_path.iterdir()) == []
    assert fetch._once(tmp_path / "kafka", lambda folder: (folder / "whole").touch()) == tmp_path / "kafka"
    assert [file.name for file in (tmp_path / "kafka").iterdir()] == ["whole"]


def test_everything_that_is_fetched_is_pinned_by_name_version_and_hash() -> None:
    pinned = fetch.pinned()
    assert {"kafka_2.13", "kafka-clients", "elasticsearch"} <= {artifact.name for artifact in pinned}
    assert all(len(artifact.sha256) == 64 for artifact in pinned)


def test_a_java_that_will_not_do_is_named_with_its_flaw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    for name, modules in (("old", "java.base@17.0.1"), ("trimmed", "java.base@25\njdk.jdi@25")):
        home = tmp_path / name
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "java").write_text(f"#!/bin/sh\necho '{modules}'\n")
        (home / "bin" / "java").chmod(0o755)
    monkeypatch.setattr(java, "_candidates", lambda: iter([tmp_path / "old", tmp_path / "trimmed"]))
    monkeypatch.setattr(java, "_fetched", _no_network)
    with pytest.raises(Misconfigured) as told:
        java.find_jdk(tmp_path, Runner(None, None, "me"))
    assert "old is version 17.0.1" in str(told.value)
    assert "trimmed lacks jdk.incubator.vector" in str(told.value)
    assert "JAVA_HOME" in str(told.value)
    assert "\n" not in str(told.value)


def _no_network(cache: Path) -> Path:
    raise OSError("no route to host")


def test_ports_that_are_taken_are_replaced_by_free_ones() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        first, second = free_ports([port, 0])
    assert port not in (first, second)
    assert first != second
    assert max(first, second) < 32_768, "a client of a server that is down must not be given the server's port"


@pytest.mark.soak
def test_who_comes_to_kafka_by_its_link_can_be_cut_off_and_a_restart_leaves_the_link_where_it_is(
    stack: Stack, kafka_settings: KafkaSettings
) -> None:
    listens, advertised = stack.kafka_link
    over = kafka_settings.model_copy(update={"bootstrap": f"127.0.0.1:{advertised}"})
    with Relay(listens, advertised) as relay:
        with closing(KafkaJournal(over, CLOCK)) as journal:
            journal.append([batch(1)])
            relay.cut()
            with pytest.raises(Unavailable):
                journal.append([batch(2)])
        with closing(KafkaJournal(kafka_settings, CLOCK)) as straight:
            straight.append([batch(3)])
        relay.mend()
        stack.down("kafka")
        stack.up("kafka")
        assert stack.kafka_link == (listens, advertised), "though the relay holds that port"
        with closing(KafkaJournal(over, CLOCK)) as journal:
            journal.append([batch(4)])


def test_a_kafka_that_was_not_asked_for_one_has_no_link(tmp_path: Path) -> None:
    stack = Stack(tmp_path, CLOCK, ports=ANY_PORTS)
    (stack.home / "kafka").mkdir(parents=True)
    (stack.home / "kafka" / "ports.json").write_text("[19092, 19093]")
    with pytest.raises(Misconfigured, match="without a link"):
        _ = stack.kafka_link


@pytest.mark.soak
def test_a_port_that_is_taken_after_it_was_chosen_moves_the_server_elsewhere(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers on the first port is another Kafka: it must not be taken for ours."""
    folder = Path(tempfile.mkdtemp(prefix="lastbeat-stack-"))
    folder.chmod(0o755)
    stack, start = Stack(folder, CLOCK, ports=ANY_PORTS), kafka.start
    asked: list[Sequence[int]] = []

    def too_late(home: Path, jars: Path, jdk: Path, runner: Runner, ports: Sequence[int]) -> Process:
        asked.append(ports)
        if len(asked) == 1:  # between the look and the start another stack was quicker
            ports = [int(bootstrap.rpartition(":")[2]), ports[1]]
            (home / "ports.json").write_text(json.dumps(ports))
        return start(home, jars, jdk, runner, ports)

    monkeypatch.setitem(stack_module._SOFTWARE, "kafka", (fetch.fetch_kafka, too_late))
    try:
        stack.up("kafka")
        assert len(asked) == 2
        assert stack.kafka != bootstrap
        assert kafka.serves(stack.home / "kafka", int(stack.kafka.rpartition(":")[2]))
        assert not kafka.serves(stack.home / "kafka", int(bootstrap.rpartition(":")[2]))
    finally:
        stack.reset()
        shutil.rmtree(folder, ignore_errors=True)
