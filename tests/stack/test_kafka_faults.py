"""Kafka killed, stopped and rebalanced under load: whatever was acknowledged is read, and no caller is held up."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from kafka.errors import KafkaConnectionError
from kafka.future import Future

from collector.journal.kafka import KafkaJournal
from collector.ports import Reader, Record
from collector.settings import KafkaSettings
from compose.stack import Stack
from shippers.batch import Batch
from shippers.clock import SystemClock
from shippers.errors import Unavailable
from tests.stack.batches import batch, numbers, read_count

CLOCK = SystemClock()


@contextmanager
def appending(journal: KafkaJournal, instances: int = 3, pause_s: float = 0.02) -> Iterator[list[tuple[str, int]]]:
    """Keep appending from several threads, as gateways do: again whatever was not acknowledged. Yields what was."""
    acknowledged: list[tuple[str, int]] = []
    stop = threading.Event()

    def run(instance: str, boot: str) -> None:
        first = 1
        while not stop.is_set():
            try:
                journal.append([batch(n, instance=instance, boot=boot) for n in range(first, first + 5)])
            except Unavailable:
                stop.wait(0.1)
                continue
            acknowledged.extend((instance, n) for n in range(first, first + 5))
            first += 5
            stop.wait(pause_s)

    threads = [threading.Thread(target=run, args=(f"pay-{n}", f"abcdefg{n:02}")) for n in range(instances)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads), "an append was held up"


def within(seconds: float, doing: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {doing}"
        time.sleep(0.05)


def stop(pid: int) -> None:
    """SIGSTOP, and wait until it holds: until then one of its threads may still answer."""
    os.kill(pid, signal.SIGSTOP)
    tasks = [task / "stat" for task in Path(f"/proc/{pid}/task").iterdir()]
    within(5, "all its threads stand", lambda: all(" T " in task.read_text() for task in tasks))


def answers(reader: Reader) -> bool:
    try:
        reader.poll(1000, 0.2)
    except Unavailable:
        return False
    return True


def appended(journal: KafkaJournal, one: Batch) -> bool:
    with suppress(Unavailable):
        journal.append([one])
        return True
    return False


def seen(records: list[Record]) -> set[tuple[str, int]]:
    return {
        (record.header.split(b'"instance":"')[1].split(b'"')[0].decode(), numbers([record])[0]) for record in records
    }


def test_a_broker_that_was_never_there_costs_an_append_and_a_poll_little_time() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening
        settings = KafkaSettings(bootstrap=f"127.0.0.1:{nobody.getsockname()[1]}", append_timeout_s=3.0)
        with closing(KafkaJournal(settings, CLOCK)) as journal, closing(journal.reader("lake", ["business"])) as reader:
            began = time.monotonic()
            with pytest.raises(Unavailable, match=r"Kafka at 127\.0\.0\.1"):
                journal.append([batch(1)])
            assert time.monotonic() - began < 5
            began = time.monotonic()
            with pytest.raises(Unavailable) as refused:  # the next one doesn't even try
                journal.append([batch(1)])
            assert time.monotonic() - began < 0.1
            assert refused.value.retry_after_s
            with pytest.raises(Unavailable):
                reader.poll(1000, 0.1)


def test_a_broker_killed_and_started_again_loses_nothing_that_was_acknowledged(
    journal: KafkaJournal, stack: Stack
) -> None:
    with closing(journal.reader("lake", ["business"])) as reader:
        read: list[Record] = []
        troubles = 0

        def poll() -> None:
            nonlocal troubles
            try:
                read.extend(reader.poll(8 * 1024 * 1024, 0.2))
            except Unavailable:
                troubles += 1

        def until(seconds: float, condition: Callable[[], bool], doing: str) -> None:
            deadline = time.monotonic() + seconds
            while not condition():
                poll()
                assert time.monotonic() < deadline, doing

        with appending(journal) as acknowledged:
            until(20, lambda: len(read) > 100, "reading before the fault")
            broker = stack.process("kafka")
            assert broker
            os.kill(broker.pid, signal.SIGKILL)
            until(10, lambda: troubles > 0, "the reader says that the broker is away")
            starter = threading.Thread(target=stack.up, args=("kafka",))
            starter.start()
            until(60, lambda: not starter.is_alive(), "the broker is back")
            count = len(acknowledged)
            until(30, lambda: len(acknowledged) > count + 50, "appending goes on")
        until(30, lambda: seen(read) >= set(acknowledged), "all that was acknowledged is read")


def test_a_broker_that_hangs_holds_nobody_up_and_all_goes_on_after_it(
    journal: KafkaJournal, kafka_settings: KafkaSettings, stack: Stack
) -> None:
    journal.append([batch(1)])
    broker = stack.process("kafka")
    assert broker
    with closing(journal.reader("lake", ["business"])) as reader:
        read = read_count(reader, 1)
        stop(broker.pid)
        try:
            for _ in range(3):
                began = time.monotonic()
                with pytest.raises(Unavailable):
                    journal.append([batch(2)])
                assert time.monotonic() - began < kafka_settings.append_timeout_s + 4
            began = time.monotonic()
            within(8, "the reader says that nobody answers", lambda: not answers(reader))
            began = time.monotonic()
            with pytest.raises(Unavailable):
                reader.commit({read[0].tp: 1})
            assert time.monotonic() - began < 5
        finally:
            os.kill(broker.pid, signal.SIGCONT)

        within(20, "appending goes on", lambda: appended(journal, batch(3)))
        found: list[Record] = []

        def both() -> bool:
            with suppress(Unavailable):
                found.extend(reader.poll(1000, 0.2))
            return 3 in numbers(found)

        within(30, "reading goes on", both)


def test_a_question_for_metadata_that_fails_is_not_the_last_one(journal: KafkaJournal) -> None:
    journal.append([batch(1)])
    with closing(journal.reader("lake", ["business"])) as reader:
        read_count(reader, 1)
        cluster, net = reader._consumer._cluster, reader._consumer._net
        loop = cluster._refresh_loop_future

        async def fail_in_a_bootstraps_place() -> None:
            while cluster.metadata_refresh_in_progress:  # its own question would end ours with a good answer
                await net.sleep(0.01)
            cluster._refresh_future = asked = Future()
            cluster.request_update()
            await net.sleep(0.2)
            asked.failure(KafkaConnectionError("cut off"))

        net.run(fail_in_a_bootstraps_place)
        within(5, "the client gives up asking", lambda: loop.is_done)
        journal.append([batch(2, region="cn-north")])
        assert numbers(read_count(reader, 1)) == [2]


def test_an_append_whose_producer_is_given_up_meanwhile_may_be_tried_again(
    journal: KafkaJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append([batch(1)])
    with monkeypatch.context() as patched:
        patched.setattr("collector.journal.kafka.make_topic", lambda *_: journal._producer.close())
        with pytest.raises(Unavailable):
            journal.append([batch(1, region="cn-north")])
    within(10, "appending goes on", lambda: appended(journal, batch(1, region="cn-north")))


def test_a_topic_that_cannot_be_made_is_named_and_harms_no_other(kafka_settings: KafkaSettings) -> None:
    with closing(KafkaJournal(kafka_settings, CLOCK)) as journal:
        journal.append([batch(1)])
    too_many = kafka_settings.model_copy(update={"replication": 3})  # of one broker: new topics can't be made
    with closing(KafkaJournal(too_many, CLOCK)) as journal:
        journal.append([batch(2)])
        producer = journal._producer
        for first in (3, 4, 5):
            with pytest.raises(Unavailable, match=r"takes nothing for topic .*cn-north\.business") as refused:
                journal.append([batch(1, region="cn-north")])
            assert refused.value.retry_after_s
            journal.append([batch(first)])
        assert journal._producer is producer


def test_what_is_under_way_is_bounded_in_bytes(kafka_settings: KafkaSettings, stack: Stack) -> None:
    settings = kafka_settings.model_copy(update={"max_pending_bytes": 1024 * 1024})
    large = batch(1, 10_000)
    refused = 0
    broker = stack.process("kafka")
    assert broker
    with closing(KafkaJournal(settings, CLOCK)) as journal:
        journal.append([batch(1)])
        stop(broker.pid)
        try:

            def append() -> None:
                nonlocal refused
                try:
                    journal.append([large] * 4)
                except Unavailable:
                    refused += 1

            threads = [threading.Thread(target=append) for _ in range(8)]
            began = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            assert refused == 8
            assert time.monotonic() - began < 12
        finally:
            os.kill(broker.pid, signal.SIGCONT)


def indexer(settings: KafkaSettings, noted: Path) -> subprocess.Popen[bytes]:
    noted.touch()
    place = (settings.bootstrap, settings.prefix, str(noted))
    return subprocess.Popen([sys.executable, "-m", "tests.stack.indexer_process", *place])


def test_a_broker_that_hangs_keeps_no_indexer_from_ending_in_order_within_ten_seconds(
    journal: KafkaJournal, kafka_settings: KafkaSettings, stack: Stack, tmp_path: Path
) -> None:
    broker = stack.process("kafka")
    assert broker
    members: list[subprocess.Popen[bytes]] = []
    try:
        with appending(journal):
            members.append(indexer(kafka_settings, tmp_path / "first"))
            within(60, "it reads", lambda: (tmp_path / "first").stat().st_size > 0)
            members.append(indexer(kafka_settings, tmp_path / "newcomer"))
            time.sleep(1.5)  # by now it joins, and the first one is asked to join again
            stop(broker.pid)
            asked = time.monotonic()
            for member in members:
                member.terminate()
            first, newcomer = [member.wait(asked + 10 - time.monotonic()) for member in members]
            assert first == 0
            assert newcomer in (0, -signal.SIGTERM)  # the second: on a slow machine it had hardly started
    finally:
        os.kill(broker.pid, signal.SIGCONT)
        for member in members:
            member.kill()
            member.wait()


@pytest.mark.parametrize("rebalances", [2, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def test_twenty_rebalances_a_minute_lose_nothing_and_commit_nothing_unsettled(
    journal: KafkaJournal, kafka_settings: KafkaSettings, tmp_path: Path, rebalances: int
) -> None:
    rng = random.Random(20)
    members: list[subprocess.Popen[bytes]] = []
    offsets = journal.reader("lake", ["business"])

    def join() -> Path:
        noted = tmp_path / f"member-{len(list(tmp_path.iterdir()))}"
        members.append(indexer(kafka_settings, noted))
        return noted

    def settled() -> tuple[set[tuple[int, int]], set[tuple[str, int]]]:
        lines = [line.split() for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
        whole = [line for line in lines if len(line) == 4]
        return {(int(p), int(at)) for p, at, _, _ in whole}, {(instance, int(n)) for _, _, n, instance in whole}

    def check() -> bool:
        committed = offsets.committed()
        places, _ = settled()
        for tp, upto in committed.items():
            missing = [at for at in range(upto) if (tp.partition, at) not in places]
            assert not missing, f"{tp}: committed up to {upto}, not settled: {missing[:5]}"
        return True

    with appending(journal, instances=12, pause_s=0.2) as acknowledged, closing(offsets):
        try:
            first, second = join(), join()
            within(60, "both read", lambda: all(noted.stat().st_size for noted in (first, second)))
            for _ in range(rebalances // 2):  # each round is two: one leaves, one joins
                left = members.pop(rng.randrange(len(members)))
                left.send_signal(rng.choice([signal.SIGTERM, signal.SIGKILL]))
                left.wait(15)
                newcomer, due = join(), time.monotonic() + 6
                within(60, "the newcomer has its share", lambda: check() and newcomer.stat().st_size > 0)  # noqa: B023
                within(10, "a pace of twenty a minute", lambda: check() and time.monotonic() > due)  # noqa: B023
            count = len(acknowledged)
            within(30, "appending goes on", lambda: len(acknowledged) > count)
            final = set(acknowledged)
            within(60, "all that was acknowledged is settled", lambda: settled()[1] >= final)
            within(20, "it is committed too", lambda: check() and sum(offsets.committed().values()) >= len(final) / 2)
        finally:
            for member in members:
                member.terminate()
            for member in members:
                assert member.wait(15) in (0, -signal.SIGTERM)  # the second: it had hardly started
