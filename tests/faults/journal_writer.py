"""A process that appends to a journal for as long as it lives, and says on its standard output what was acknowledged.

Started by the fault tests, which kill it: `python -m tests.faults.journal_writer <folder> <seed> <segment_bytes>`.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from pathlib import Path

from collector.journal.local import LocalJournal
from collector.settings import JournalSettings
from shippers.batch import Header, seal
from shippers.clock import SystemClock
from shippers.errors import Unavailable

THREADS = 4


def line(thread: int, number: int, size: int) -> bytes:
    return b'{"thread":%d,"number":%d,"filler":"%s"}' % (thread, number, b"x" * size)


def work(journal: LocalJournal, boot: str, thread: int, random_: random.Random) -> None:
    number = 0
    while True:
        batches = []
        for _ in range(random_.choice((1, 1, 1, 5))):
            number += 1
            region = random_.choice(("eu", "cn"))
            header = Header(f"{boot}{thread}.business", number, 0, region, "business", "2026-11-21", "s", "i", 0)
            batches.append(seal(header, [line(thread, number, random_.choice((10, 500, 9_000)))]))
        while True:
            try:
                journal.append(batches)
                break
            except Unavailable as error:
                os.write(1, f"refused {error}\n".encode())
                time.sleep(0.02)
        said = "".join(f"{batch.header.stream} {batch.header.first}\n" for batch in batches)
        os.write(1, said.encode())  # one write, shorter than a pipe's atomic size: never torn


def main(folder: str, seed: str, segment_bytes: str) -> None:
    settings = JournalSettings(segment_bytes=int(segment_bytes))
    journal = LocalJournal(Path(folder), settings, SystemClock(), writable=True)
    os.write(1, b"ready\n")
    for thread in range(THREADS):
        args = (journal, f"boot{int(seed):06d}", thread, random.Random(int(seed) * 10 + thread))
        threading.Thread(target=work, args=args, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
