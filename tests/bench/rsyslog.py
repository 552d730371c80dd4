"""rsyslog as the peer: imkafka to omelasticsearch, one JSON a record, as a process of its own with its own settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_MODULES = ("imkafka.so", "omelasticsearch.so")
_FOLDERS = ("/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib64/rsyslog")
_SETTINGS = """\
global(workDirectory="{folder}")
module(load="imkafka")
module(load="omelasticsearch")
main_queue(queue.size="100000" queue.dequeueBatchSize="5000" queue.workerThreads="2")
template(name="raw" type="string" string="%msg%")
input(type="imkafka" topic="{topic}" broker="{bootstrap}" consumergroup="{topic}-rsyslog"
      confParam=["auto.offset.reset=earliest"] ruleset="feed")
ruleset(name="feed") {{
  action(type="omelasticsearch" server="127.0.0.1" serverport="{port}" searchIndex="{index}" searchType=""
         bulkmode="on" maxbytes="4m" template="raw" errorFile="{folder}/errors")
}}
"""


def absent() -> str:
    """Why it can't be measured here; empty if it can."""
    if shutil.which("rsyslogd") is None:
        return "rsyslogd is not installed"
    missing = [name for name in _MODULES if not any((Path(folder) / name).exists() for folder in _FOLDERS)]
    return f"{' and '.join(missing)} missing: Debian's rsyslog-kafka and rsyslog-elasticsearch" if missing else ""


def feed(bootstrap: str, topic: str, port: int, index: str, events: int, stored: Callable[[], int]) -> dict[str, float]:
    """Let it carry `events` records; CPU and wall seconds until `stored` says that they are all there."""
    folder = Path(tempfile.mkdtemp(prefix="lastbeat-rsyslog-"))
    settings = folder / "rsyslog.conf"
    settings.write_text(_SETTINGS.format(folder=folder, topic=topic, bootstrap=bootstrap, port=port, index=index))
    command = ["rsyslogd", "-n", "-f", str(settings), "-i", str(folder / "pid")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline, began = time.monotonic() + 120, 0.0
        while (found := stored()) < events:
            began = began or (time.monotonic() if found else 0.0)
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"rsyslog carried {found} of {events} events: {_complaints(folder)}")
            time.sleep(0.25)
        wall_s = time.monotonic() - (began or deadline - 120)
        return {"cpu_s": _cpu_s(process.pid), "wall_s": wall_s}
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _complaints(folder: Path) -> str:
    errors = folder / "errors"
    return errors.read_text()[:300] if errors.exists() else "it says nothing"
