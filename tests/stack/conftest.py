"""The real servers for tests: one Kafka and one Elasticsearch a session, started as `lastbeat stack up` starts them.

Each test has a prefix of its own for topics, groups and indices. Without a fitting JDK these tests are skipped, saying
why; under CI=true they fail.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from collector.journal.kafka import KafkaJournal
from collector.settings import KafkaSettings
from compose.stack import Stack
from shippers.clock import SystemClock
from tests.servers import shared_stack, started

CLOCK = SystemClock()


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The one stack of this run; nothing of it runs before it is asked for, and all of it goes when the run ends."""
    return shared_stack()


@pytest.fixture
def bootstrap() -> str:
    """Where Kafka is; up when the test begins, whatever the one before did to it."""
    return started("kafka").kafka


@pytest.fixture
def elasticsearch() -> str:
    """Where Elasticsearch is; up when the test begins."""
    return started("elasticsearch").elasticsearch


@pytest.fixture
def prefix() -> str:
    """What this test's topics, groups and indices begin with."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def kafka_settings(bootstrap: str, prefix: str) -> KafkaSettings:
    """A journal of this test's own: three partitions, and little patience."""
    return KafkaSettings(bootstrap=bootstrap, prefix=prefix, partitions=3, append_timeout_s=3.0)


@pytest.fixture
def journal(kafka_settings: KafkaSettings) -> Iterator[KafkaJournal]:
    """The journal under test."""
    with closing(KafkaJournal(kafka_settings, CLOCK)) as found:
        yield found
