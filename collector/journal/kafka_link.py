"""How we speak to Kafka: client options, topic names, and topics made the way the journal needs them.

The names of the port (`lastbeat.<region>.<dataset>`) are turned into the cluster's (`<prefix>.<region>.<dataset>`) and
back here, and nowhere else. Nothing here keeps state.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from collector.ports import TopicPartition
from collector.settings import KafkaSettings
from shippers.batch import MAX_BODY_BYTES, MAX_HEADER_BYTES
from shippers.errors import Misconfigured, Unavailable

from .kafka_lean import make_lean

log = logging.getLogger("lastbeat.journal")

HEADER = "lastbeat"
MAX_RECORD_BYTES = MAX_BODY_BYTES + MAX_HEADER_BYTES + 64 * 1024
REQUEST_TIMEOUT_MS = 3_000


def need_libraries() -> None:
    """Refuse to run without lz4, which batches are packed with, and on the checksum that is written in Python: it is 17
    times slower. Raises Misconfigured."""
    try:
        import crc32c
        import kafka
        import lz4.frame
    except ImportError as error:
        raise Misconfigured(f"the Kafka journal needs {error.name}: pip install 'lastbeat[kafka]'") from None
    del crc32c, kafka, lz4


def need_files(settings: KafkaSettings) -> None:
    """What the settings point to is there: kafka-python would only say that it can't connect. Raises Misconfigured."""
    for name in ("ca_file", "cert_file", "key_file"):
        path = getattr(settings, name)
        if path is not None and not path.is_file():
            raise Misconfigured(f"[kafka] {name}: there is no file {path}")


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """What every client is built with: the address, who we are, and no wait without an end."""
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.bootstrap.split(",")],
        "client_id": "lastbeat",
        "security_protocol": settings.security,
        "bootstrap_timeout_ms": REQUEST_TIMEOUT_MS,
        "reconnect_backoff_max_ms": 1_000,
    }
    if settings.ca_file:
        options["ssl_cafile"] = str(settings.ca_file)
    if settings.cert_file:
        options |= {
            "ssl_certfile": str(settings.cert_file),
            "ssl_keyfile": str(settings.key_file or settings.cert_file),
        }
    if settings.security.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.mechanism,
            "sasl_plain_username": settings.user,
            "sasl_plain_password": settings.password.get_secret_value(),
        }
    return options


def build(kind: Callable[..., Any], settings: KafkaSettings, **options: Any) -> Any:
    """One of kafka-python's clients. If its constructor fails, what it has opened by then is closed: 3.0.12 leaves a
    thread and four files behind each time, which would end a process that waits for its broker. And its error says
    why the last connection failed (a password, a certificate), which kafka-python tells its log only."""
    from kafka.errors import KafkaConnectionError, KafkaTimeoutError
    from kafka.net.compat import KafkaNetClient

    make_lean()
    opened: list[Any] = []
    failures: deque[BaseException] = deque(maxlen=1)

    def network(**more: Any) -> Any:
        opened.append(KafkaNetClient(**more))
        manager = opened[-1]._manager
        connect = manager.get_connection

        def heard(*args: Any, **how: Any) -> Any:
            connection = connect(*args, **how)
            connection.init_future.add_errback(failures.append)
            return connection

        manager.get_connection = heard
        return opened[-1]

    try:
        built = kind(kafka_client=network, **options, **client_options(settings))
        for one in opened:
            del one._manager.get_connection  # it is up: from now on as kafka-python has it
        return built
    except BaseException as error:
        for one in opened:
            one.close()
        if failures and isinstance(error, KafkaTimeoutError):
            # A broker that turns a password down hangs up, and 3.0.12 then loses what it had said.
            doubt = " (are [kafka] user, password and mechanism right?)" if settings.security.startswith("SASL") else ""
            raise KafkaConnectionError(f"{failures[0]}{doubt}") from error
        raise


def connected_admin(settings: KafkaSettings, timeout_ms: int = REQUEST_TIMEOUT_MS) -> Any:
    """A client for questions about the cluster; the caller closes it. Raises KafkaError."""
    from kafka import KafkaAdminClient

    return build(KafkaAdminClient, settings, request_timeout_ms=timeout_ms)


@contextmanager
def reachable(doing: str, settings: KafkaSettings) -> Iterator[None]:
    """Turns kafka-python's errors into the one that our callers decide on."""
    from kafka.errors import KafkaError

    try:
        yield
    except (KafkaError, OSError) as error:
        words = str(error).partition("\n")[0] or type(error).__name__
        raise Unavailable(f"Kafka at {settings.bootstrap}: {doing}: {words}", retry_after_s=1.0) from error


def topics_own() -> tuple[type[Exception], ...]:
    """What brokers that are well say of one topic, for good: it may not be written to, or can't be made so."""
    from kafka import errors

    return (
        errors.TopicAuthorizationFailedError, errors.InvalidTopicError, errors.InvalidReplicationFactorError,
        errors.InvalidPartitionsError, errors.InvalidConfigurationError, errors.PolicyViolationError,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """The cluster's names for ours."""

    prefix: str

    def topic(self, ours: str) -> str:
        """The cluster's name of a topic of the port."""
        return f"{self.prefix}.{ours.partition('.')[2]}"

    def group(self, ours: str) -> str:
        """The cluster's name of a reader group."""
        return f"{self.prefix}.{ours}"

    def ours(self, topic: str, partition: int) -> TopicPartition:
        """The port's name of one of the cluster's partitions."""
        return TopicPartition(f"lastbeat.{topic[len(self.prefix) + 1 :]}", partition)

    def pattern(self, datasets: Sequence[str]) -> str:
        """What matches the topics of these datasets, of every region, and nothing else."""
        return rf"^{re.escape(self.prefix)}\.[a-z0-9-]+\.({'|'.join(map(re.escape, datasets))})$"


def only_of(instance: str, tps: Collection[TopicPartition]) -> list[TopicPartition]:
    """Of all partitions those that an instance's batches go to: as every client of Kafka's hashes a key. All for ''."""
    from kafka.partitioner.default import murmur2

    if not instance:
        return list(tps)
    sizes, hashed = Counter(tp.topic for tp in tps), int(murmur2(instance.encode())) & 0x7FFFFFFF
    return [tp for tp in tps if tp.partition == hashed % sizes[tp.topic]]


def make_topic(settings: KafkaSettings, topic: str) -> None:
    """See to it that the topic is there, and that it stamps append times and takes our largest batch.

    The number of partitions is set once, here: it decides which partition an instance's batches go to. A beat topic has
    one, so that a canary always takes the way that every beat takes.
    """
    from kafka.admin import ConfigResource, ConfigResourceType
    from kafka.errors import TopicAlreadyExistsError, TopicAuthorizationFailedError

    wanted = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(MAX_RECORD_BYTES)}
    fresh = wanted | {"cleanup.policy": "delete", "retention.ms": str(int(settings.retention_s * 1000))}
    partitions = 1 if topic.endswith(".heartbeat") else settings.partitions
    layout = {"num_partitions": partitions, "replication_factor": settings.replication, "configs": fresh}
    admin = connected_admin(settings)
    try:
        try:
            admin.create_topics({topic: layout}, timeout_ms=REQUEST_TIMEOUT_MS, wait_for_metadata=True)
            log.info(
                "made topic %s with %d partitions, kept for %.0f h", topic, partitions, settings.retention_s / 3600
            )
            return
        except TopicAlreadyExistsError:
            pass
        except TopicAuthorizationFailedError:
            if topic not in admin.list_topics():
                raise
            log.info("topic %s was made by somebody else, and is taken as it is: we may not make any", topic)
            return
        asked = ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(wanted))
        found = admin.describe_configs([asked], config_filter="all")["topic"][topic]
        wrong = {name: value for name, value in wanted.items() if found.get(name, {}).get("value") != value}
        if wrong:
            log.warning("topic %s: setting %s, which the journal relies on", topic, wrong)
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wrong)])
    finally:
        admin.close()


def remove_all(settings: KafkaSettings) -> None:
    """Delete every topic and every reader group of this prefix, and what they hold. Raises Unavailable.

    A group that somebody still reads with stays; what it committed goes with its topics.
    """
    with reachable("delete", settings):
        admin = connected_admin(settings)
        try:
            mine = f"{settings.prefix}."
            if topics := [topic for topic in admin.list_topics() if topic.startswith(mine)]:
                admin.delete_topics(topics, timeout_ms=REQUEST_TIMEOUT_MS)
            if groups := [group["group_id"] for group in admin.list_groups() if group["group_id"].startswith(mine)]:
                admin.delete_groups(groups)
        finally:
            admin.close()
