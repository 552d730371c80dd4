"""The demo on real servers: the local Kafka and Elasticsearch, with names in them that are this demo's alone.

Servers that run already are used and left running; those that the demo starts, it ends. It removes nothing that isn't
its own, and what it stored stays until the next demo in the same folder, as the folder's own data does.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collector.elastic.removal import remove_all
from collector.journal import kafka_link
from collector.settings import ElasticSettings, KafkaSettings
from compose.stack import Stack
from shippers.clock import Clock

from .screen import Screen

_SETTINGS = """
[kafka]
bootstrap = "{bootstrap}"
prefix = "{prefix}"

[elastic]
urls = ["{url}"]
prefix = "{prefix}"
refresh_s = 1.0
"""


def prefix_of(data: Path) -> str:
    """What the topics, groups and indices of the demo in this folder begin with, and nobody else's."""
    return f"demo_{hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:8]}"


@contextmanager
def servers(data: Path, screen: Screen, clock: Clock) -> Iterator[str]:
    """The servers of the folder that `data` lies in, up and without anything of the last demo in `data`. Yields the
    settings that lead to them, as lastbeat.toml has them.

    Raises Misconfigured, Unavailable or ServerFailed, as Stack.up does.
    """
    stack = Stack(data.absolute().parent, clock, screen.console)
    started = [server.name for server in stack.status() if not server.running]
    try:
        stack.up()
        prefix = prefix_of(data)
        kafka_link.remove_all(KafkaSettings(bootstrap=stack.kafka, prefix=prefix))
        remove_all(ElasticSettings(urls=(stack.elasticsearch,), prefix=prefix))
        ending = "they end with the demo" if started else "they ran already, and go on running"
        screen.say(f"✔ Kafka at {stack.kafka}, Elasticsearch at {stack.elasticsearch}; {ending}")
        yield _SETTINGS.format(bootstrap=stack.kafka, url=stack.elasticsearch, prefix=prefix)
    finally:
        for name in started:
            stack.down(name)
