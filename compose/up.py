"""`lastbeat up`: the platform in one command, and what it says while it runs."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from collector.settings import ElasticSettings, KafkaSettings
from shippers.clock import SystemClock

from .settings import Settings
from .stopping import stop_on_signal
from .supervisor import Supervisor

_READY_WITHIN_S = 60.0

THREE_LINES = """import lastbeat, logging
lastbeat.init("checkout"{url})
logging.getLogger("checkout").info("paid", extra={{"order_id": "A1", "amount": 12.5, "duration_ms": 87}})"""


def on_stack(settings: Settings) -> Settings:
    """These settings on the local Kafka and Elasticsearch, which are started if they don't run."""
    from .stack import Stack

    stack = Stack(settings.data, SystemClock(), Console(highlight=False))
    stack.up()
    kafka = (settings.kafka or KafkaSettings()).model_copy(update={"bootstrap": stack.kafka})
    elastic = (settings.elastic or ElasticSettings()).model_copy(update={"urls": (stack.elasticsearch,)})
    return settings.model_copy(update={"kafka": kafka, "elastic": elastic})


def run(settings: Settings, config: Path | None) -> int:
    """Start every role, say where they are, and stay until Ctrl-C or SIGTERM. Returns the exit code."""
    console = Console(highlight=False)
    clock, stop = SystemClock(), stop_on_signal()
    say = lambda line: console.print(f"[yellow]{line}[/yellow]")  # noqa: E731
    with Supervisor(settings, clock, config, say=say) as supervisor:
        with console.status(f"starting {', '.join(settings.roles)} …"):
            supervisor.wait_ready(_READY_WITHIN_S)
        _say_hello(console, supervisor.settings)
        while not clock.wait(stop, 3600.0):
            pass
        console.print("stopping …")
    return 0


def _say_hello(console: Console, settings: Settings) -> None:
    url = settings.gateway_url
    console.print(f"[bold]● lastbeat is up[/bold]  boards  [link={settings.boards_url}]{settings.boards_url}[/link]")
    console.print(f"                   gateway {url}")
    console.print(f"                   data    {settings.data.absolute()}\n")
    console.print(f"Three lines make a service visible (for anything else: curl '{url}/beat/checkout?interval=60'):\n")
    own = "" if settings.gateway.port == 7411 else f', url="{url}"'
    console.print(THREE_LINES.format(url=own), style="cyan", markup=False)
    console.print("\nCtrl-C stops everything.")
