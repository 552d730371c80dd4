"""The real servers for every test that needs one: started at most once a run, as `lastbeat stack up` starts them, but
on any free ports, so that two runs on one machine don't meet.

LASTBEAT_TEST_ELASTICSEARCH names one that runs already, which saves the start while one works on a test. Each test
has a prefix of its own. Where no server can run (no JDK, nothing to be fetched), tests are skipped with the reason;
under CI=true they fail. A server that was started and failed is a failure everywhere.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
from functools import cache
from pathlib import Path

import pytest

from collector.elastic.removal import remove_all as remove
from collector.settings import ElasticSettings
from compose.stack import LINKED_PORTS, QUICK_START, Stack
from shippers.clock import SystemClock
from shippers.errors import Misconfigured, Unavailable


@cache
def shared_stack() -> Stack:
    """An empty stack, deleted when the run ends; nothing of it runs before it is asked for."""
    data = Path(tempfile.mkdtemp(prefix="lastbeat-stack-"))
    data.chmod(0o755)  # the servers run as another user when we are root
    options = QUICK_START if "PYTEST_VERSION" in os.environ else ()  # a bench is about servers at their full speed
    stack = Stack(data, SystemClock(), ports=LINKED_PORTS, jvm_options=options)

    def end() -> None:
        stack.reset()
        shutil.rmtree(stack.home, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)

    atexit.register(end)
    return stack


def elasticsearch_url() -> str:
    """Where Elasticsearch is; up, whatever the test before did to it."""
    running = os.environ.get("LASTBEAT_TEST_ELASTICSEARCH")
    if running:
        return running
    return started("elasticsearch").elasticsearch


def started(name: str) -> Stack:
    """The stack with this server up, or the test is skipped, saying why."""
    stack = shared_stack()
    try:
        stack.up(name)
    except (Misconfigured, Unavailable) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the real {name} can't run here: {error}")
    return stack


def kafka_bootstrap() -> str:
    """Where Kafka is. LASTBEAT_TEST_KAFKA names one that runs already. Raises LastbeatError if none can run here."""
    running = os.environ.get("LASTBEAT_TEST_KAFKA")
    if running:
        return running
    shared_stack().up("kafka")
    return shared_stack().kafka


def elastic_settings(**changes: object) -> ElasticSettings:
    """Settings with a prefix of their own. What they lead to is removed by `remove`."""
    fields = {"urls": (elasticsearch_url(),), "prefix": f"t{uuid.uuid4().hex[:10]}", "patience_s": 1.0}
    return ElasticSettings.model_validate(fields | changes)


@cache
def shared_elastic_settings() -> ElasticSettings:
    """One prefix for many small tests, each of which ends with `remove_indices`: templates are made only once."""
    settings = elastic_settings(refresh_s=3_600)
    if os.environ.get("LASTBEAT_TEST_ELASTICSEARCH"):
        atexit.register(remove, settings)
    return settings
