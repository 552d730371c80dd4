"""Kafka: one KRaft node, broker and controller in one process, capped at 384 MB of heap."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from collector.journal.kafka_link import connected_admin
from collector.settings import KafkaSettings

from .java import QUICK_START
from .server import Process, Runner, ServerFailed, end_of

HEAP = "384m"
PREFERRED_PORTS = (19092, 19093)

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{link}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocol}
log.dirs={data}
auto.create.topics.enable=false
log.message.timestamp.type=LogAppendTime
log.retention.check.interval.ms=10000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.min.session.timeout.ms=1000
message.max.bytes=12582912
log.cleaner.dedupe.buffer.size=16777216
"""
_LOGGING = """\
status=error
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={logs}/server.log
appender.file.filePattern={logs}/server.log.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %m (%c)%n
appender.file.policies.type=SizeBasedTriggeringPolicy
appender.file.policies.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=2
"""


def start(
    home: Path, jars: Path, jdk: Path, runner: Runner, ports: Sequence[int], jvm_options: Sequence[str]
) -> Process:
    """Start it on `ports`: its own, its controller's and, if there are more, those of another listener and what that
    tells clients. Formats its storage the first time. Doesn't wait until it serves."""
    port, controller, *other = ports
    link, advertised = (f",LINK://127.0.0.1:{each}" for each in other) if other else ("", "")
    protocol = ",LINK:PLAINTEXT" if other else ""
    data, logs = home / "data", home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    properties, logging = home / "server.properties", home / "log4j2.properties"
    properties.write_text(
        _PROPERTIES.format(
            port=port, controller=controller, link=link, advertised=advertised, protocol=protocol, data=data
        )
    )
    logging.write_text(_LOGGING.format(logs=logs))
    runner.own(home)
    java = [str(jdk / "bin" / "java"), "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]
    if not (data / "meta.properties").exists():
        _format([*java, "-Xmx128m", *QUICK_START, "kafka.tools.StorageTool"], properties, runner)
    options = [f"-Xmx{HEAP}", f"-Xms{HEAP}", *jvm_options]
    pid = runner.start([*java, *options, "kafka.Kafka", str(properties)], home / "console.log", {})
    process = Process.of(pid)
    if process is None:
        raise ServerFailed(f"Kafka ended at once:\n{end_of(home / 'console.log')}")
    return process


def _format(tool: list[str], properties: Path, runner: Runner) -> None:
    try:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        runner.output([*tool, "format", "-t", cluster, "-c", str(properties)], timeout_s=60)
    except subprocess.CalledProcessError as error:
        raise ServerFailed(f"Kafka's storage could not be formatted:\n{error.output}") from None


def serves(home: Path, port: int) -> bool:
    """Whether it takes part in its own cluster, so that topics can be made and batches appended. Who answers on its
    port with another cluster's id is another."""
    from kafka.errors import KafkaError

    try:
        admin = connected_admin(KafkaSettings(bootstrap=f"127.0.0.1:{port}"), timeout_ms=2000)
        try:
            cluster = admin.describe_cluster()
            ours = f"cluster.id={cluster['cluster_id']}" in (home / "data" / "meta.properties").read_text().split()
            return ours and any(not broker["is_fenced"] for broker in cluster["brokers"])
        finally:
            admin.close()
    except (KafkaError, OSError, ValueError):
        return False
