"""Servers as production has them: Kafka with certificates and passwords, Elasticsearch behind TLS; and what a person
reads who got one of them wrong."""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from rich.console import Console

from collector.elastic.client import ElasticClient
from collector.journal.kafka import KafkaJournal
from collector.settings import ElasticSettings, KafkaSettings
from compose.drill.proxy import Relay
from compose.stack.fetch import fetch_kafka, software_folder
from compose.stack.java import find_jdk
from compose.stack.server import Process, Runner, end_of, free_ports
from shippers.clock import SystemClock
from shippers.errors import Unavailable
from tests.stack.batches import batch, numbers, read_count

CLOCK = SystemClock()
USER, PASSWORD = "lastbeat", "a-secret"
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=CLIENT://127.0.0.1:{port},INNER://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://127.0.0.1:{port},INNER://127.0.0.1:{inner}
controller.listener.names=CONTROLLER
inter.broker.listener.name=INNER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,INNER:PLAINTEXT,CLIENT:SASL_SSL
log.dirs={home}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=12582912
ssl.keystore.type=PEM
ssl.keystore.location={home}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={home}/ca.pem
listener.name.client.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.client.plain.sasl.jaas.config={security}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.client.scram-sha-512.sasl.jaas.config={security}.scram.ScramLoginModule required;
"""


_JAVA_SECURITY = "org.apache.kafka.common.security"


@pytest.fixture(scope="module")
def secured() -> Iterator[KafkaSettings]:
    """A Kafka that wants a certificate and a password, and settings that have both."""
    home = Path(tempfile.mkdtemp(prefix="lastbeat-secured-"))  # pytest's own are closed to the user that servers run as
    home.chmod(0o755)
    _certificates(home)
    runner, software = Runner.choose(), software_folder()
    port, inner, controller = free_ports([0, 0, 0])
    properties = home / "server.properties"
    properties.write_text(
        _PROPERTIES.format(
            port=port,
            inner=inner,
            controller=controller,
            home=home,
            security=_JAVA_SECURITY,
            user=USER,
            password=PASSWORD,
        )
    )
    jars = fetch_kafka(software, Console(quiet=True))
    java = [str(find_jdk(software, runner) / "bin" / "java"), "-Xmx256m", "-XX:+UseSerialGC", "-cp", f"{jars}/*"]
    runner.own(home)
    scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    tool = [*java, "kafka.tools.StorageTool", "format", "-t", "c2VjdXJlZC1rYWZrYS0wMQ", "-c", str(properties)]
    runner.output([*tool, "--add-scram", scram], timeout_s=60)
    process = Process.of(runner.start([*java, "kafka.Kafka", str(properties)], home / "console.log", {}))
    assert process is not None, end_of(home / "console.log")
    settings = KafkaSettings(
        bootstrap=f"127.0.0.1:{port}", prefix="secured", security="SASL_SSL", user=USER, password=PASSWORD,
        ca_file=home / "ca.pem", cert_file=home / "client.pem", append_timeout_s=5.0,
    )  # fmt: skip
    try:
        _wait_served(settings, process, home)
        yield settings
    finally:
        process.end(CLOCK)
        shutil.rmtree(home)


def _certificates(home: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(home / "ca.pem")
    for name, whom in (("server", "127.0.0.1"), ("client", "client.lastbeat.example")):
        leaf = authority.issue_cert(whom)
        key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # Kafka reads no other form
        (home / f"{name}.pem").write_bytes(plain + b"".join(each.bytes() for each in leaf.cert_chain_pems))


def _wait_served(settings: KafkaSettings, process: Process, home: Path) -> None:
    deadline, waited = CLOCK.monotonic() + 60, threading.Event()
    with closing(KafkaJournal(settings, CLOCK)) as journal:
        while True:
            try:
                journal.cluster_id()
                return
            except Unavailable:
                assert process.alive, end_of(home / "console.log")
                assert CLOCK.monotonic() < deadline, end_of(home / "console.log")
                CLOCK.wait(waited, 0.3)


@pytest.mark.soak
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_batches_go_through_a_kafka_that_wants_certificate_and_password(secured: KafkaSettings, mechanism: str) -> None:
    settings = secured.model_copy(update={"mechanism": mechanism, "prefix": f"t{uuid.uuid4().hex[:8]}"})
    with ExitStack() as opened:
        journal = opened.enter_context(closing(KafkaJournal(settings, CLOCK)))
        journal.append([batch(1, 3), batch(4, 2)])
        reader = opened.enter_context(closing(journal.reader("lake", ["business"])))
        assert numbers(read_count(reader, 2)) == [1, 4]
        reader.commit(dict.fromkeys(reader.assigned(), 2))


@pytest.mark.soak
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "wrong"}, "password"),
        ({"mechanism": "SCRAM-SHA-512", "user": "nobody"}, "password"),
        ({"cert_file": None}, "ertificate verify failed|ertificate required|CERTIFICATE"),
        ({"ca_file": None}, "ertificate verify failed|ertificate required|CERTIFICATE"),
    ],
)
def test_what_is_wrong_with_the_access_is_said(secured: KafkaSettings, change: dict[str, object], words: str) -> None:
    settings = KafkaSettings.model_validate({**secured.model_dump(), "mechanism": "PLAIN", **change})
    with closing(KafkaJournal(settings, CLOCK)) as journal, pytest.raises(Unavailable, match=words):
        journal.append([batch(1, 3)])


class TlsDoor(Relay):
    """What stands before an Elasticsearch in production: it ends TLS and passes on what comes. `seen` is what came."""

    def __init__(self, url: str, certificate: trustme.LeafCert) -> None:
        self.seen = seen = bytearray()

        class Overheard(ssl.SSLSocket):
            def recv(self, *args: int) -> bytes:
                data = super().recv(*args)
                seen.extend(data)
                return data

        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.sslsocket_class = Overheard
        certificate.configure_cert(self._context)
        super().__init__(urlsplit(url).port or 0)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def _connect(self, near: socket.socket) -> None:
        try:
            super()._connect(self._context.wrap_socket(near, server_side=True))
        except OSError:
            near.close()  # it did not trust us


def test_elasticsearch_is_reached_over_tls_with_a_password(elasticsearch: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with TlsDoor(elasticsearch, authority.issue_cert("127.0.0.1")) as door:
        settings = ElasticSettings(urls=(door.url,), ca_certs=str(tmp_path / "ca.pem"), user=USER, password=PASSWORD)
        with closing(ElasticClient(settings)) as client:
            assert client.ask("GET", "/_cluster/health")["status"]
        assert b"authorization: Basic bGFzdGJlYXQ6YS1zZWNyZXQ=" in door.seen
        with (
            closing(ElasticClient(ElasticSettings(urls=(door.url,)))) as stranger,
            pytest.raises(Unavailable, match="certificate"),
        ):
            stranger.ask("GET", "/_cluster/health")
