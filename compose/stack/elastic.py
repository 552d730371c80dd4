"""Elasticsearch: one node, 1 GB of heap at most, without security, since it listens on loopback only."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from .server import Process, Runner, ServerFailed, end_of

HEAP = "1g"
PREFERRED_PORTS = (19200, 19300)
_START_WITHIN_S = 300

_CONFIG = """\
cluster.name: lastbeat
node.name: lastbeat-1
discovery.type: single-node
network.host: 127.0.0.1
http.port: {port}
transport.port: {transport}
path.data: {home}/data
path.logs: {home}/logs
xpack.security.enabled: false
"""
_LOGGING = """\
status = error
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:es.logs.base_path}/server.log
appender.file.filePattern = ${sys:es.logs.base_path}/server.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %c %m%n
appender.file.policies.type = SizeBasedTriggeringPolicy
appender.file.policies.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
"""


def start(
    home: Path, software: Path, jdk: Path, runner: Runner, ports: Sequence[int], jvm_options: Sequence[str]
) -> Process:
    """Start it on `ports`; returns when it serves."""
    port, transport = ports
    config, pid_file, log = home / "config", home / "server.pid", home / "console.log"
    for name in ("config", "data", "logs", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    (config / "elasticsearch.yml").write_text(_CONFIG.format(port=port, transport=transport, home=home))
    (config / "log4j2.properties").write_text(_LOGGING)
    (config / "jvm.options").write_bytes((software / "config" / "jvm.options").read_bytes())
    pid_file.unlink(missing_ok=True)
    runner.own(home)
    environment = {
        "ES_JAVA_HOME": str(jdk), "ES_PATH_CONF": str(config), "ES_TMPDIR": str(home / "tmp"), "HOME": str(home),
        "ES_JAVA_OPTS": " ".join([f"-Xms{HEAP} -Xmx{HEAP} -Xlog:disable -Xlog:all=warning:stderr", *jvm_options]),
        "CLI_JAVA_OPTS": "-Xmx64m -XX:+UseSerialGC",
    }  # fmt: skip
    command = [str(software / "bin" / "elasticsearch"), "-d", "-p", str(pid_file)]
    try:
        log.write_text(runner.output(command, _START_WITHIN_S, environment))
    except subprocess.CalledProcessError as error:
        raise ServerFailed(f"Elasticsearch did not start:\n{_last(error.output)}") from None
    except subprocess.TimeoutExpired:
        raise ServerFailed(
            f"Elasticsearch did not start in {_START_WITHIN_S} s:\n{end_of(home / 'logs' / 'server.log')}"
        ) from None
    process = Process.of(int(pid_file.read_text()))
    if process is None:
        raise ServerFailed(f"Elasticsearch ended at once:\n{end_of(home / 'logs' / 'server.log')}")
    return process


def _last(output: str) -> str:
    return "\n".join(output.splitlines()[-15:])


def serves(_: Path, port: int) -> bool:
    """Whether the cluster has a master and answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_cluster/health?timeout=2s", timeout=5) as answer:
            return json.load(answer)["status"] in ("green", "yellow")
    except (OSError, ValueError, KeyError, urllib.error.URLError):
        return False
