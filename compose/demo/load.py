"""The shop's customers, as a process: orders over HTTP at the rate that the time of day asks for.

They are no part of what is observed: they log nothing, and only count what they sent (SHOP_TALLY).
"""

from __future__ import annotations

import http.client
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from shippers.clock import SystemClock

from . import shape
from .child import on_parent_gone
from .tally import Tally
from .topology import INSTANCES, REGIONS
from .wire import post

_TICK_S = 0.1
_AT_ONCE = 32


def main() -> None:
    """Buy until the parent says stop; leave when the last order has been answered."""
    clock, random, stop = SystemClock(), Random(), threading.Event()
    addresses = json.loads(os.environ["SHOP_PEERS"])
    doors = {i.region: addresses[i.name] for i in INSTANCES if i.service == "shop-web"}
    tally = Tally(Path(os.environ["SHOP_TALLY"]))
    on_parent_gone(stop.set)
    with ThreadPoolExecutor(_AT_ONCE) as customers:
        last = clock.monotonic()
        while not clock.wait(stop, _TICK_S):
            now = clock.monotonic()
            for region in REGIONS:
                for _ in range(shape.poisson(random, shape.orders_per_s(clock.time(), region) * (now - last))):
                    asked = {"channel": shape.pick_channel(random), "amount": shape.pick_amount(random)}
                    customers.submit(_buy, doors[region], asked)
                    tally.add()
            last = now


def _buy(door: str, asked: dict[str, object]) -> None:
    try:
        post(door, "/", asked, timeout_s=15.0)
    except (OSError, http.client.HTTPException):
        return  # a customer who sees an error page; the shop's own lines tell why


if __name__ == "__main__":
    main()
