"""An indexer of a group as a process of its own. It notes each record in a file, then says that it is settled.

python -m tests.stack.indexer_process <bootstrap> <prefix> <file>. SIGTERM ends it in order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from collector.indexer import Indexer
from collector.journal.kafka import KafkaJournal
from collector.ports import Outcome, Record, TopicPartition
from collector.settings import KafkaSettings
from compose.stopping import stop_on_signal
from shippers.batch import Header
from shippers.clock import SystemClock


class FileSink:
    """Notes `partition offset first instance` a line, and asks for every seventh record once more."""

    lanes = 2

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._asked: set[tuple[TopicPartition, int]] = set()

    def write(self, records: Sequence[Record]) -> list[Outcome]:
        outcomes = []
        for record in records:
            place = (record.tp, record.offset)
            if record.offset % 7 == 0 and place not in self._asked:
                self._asked.add(place)
                outcomes.append(Outcome(record, retry=True))
                continue
            header = Header.decode(record.header)
            line = f"{record.tp.partition} {record.offset} {header.first} {header.instance}\n"
            os.write(self._file, line.encode())
            outcomes.append(Outcome(record, stored=header.count))
        return outcomes

    def positions(self) -> Mapping[TopicPartition, int] | None:
        return None

    def close(self) -> None:
        os.close(self._file)


def main(bootstrap: str, prefix: str, path: str) -> None:
    clock, stop = SystemClock(), stop_on_signal()
    journal = KafkaJournal(KafkaSettings(bootstrap=bootstrap, prefix=prefix), clock)
    with (
        closing(journal),
        closing(journal.reader("lake", ["business"])) as reader,
        closing(FileSink(Path(path))) as sink,
    ):
        Indexer(reader, sink, clock, flush_s=0.2).run(stop)


if __name__ == "__main__":
    main(*sys.argv[1:4])
