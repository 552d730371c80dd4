"""Real processes: how they end, how they fork, and what of them arrives."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.faults.service_process import environment, gateway, python, wait_for
from tests.unit.shippers.gateway import FakeGateway

__all__ = ["gateway"]  # the fixture

START = """
import logging, os, signal, sys, threading, time
import lastbeat
lastbeat.init("checkout", region="cn-east", interval=1)
log = logging.getLogger("shop")
"""


def start(url: str, script: str, *command: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, *command] if command else python(START, script)
    environ = environment(LASTBEAT_URL=url)
    return subprocess.Popen(arguments, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(gateway: FakeGateway, script: str) -> tuple[int, str]:
    process = start(gateway.url, script)
    _, err = process.communicate(timeout=30)
    return process.returncode, err.decode()


def states(gateway: FakeGateway) -> list[tuple[str, str | None]]:
    return [(beat["heartbeat"]["state"], beat["heartbeat"].get("reason")) for beat in gateway.beats()]


def messages(gateway: FakeGateway, dataset: str = "business") -> list[str]:
    return [event["message"] for event in gateway.events(dataset)]


def test_a_clean_exit_sends_everything_and_a_goodbye(gateway):
    status, err = run(gateway, "[log.info('paid %d', n) for n in range(1000)]")
    assert (status, err) == (0, "")
    assert messages(gateway) == [f"paid {number}" for number in range(1_000)]
    assert states(gateway)[-1] == ("stopping", "exit")
    last = gateway.beats()[-1]["heartbeat"]
    assert last["datasets"]["business"] == {"last": 1_000, "acked": 1_000, "dropped": {}}


def test_a_crash_says_why_and_says_no_goodbye(gateway):
    status, err = run(gateway, "log.info('paid'); 1/0")
    assert status == 1
    assert "ZeroDivisionError" in err
    paid, crash = gateway.events("business")
    assert paid["message"] == "paid"
    assert crash["log"]["level"] == "CRITICAL"
    assert "1/0" in crash["error"]["stack_trace"] or "ZeroDivisionError" in crash["error"]["stack_trace"]
    assert states(gateway)[-1] == ("up", "crashed: ZeroDivisionError")
    assert gateway.beats()[-1]["heartbeat"]["datasets"]["business"]["acked"] == 2


def test_leaving_by_exit_is_clean(gateway):
    status, _ = run(gateway, "log.info('paid'); sys.exit(3)")
    assert status == 3
    assert states(gateway)[-1] == ("stopping", "exit")


def test_sigterm_is_a_goodbye_and_still_kills(gateway):
    process = start(gateway.url, "log.info('ready'); time.sleep(60)")
    wait_for(lambda: "ready" in messages(gateway))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM
    assert states(gateway)[-1] == ("stopping", "SIGTERM")


def test_a_service_that_handles_sigterm_itself_is_left_alone(gateway):
    script = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); log.info('ready'); time.sleep(60)"
    process = start(gateway.url, script)
    wait_for(lambda: "ready" in messages(gateway))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 7
    assert states(gateway)[-1] == ("stopping", "exit")


def test_sigkill_loses_at_most_what_had_no_number(gateway):
    process = start(gateway.url, "while True: log.info('paid'); time.sleep(0.0005)")
    wait_for(lambda: len(messages(gateway)) > 500)
    process.kill()
    process.communicate(timeout=10)
    numbers = [event["event"]["sequence"] for event in gateway.events("business")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {state for state, _ in states(gateway)} == {"up"}


def test_a_gateway_that_comes_and_goes_loses_no_number(gateway):
    port, seen = gateway.server.server_address[1], [gateway]
    process = start(gateway.url, "[(log.info('paid'), time.sleep(0.001)) for _ in range(3000)]")
    for _ in range(3):
        wait_for(lambda: len(messages(seen[-1])) > 100)
        seen[-1].close()
        threading.Event().wait(0.3)
        seen.append(FakeGateway(port))
    process.communicate(timeout=30)
    last = seen[-1].beats()[-1]["heartbeat"]
    seen[-1].close()
    assert (last["state"], last["datasets"]["business"]) == ("stopping", {"last": 3_000, "acked": 3_000, "dropped": {}})
    for dataset, count in (("business", 3_000), ("heartbeat", max(e["event"]["sequence"] for e in seen[-1].beats()))):
        headers = [batch.header for fake in seen for batch in fake.batches if batch.header.dataset == dataset]
        numbers = {number for header in headers for number in range(header.first, header.last + 1)}
        assert numbers == set(range(1, count + 1))


def seconds_to_end(url: str) -> float:
    """From a script's last statement to the end of its process."""
    process = start(url, "[log.error('x') for _ in range(1000)]; print(time.monotonic())")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return time.monotonic() - float(out)


def test_with_the_gateway_away_a_process_ends_at_once_and_within_its_time_if_it_hangs(gateway):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert seconds_to_end(f"http://127.0.0.1:{nobody.getsockname()[1]}") < 1.5
    gateway.before_answer.clear()
    assert seconds_to_end(gateway.url) < 3.5
    gateway.before_answer.set()


def test_a_forked_child_is_a_boot_of_its_own_and_the_parents_events_stay_the_parents(gateway):
    status, err = run(
        gateway,
        """
        log.info("parent before")
        pid = os.fork()
        if pid == 0:
            log.info("child")
            lastbeat.init("checkout", region="cn-east", interval=1).flush()
            sys.exit(0)
        os.waitpid(pid, 0)
        log.info("parent after")
        """,
    )
    assert (status, err) == (0, "")
    by_boot: dict[str, list] = {}
    for event in gateway.events("business"):
        by_boot.setdefault(event["event"]["stream"], []).append(event)
    parent, child = sorted(by_boot.values(), key=len, reverse=True)
    assert [(event["message"], event["event"]["sequence"]) for event in parent] == [
        ("parent before", 1),
        ("parent after", 2),
    ]
    assert [(event["message"], event["event"]["sequence"]) for event in child] == [("child", 1)]
    assert child[0]["process"]["pid"] != parent[0]["process"]["pid"]
    assert child[0]["service"]["node"]["name"].endswith(f"-{child[0]['process']['pid']}")
    goodbyes = {batch.header.boot for batch in gateway.batches if b'"state":"stopping"' in batch.body}
    assert goodbyes == {stream.partition(".")[0] for stream in by_boot}


def test_a_child_that_logs_nothing_is_never_heard_of(gateway):
    status, _ = run(gateway, "pid = os.fork(); pid and os.waitpid(pid, 0)")
    assert status == 0
    assert len({batch.header.boot for batch in gateway.batches}) == 1


def test_children_of_multiprocessing_send_everything_and_say_goodbye(gateway):
    status, err = run(
        gateway,
        """
        import multiprocessing
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=log.info, args=("from child %d", n)) for n in range(3)]
        [child.start() for child in children]
        [child.join() for child in children]
        """,
    )
    assert (status, err) == (0, "")
    assert sorted(messages(gateway)) == ["from child 0", "from child 1", "from child 2"]
    assert sum(state == "stopping" for state, _ in states(gateway)) == 4


def test_forking_in_the_middle_of_busy_threads_never_hangs(gateway):
    status, err = run(
        gateway,
        """
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                log.info("busy")
                time.sleep(0.0001)
        threads = [threading.Thread(target=busy) for _ in range(4)]
        [thread.start() for thread in threads]
        pids = []
        for _ in range(15):
            pid = os.fork()
            if pid == 0:
                log.info("child")
                lastbeat.stop()
                os._exit(0)
            pids.append(pid)
        ended = [os.waitpid(pid, 0)[1] for pid in pids]
        stop.set()
        [thread.join() for thread in threads]
        sys.exit(any(ended))
        """,
    )
    assert status == 0, err
    assert messages(gateway).count("child") == 15
    for stream in {batch.header.stream for batch in gateway.batches if batch.header.dataset == "business"}:
        numbers = [e["event"]["sequence"] for e in gateway.events("business") if e["event"]["stream"] == stream]
        assert sorted(set(numbers)) == list(range(1, len(set(numbers)) + 1))


def agent(gateway: FakeGateway, *command: str) -> subprocess.Popen[bytes]:
    options = ("--service", "wrapped", "--region", "cn-east", "--interval", "0.5")
    return start(gateway.url, "", "-m", "shippers.agent", *options, "--", *command)


def test_the_agent_passes_everything_through_and_ships_each_line(gateway):
    program = (
        r"""printf 'plain\n\n{"msg":"paid","level":"error","order_id":"A1","amount":2.5}\nno end\377'; echo oops >&2"""
    )
    process = agent(gateway, "sh", "-c", program)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == b'plain\n\n{"msg":"paid","level":"error","order_id":"A1","amount":2.5}\nno end\xff'
    assert err == b"oops\n"
    events = {event["message"]: event for event in gateway.events("console")}
    assert set(events) == {"plain", "paid", "no end\ufffd", "oops"}
    assert events["paid"]["log"] == {"level": "ERROR", "logger": "stdout"}
    assert (events["paid"]["labels"], events["paid"]["measures"]) == ({"order_id": "A1"}, {"amount": 2.5})
    assert events["oops"]["log"]["logger"] == "stderr"
    assert states(gateway)[0] == ("up", None)
    assert states(gateway)[-1] == ("stopping", "exit 0")


@pytest.mark.parametrize(
    ("program", "status", "words"), [("exit 3", 3, "exit 3"), ("kill -9 $$", 137, "killed by SIGKILL")]
)
def test_the_agent_keeps_the_exit_status_and_a_death_is_no_goodbye(gateway, program, status, words):
    process = agent(gateway, "sh", "-c", program)
    process.communicate(timeout=20)
    assert process.returncode == status
    [event] = gateway.events("console")
    assert (event["message"], event["log"]["level"]) == (f"the command ended: {words}", "ERROR")
    assert {state for state, _ in states(gateway)} == {"up"}


def test_the_agent_passes_signals_on_and_an_end_that_was_asked_for_is_a_goodbye(gateway):
    process = agent(gateway, "sh", "-c", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for(lambda: "ready" in messages(gateway, "console"))
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 5
    assert out == b"ready\nbye\n"
    assert states(gateway)[-1] == ("stopping", "SIGTERM")


def test_the_agent_beats_while_the_command_is_silent_and_measures_it(gateway):
    process = agent(gateway, "sleep", "1.2")
    process.communicate(timeout=20)
    assert len(states(gateway)) >= 3
    assert gateway.beats()[0]["process"]["pid"] != process.pid
    assert gateway.beats()[1]["heartbeat"]["memory_bytes"] > 0


@pytest.mark.parametrize(("command", "status"), [("/nonexistent/program", 127), ("/etc/passwd", 126)])
def test_the_agent_says_what_it_could_not_start(gateway, command, status):
    process = agent(gateway, command)
    _, err = process.communicate(timeout=20)
    assert process.returncode == status
    assert err.decode().startswith(f"lastbeat-run: {command}: ")
