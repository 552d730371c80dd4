"""One indexer in a process of its own, from Kafka into Elasticsearch: what it takes is told as one line of JSON.

`python -m tests.bench.indexing <bootstrap> <elasticsearch> <prefix> <group> <events>` ends once that many are settled.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from collector.elastic.sink import ElasticSink
from collector.foreign.journal import ForeignJournal
from collector.indexer import Indexer
from collector.journal.kafka import KafkaJournal
from collector.settings import ElasticSettings, KafkaSettings
from compose.memory import collect_rarely, keep_buffers
from shippers.clock import SystemClock

CLOCK = SystemClock()


def index(settings: ElasticSettings, kafka: KafkaSettings, events: int) -> dict[str, float]:
    """Start that process and wait for it; what it tells."""
    command = [sys.executable, "-m", "tests.bench.indexing", kafka.bootstrap, settings.urls[0], settings.prefix]
    done = subprocess.run([*command, "bench", str(events)], stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(bootstrap: str, elasticsearch: str, prefix: str, group: str, events: int) -> None:
    """From its first look at the journal to its last commit; the time to join the group isn't counted."""
    keep_buffers()
    collect_rarely()
    settings = ElasticSettings(urls=(elasticsearch,), prefix=prefix)
    with (
        closing(KafkaJournal(KafkaSettings(bootstrap=bootstrap, prefix=prefix), CLOCK)) as journal,
        closing(ForeignJournal(journal).reader(group, ["business"])) as reader,
        closing(ElasticSink(settings, CLOCK)) as sink,
    ):
        while not reader.assigned():
            reader.poll(1, 0.2)
        indexer = Indexer(reader, sink, CLOCK, flush_s=0.25)  # else the last part alone would wait for seconds
        cpu, began = time.process_time(), time.perf_counter()
        while indexer.counters.stored + indexer.counters.duplicate < events:
            indexer.step()
        found = {
            "cpu_s": time.process_time() - cpu,
            "wall_s": time.perf_counter() - began,
            "rss_mib": _peak_mib(),
            "stored": indexer.counters.stored,
        }
        print(json.dumps(found))


def _peak_mib() -> float:
    """Of this program: getrusage would count the process that started it as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
