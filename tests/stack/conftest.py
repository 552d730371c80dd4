"""The real servers for tests: one Kafka and one Elasticsearch a session, started as `lastbeat stack up` starts them.

Each test has a prefix of its own for topics, groups and indices. Without a fitting JDK these tests are skipped, saying
why; under CI=true they fail.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from collector.journal.kafka import KafkaJournal
from collector.settings import KafkaSettings
from compose.stack import Stack
from shippers.clock import SystemClock
from shippers.errors import LastbeatError
from tests.servers import shared_stack

CLOCK = SystemClock()


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The one stack of this run; nothing of it runs before it is asked for, and all of it goes when the run ends."""
    return shared_stack()


def started(stack: Stack, name: str) -> None:
    """See to it that a server is up, or say why it can't be."""
    try:
        stack.up(name)
    except LastbeatError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the real {name} can't run here: {error}")


@pytest.fixture
def bootstrap(stack: Stack) -> str:
    """Where Kafka is; up when the test begins, whatever the one before did to it."""
    started(stack, "kafka")
    return stack.kafka


@pytest.fixture
def elasticsearch(stack: Stack) -> str:
    """Where Elasticsearch is; up when the test begins."""
    started(stack, "elasticsearch")
    return stack.elasticsearch


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
