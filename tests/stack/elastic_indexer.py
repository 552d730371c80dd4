"""An indexer from Kafka to Elasticsearch as a process of its own, which kills itself at a chosen point of its work.

    python -m tests.stack.elastic_indexer <bootstrap> <elasticsearch> <prefix> [<place> <lines>]

With a place it ends by SIGKILL at the n-th line of the code in PLACES, in whichever thread; else on SIGTERM, in order.
Its group notices after two seconds, not ten, that it is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from types import FrameType
from typing import Any

from collector.elastic.sink import ElasticSink
from collector.indexer import Indexer
from collector.journal import kafka_reader
from collector.journal.kafka import KafkaJournal
from collector.settings import ElasticSettings, KafkaSettings
from compose.stopping import stop_on_signal
from shippers.clock import SystemClock

GROUP = "elastic"
_ELASTIC, _READER, _COORDINATOR = "/collector/elastic/", "/collector/journal/kafka_reader.py", "/kafka/coordinator/"
_INDEXER = "/collector/indexer.py"
_WRITES = (_INDEXER, "_begin")


@dataclass(frozen=True, slots=True)
class Place:
    """Code whose lines count, as (part of a file's name, functions), once the calls of `since` were seen in order."""

    since: tuple[tuple[str, str], ...]
    code: tuple[tuple[str, tuple[str, ...]], ...]


PLACES = {
    "before the bulk": Place(
        (_WRITES,),
        (
            (_INDEXER, ("_begin",)),
            (_ELASTIC, ("write", "_job", "_guard", "_place", "of", "_make", "_try", "run", "requests", "body")),
        ),
    ),
    # From Elasticsearch's answer, over the dead letters, until the offsets are to be committed.
    "between bulk and commit": Place(
        ((_ELASTIC, "read"),),
        (
            (_ELASTIC, ("_take", "_settle", "_settle_one", "read", "_heed", "_bury", "keep", "buried", "_prove")),
            (_ELASTIC, ("outcome",)),
            (_INDEXER, ("_settle", "_settle_one")),
        ),
    ),
    "at the commit": Place(
        ((_INDEXER, "_account"),),
        (
            (_INDEXER, ("_account", "_give_back", "_commit")),
            (_READER, ("commit",)),
            (_COORDINATOR, ("commit_offsets_sync", "_commit_offsets_sync_async", "_send_offset_commit_request")),
        ),
    ),
    # From the first one on after it has begun to write, and all that it does with the partitions then.
    "in a rebalance": Place(
        (_WRITES, (_COORDINATOR, "_on_join_prepare_async")),
        (
            (_COORDINATOR, ("_on_join_prepare_async", "_on_join_complete_async", "_perform_assignment")),
            (_READER, ("poll", "_fill", "_polled", "_note_assignment", "_begin", "seek", "commit", "_take")),
            (_INDEXER, ("_read", "_place_new_partitions", "_forget_lost_partitions", "_take", "_begin", "_account")),
        ),
    ),
}  # fmt: skip


def kill_myself_after(place: Place, lines: int) -> None:
    """SIGKILL at the n-th line of a place. Says `writes` when the first write begins."""
    left, since, said = [lines], list(place.since), []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if not any(name in names and part in file for part, names in (*place.code, (_INDEXER, ("_begin",)))):
            return None
        if event == "call" and frame.f_lineno == frame.f_code.co_firstlineno:  # else a coroutine goes on
            if name == _WRITES[1] and _WRITES[0] in file and not said:
                said.append(print("writes", flush=True))
            if since and name == since[0][1] and since[0][0] in file:
                del since[0]
        if event == "line" and not since:
            left[0] -= 1
            if left[0] == 0:
                print(f"{file}:{frame.f_lineno}", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def _soon_missed(build: Callable[..., Any]) -> Callable[..., Any]:
    def built(kind: Any, settings: KafkaSettings, **options: Any) -> Any:
        if options.get("group_id"):
            options |= {"session_timeout_ms": 2_000, "heartbeat_interval_ms": 300}
        return build(kind, settings, **options)

    return built


def main(bootstrap: str, url: str, prefix: str, place: str = "", lines: str = "0") -> None:
    kafka_reader.build = _soon_missed(kafka_reader.build)  # type: ignore[attr-defined]
    clock, stop = SystemClock(), stop_on_signal()
    if place:
        kill_myself_after(PLACES[place], int(lines))
    journal = KafkaJournal(KafkaSettings(bootstrap=bootstrap, prefix=prefix), clock)
    sink = ElasticSink(ElasticSettings(urls=(url,), prefix=prefix), clock)
    with closing(journal), closing(journal.reader(GROUP, ["business"])) as reader, closing(sink):
        Indexer(reader, sink, clock, flush_s=0.1).run(stop)


if __name__ == "__main__":
    main(*sys.argv[1:])
