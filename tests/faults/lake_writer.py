"""A process that writes to a lake until it is killed: what tests/faults/test_lake_kill.py starts.

    python -m tests.faults.lake_writer <lake> <records at once> <lines until it kills itself, 0: never>

It prints `offset <n>` for what is settled, and writes from where the lake's own positions say. What it writes is the
same in every process: RECORDS, with all that can be odd about a batch.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from collector.lake import compaction
from collector.lake.sink import LakeSink
from collector.lake.upkeep import Upkeep
from collector.ports import Record, TopicPartition
from collector.settings import LakeSettings
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock

NOW = 1_763_733_600.0
TOPICS = ("lastbeat.cn-east.business", "lastbeat.cn-north.business", "lastbeat.cn-east.console")
COUNT = 700


def batches() -> Iterator[tuple[str, Batch]]:
    """For each topic a stream of batches: some sent twice, some overlapping, some void, some broken, some lines bad."""
    rng = random.Random(20)
    numbers = dict.fromkeys(TOPICS, 1)
    sent: dict[str, list[Batch]] = {topic: [] for topic in TOPICS}
    for _ in range(COUNT):
        topic = rng.choice(TOPICS)
        kind = rng.choices(["new", "again", "overlap", "void", "broken", "bad line"], [8, 2, 1, 1, 2, 2])[0]
        first, count = numbers[topic], rng.randint(1, 9)
        if kind == "again" and sent[topic]:
            yield topic, rng.choice(sent[topic])
            continue
        if kind == "overlap":
            first = max(1, first - 3)
        made = _batch(topic, first, count, bad=rng.randrange(first, first + count) if kind == "bad line" else 0)
        if kind == "void":
            made = made.void("spool full")
        if kind == "broken":
            yield topic, dataclasses.replace(made, body=made.body.replace(b"paid", b"PAID"))
            continue
        numbers[topic] = first + count
        sent[topic].append(made)
        yield topic, made


def _batch(topic: str, first: int, count: int, bad: int) -> Batch:
    _, region, dataset = topic.split(".")
    header = Header(f"bootid00{region[-1]}.{dataset}", first, 0, region, dataset, "2025-11-21", "pay", "pay-1", 0)
    lines = [
        json.dumps({"@timestamp": f"2025-11-21T12:00:00.{number:06d}Z", "message": "paid"}).encode()
        if number != bad
        else b"paid, but no JSON"
        for number in range(first, first + count)
    ]
    return seal(header, lines)


def records() -> list[Record]:
    """The journal, so to speak: offsets count through all topics."""
    return [
        Record(TopicPartition(topic, 0), offset, offset + 1, NOW, made.header.encode(), made.body)
        for offset, (topic, made) in enumerate(batches())
    ]


# Where the order of things matters most: a kill between any two lines of these must do no harm.
_CRITICAL = ("_write", "_commit_all", "_commit_dead", "_commit", "commit", "_replace", "_age", "finish")


def kill_myself_after(lines: int) -> None:
    """SIGKILL at the n-th line of the lake's critical code, in whichever thread."""
    left = [lines]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if "/collector/lake/" not in frame.f_code.co_filename or frame.f_code.co_name not in _CRITICAL:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def main(lake: Path, at_once: int, lines: int) -> None:
    compaction._FAN_IN = 3  # so that it has much to do
    if lines:
        kill_myself_after(lines)
    sink = LakeSink(lake, LakeSettings(), FakeClock(NOW))
    upkeep, done = Upkeep(sink), threading.Event()

    def keep_up() -> None:
        while not done.wait(0.1):
            upkeep.maintain()

    thread = threading.Thread(target=keep_up)
    thread.start()
    try:
        positions = sink.positions()
        todo = [record for record in records() if record.offset >= positions.get(record.tp, 0)]
        for i in range(0, len(todo), at_once):
            outcomes = sink.write(todo[i : i + at_once])
            assert not any(outcome.retry for outcome in outcomes)
            print(f"offset {todo[i : i + at_once][-1].offset}", flush=True)
    finally:
        done.set()
        thread.join()
    sink.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
