"""The story: a day of history, a live shop, a death at twenty seconds, the alert; with `once`, the balance.

Asks Store, State and the shop's processes, shows what it finds, and decides only when the next thing happens.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from threading import Event

from alerts.fleet import read_fleet
from collector.ports import State, Store
from compose.settings import Settings
from shippers.clock import Clock
from shippers.transports.http import HttpTransport

from .ailment import LASTS_S
from .evidence import Death, beats_of, behind_of, death_of, dropped_of, incidents_of, stored_of
from .figures import DEADLINE_S, Check, Figures
from .fill import fill
from .history import HOUR_S, History
from .processes import Processes
from .screen import Screen, View
from .topology import INSTANCES, VICTIM

KILL_AFTER_S = 20.0
_SEEN_WITHIN_S = 20.0
_ALERT_WITHIN_S = 20.0
_LOOK_ON_S = 4.0
_BALANCED_WITHIN_S = 20.0
_HISTORY_STORED_WITHIN_S = 120.0
_LINES_WITHIN_S = 8.0
_REFRESH_S = 0.5


class Failed(Exception):
    """The story can't go on; the message says what didn't happen, and where to look."""


@dataclass(slots=True)
class Demo:
    """Everything that the story needs while it runs."""

    settings: Settings
    store: Store
    archive: Store | None
    """What is kept beside the store; None where the store is all there is."""
    state: State
    shop: Processes
    screen: Screen
    clock: Clock
    interrupted: Event
    hours: int = 24
    """How much of the shop's past there is."""
    live_since: float = 0.0
    history: dict[str, int] = field(default_factory=dict)

    def wait(self, seconds: float, phase: str, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass, showing how things stand; True as soon as `until` holds, False if it never did.

        Raises KeyboardInterrupt if that was asked for.
        """
        end = self.clock.monotonic() + seconds
        while not (done := until()) and (left := end - self.clock.monotonic()) > 0:
            self._show(phase.format(left=left))
            self.clock.wait(self.interrupted, min(_REFRESH_S, left))
            self.go_on()
        return done

    def go_on(self) -> None:
        """Raises KeyboardInterrupt if that was asked for."""
        if self.interrupted.is_set():
            raise KeyboardInterrupt

    def _show(self, phase: str) -> None:
        fleet, now = read_fleet(self.state), self.clock.time()
        stored = sum(
            stored_of(self.store, self.live_since, now).values()
        )  # before what was emitted: it never exceeds it
        view = View(
            now=now,
            phase=phase,
            boards_url=self.settings.boards_url,
            orders=self.shop.orders(),
            emitted=sum(self.shop.emitted().values()),
            stored=stored,
            dropped=sum(dropped_of(fleet.instances).values()),
            services=fleet.services,
        )
        self.screen.show(view)


def tell(demo: Demo, *, once: bool) -> int:
    """The whole story. Returns the exit code."""
    try:
        _fill_history(demo)
        with demo.screen.live():
            _start_shop(demo)
            death = _death(demo)
        demo.screen.death(death)
        if not once:
            with demo.screen.live():
                demo.wait(float("inf"), "one is dead, the shop goes on · Ctrl-C ends everything")
        with demo.screen.live():
            demo.wait(_LOOK_ON_S, "is anybody else accused?")
        return _balance(demo, death)
    except Failed as failure:
        demo.screen.say(f"✖ {failure}", "red")
        return 1


def _fill_history(demo: Demo) -> None:
    clock, began, past_s = demo.clock, demo.clock.time(), demo.hours * HOUR_S
    history = History(began - past_s, began, Random(), socket.gethostname())

    def sent() -> None:
        demo.go_on()
        show(history.at - began + past_s, sum(history.emitted.values()))

    with closing(HttpTransport(demo.settings.gateway_url)) as transport, demo.screen.filling(past_s) as show:
        fill(history, began, transport, clock, sent)
        fill(history, clock.time(), transport, clock, sent)  # the time that this took is past by now, too
    demo.history = dict(history.emitted)
    took, total = clock.time() - began, sum(demo.history.values())
    stored = _stored(demo, began)
    words = f"✔ {demo.hours} h of history through the gateway in {took:.1f} s"
    if stored < total:  # a server that still has it all to write would have no time for the shop
        stored = _wait_until_stored(demo, began, total)
        words += f", stored after {clock.time() - began:.1f} s"
    demo.screen.say(f"{words} · {total:,} events sent, {stored:,} stored")


def _wait_until_stored(demo: Demo, began: float, total: int) -> int:
    deadline = demo.clock.monotonic() + _HISTORY_STORED_WITHIN_S
    with demo.screen.storing(total) as show:
        while (stored := _stored(demo, began)) < total and demo.clock.monotonic() < deadline:
            show(stored)
            demo.clock.wait(demo.interrupted, _REFRESH_S)
            demo.go_on()
    return stored


def _stored(demo: Demo, began: float) -> int:
    return sum(stored_of(demo.store, began - demo.hours * HOUR_S, demo.clock.time()).values())


def _start_shop(demo: Demo) -> None:
    demo.live_since = demo.clock.time()
    demo.shop.start()
    names = {instance.name for instance in INSTANCES}

    def all_seen() -> bool:
        if gone := demo.shop.gone():
            raise Failed(f"{', '.join(gone)} of the shop did not start: see {demo.shop.folder}")
        return names <= {row.instance for row in read_fleet(demo.state).instances}

    if not demo.wait(_SEEN_WITHIN_S, "the shop opens", all_seen):
        missing = names - {row.instance for row in read_fleet(demo.state).instances}
        raise Failed(
            f"in {_SEEN_WITHIN_S:.0f} s the watch has seen no beat of {', '.join(sorted(missing))}: "
            f"see {demo.shop.folder} and {demo.settings.run_path}"
        )
    demo.screen.say(f"✔ the shop is live · {len(names)} processes in two regions, all beating")


def _death(demo: Demo) -> Death:
    who = f"{VICTIM.service} in {VICTIM.region}"
    demo.wait(KILL_AFTER_S - LASTS_S, f"in {{left:.0f}} s {who} falls ill")
    demo.shop.ail(VICTIM)
    demo.wait(LASTS_S, f"{who} is ill, SIGKILL in {{left:.0f}} s")
    demo.shop.kill(VICTIM)
    demo.screen.say(
        f"✖ {VICTIM.service} in {VICTIM.region} killed, its only instance there (SIGKILL, no goodbye)", "red"
    )
    found: list[Death] = []

    def alerted() -> bool:
        found.clear()
        rows, dead = read_fleet(demo.state).instances, incidents_of(demo.state)[0]
        found.extend(death for one in dead if (death := death_of(demo.store, one, rows)) is not None)
        return bool(found)

    if not demo.wait(_ALERT_WITHIN_S, f"{who} is dead, who notices?", alerted):
        raise Failed(f"no alert went out in {_ALERT_WITHIN_S:.0f} s: see {demo.settings.run_path / 'watch.log'}")
    # What it said last may be on its way to the store yet.
    demo.wait(_LINES_WITHIN_S, "what led up to it?", lambda: alerted() and found[-1].complete)
    return found[-1]


def _balance(demo: Demo, death: Death) -> int:
    """Stop the shop, count everything on both sides, and say what doesn't hold."""
    gone = [name for name in demo.shop.gone() if not name.startswith(VICTIM.name)]
    late = demo.shop.stop()
    stopped_at = demo.clock.monotonic()
    ends = Check("the others ran to their end and said goodbye", ", ".join(gone + late) or "all", not gone and not late)

    def settled() -> bool:
        # Whoever would be accused for having been stopped, is accused by then.
        waited = demo.clock.monotonic() - stopped_at > DEADLINE_S + 1.5
        return waited and all(check.good for check in _figures(demo, death).checks())

    with demo.screen.live():
        demo.wait(_BALANCED_WITHIN_S, "the shop is closed, counting", settled)
    figures = _figures(demo, death)
    checks = [*figures.checks(), ends]
    demo.screen.figures(figures, checks)
    if all(check.good for check in checks):
        return 0
    demo.screen.say(f"✖ not everything holds; the data is kept in {demo.settings.data}", "red")
    return 1


def _figures(demo: Demo, death: Death) -> Figures:
    now, live = demo.clock.time(), demo.shop.emitted()
    dead, living = incidents_of(demo.state)
    since = now - (demo.hours + 1) * HOUR_S
    return Figures(
        victim=VICTIM.name,
        emitted={name: demo.history.get(name, 0) + count for name, count in live.items()},
        stored=stored_of(demo.store, since, now),
        archived=stored_of(demo.archive, since, now) if demo.archive else None,
        dropped=dropped_of(read_fleet(demo.state).instances),
        beats=beats_of(demo.store, demo.live_since, now),
        behind=behind_of(demo.settings),
        dead=dead,
        living=living,
        last_beat_at=death.last_beat_at,
        alert_at=death.alert_at,
    )
