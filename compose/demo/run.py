"""`lastbeat demo`: sets up the platform and the shop on a fresh folder, tells the story, and leaves nothing running.

The platform is that of `lastbeat up`, with the same roles as processes of their own.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event
from typing import Any, Self

from rich.console import Console

from compose.settings import load
from compose.stopping import BOTH, stop_on_signal
from compose.supervisor import Supervisor
from compose.wiring import open_state, open_store
from shippers.clock import SystemClock

from .evidence import archive_of
from .folder import fresh
from .processes import Processes
from .screen import Screen
from .servers import servers
from .story import Demo, tell

_READY_WITHIN_S = 40.0
_SETTINGS = """# Written by `lastbeat demo` for its own platform, so that no settings of yours change it.
[gateway]
port = 0  # any free one: what ships to the usual port is not the shop's
regions = ["cn-east", "cn-north"]
"""


def run(once: bool, data: Path, *, stack: bool = False, hours: int = 24) -> int:
    """Run the demo in `data`, with `stack` on the local Kafka and Elasticsearch, and so many hours of history.

    Returns the exit code: with `once`, 0 only if every check holds.
    """
    for name in [name for name in os.environ if name.startswith("LASTBEAT_")]:
        del os.environ[name]
    screen = Screen(Console(highlight=False))
    try:
        with _Interrupts() as interrupts, ExitStack() as opened:
            try:
                demo = _set_up(opened, data, screen, interrupts, boards=not once, on_servers=stack)
                demo.hours = hours
                return tell(demo, once=once)
            finally:
                interrupts.ignore()  # a second Ctrl-C must not cut the clearing up
                screen.say("stopping …", "bright_black")
                opened.close()
    except KeyboardInterrupt:
        screen.say("stopped; nothing of it runs any more")
        return 130 if once else 0


def _set_up(
    opened: ExitStack, data: Path, screen: Screen, interrupts: _Interrupts, *, boards: bool, on_servers: bool
) -> Demo:
    """Start the platform. What is opened here is closed by `opened`, last in, first out."""
    clock = SystemClock()
    emptied = opened.enter_context(fresh(data))
    screen.say(f"● lastbeat demo · data in {data}{', emptied of the last demo' if emptied else ''}", "bold")
    config = data / "lastbeat.toml"
    config.write_text(_SETTINGS + (opened.enter_context(servers(data, screen, clock)) if on_servers else ""))
    wanted = load(config).model_copy(update={"data": data})
    roles = tuple(role for role in wanted.roles if boards or role != "boards")
    supervisor = opened.enter_context(Supervisor(wanted, clock, config, roles, say=screen.say))
    supervisor.wait_ready(_READY_WITHIN_S)
    settings = supervisor.settings
    screen.say(f"✔ the platform is up · gateway {settings.gateway_url}")
    if boards:
        screen.say(f"  boards {settings.boards_url}", "bold")
    store = open_store(settings)
    state = opened.enter_context(closing(open_state(settings)))
    shop = opened.enter_context(Processes(data / "shop", settings.gateway_url))
    archive = archive_of(settings, clock)
    return Demo(settings, store, archive, state, shop, screen, clock, interrupts.gently())


class _Interrupts:
    """Ctrl-C and SIGTERM. They raise KeyboardInterrupt at once until `gently`; from then on they only set an
    event, since an exception in the middle of a question to the store would come out as the store's."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, signal.default_int_handler) for number in BOTH}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def gently(self) -> Event:
        """Only set the event that this returns, from now on."""
        return stop_on_signal()

    def ignore(self) -> None:
        """Do nothing, from now on."""
        for number in BOTH:
            signal.signal(number, signal.SIG_IGN)
