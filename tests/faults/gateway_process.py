"""A gateway with a local journal, as a process: `python -m tests.faults.gateway_process <folder>`; says its address."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from collector.gateway.http import create_app
from collector.gateway.serve import serve
from collector.journal.local import LocalJournal
from collector.settings import GatewaySettings, JournalSettings
from shippers.clock import SystemClock

if __name__ == "__main__":
    clock = SystemClock()
    settings = GatewaySettings(port=0)
    with closing(LocalJournal(Path(sys.argv[1]), JournalSettings(), clock, writable=True)) as journal:
        serve(create_app(journal, settings, clock), settings, lambda url: print(url, flush=True))
    print("closed", flush=True)
