"""`lastbeat demo --stack --once` on the real servers: the checks of the embedded demo, and the archive beside it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from kafka import KafkaAdminClient

from collector.elastic.client import ElasticClient
from collector.elastic.names import index_of
from collector.journal.kafka import KafkaJournal
from collector.settings import ElasticSettings, KafkaSettings
from compose.demo.servers import prefix_of
from compose.stack import Stack
from shippers.clock import SystemClock
from tests.demo_run import figure, run_once
from tests.servers import remove
from tests.stack.batches import batch

CLOCK = SystemClock()
WITHIN_S = 150.0


def leave_behind(prefix: str, stack: Stack) -> ElasticSettings:
    """What an earlier demo leaves: a batch in a topic, a group that has read on, an event of a stranger in an index."""
    left = batch(1, 3)
    with closing(KafkaJournal(KafkaSettings(bootstrap=stack.kafka, prefix=prefix), CLOCK)) as journal:
        journal.append([left, replace(left, header=replace(left.header, first=4))])
        with closing(journal.reader("elastic", ["business"])) as reader:
            record, *_ = reader.poll(1, 10.0)
            reader.commit({record.tp: record.next_offset})
    settings = ElasticSettings(urls=(stack.elasticsearch,), prefix=prefix)
    with closing(ElasticClient(settings)) as client:
        client.ask("PUT", f"/{index_of(prefix, left.header)}/_doc/1?refresh=true", {"service": "stranger"})
    return settings


def topics_of(stack: Stack, prefix: str) -> set[str]:
    admin = KafkaAdminClient(bootstrap_servers=stack.kafka)
    try:
        return {topic for topic in admin.list_topics() if topic.startswith(f"{prefix}.")}
    finally:
        admin.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("hours", [1, pytest.param(24, marks=pytest.mark.soak)])
def test_the_demo_on_servers_accounts_for_every_event_twice_and_removes_only_its_own(
    hours: int, bootstrap: str, elasticsearch: str, stack: Stack
) -> None:
    data = stack.home.parent / "demo"
    own = leave_behind(prefix_of(data), stack)
    neighbour = leave_behind(prefix_of(stack.home.parent / "other"), stack)
    running = [stack.process(name) for name in ("kafka", "elasticsearch")]
    try:
        out = run_once(data, "--stack", "--hours", str(hours), within_s=WITHIN_S, at_least=hours * 4_000)
        assert figure("events in the archive", out) == figure("events stored", out)
        assert "they ran already, and go on running" in out
        assert [stack.process(name) for name in ("kafka", "elasticsearch")] == running
        assert topics_of(stack, own.prefix) == {
            f"{own.prefix}.{region}.{dataset}"
            for region in ("cn-east", "cn-north")
            for dataset in ("business", "heartbeat")
        }
        assert topics_of(stack, neighbour.prefix)
        with closing(ElasticClient(neighbour)) as client:
            assert client.ask("GET", f"/{neighbour.prefix}-*/_count")["count"] == 1
    finally:
        remove(own)
        remove(neighbour)
