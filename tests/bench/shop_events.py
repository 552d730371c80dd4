"""A payment shop's day as sealed batches, for benches: 490-byte events of two regions, two versions, six services; an
order is six events of one trace.

An hour is made once and then moved: its hour and its ids are replaced in the finished bodies, so that what is measured
is not the making.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from shippers.batch import Batch, Header

DAY = "2026-11-21"
START = datetime.fromisoformat(f"{DAY}T00:00:00+00:00").timestamp()
_FLOW = (
    ("shop", "checkout"),
    ("order", "create"),
    ("payment", "pay"),
    ("channel", "charge"),
    ("payment", "settle"),
    ("order", "close"),
)
_BATCH = 200
_HOUR, _ROUND = b"T00:", b"~~"


@dataclass(frozen=True)
class _Run:
    """One batch of the hour: of which instance's stream, and its lines' bytes."""

    service: str
    region: str
    instance: str
    body: bytes


def batches(events: int, hours: int = 24, seed: int = 7) -> Iterator[Batch]:
    """At least `events` events over `hours` hours, in order of time, `_BATCH` a batch."""
    hour_of_runs = list(_hour(-(-events // hours), random.Random(seed)))
    numbers: dict[str, int] = {}
    for hour in range(hours):
        for run in hour_of_runs:
            body = run.body.replace(_HOUR, b"T%02d:" % hour).replace(_ROUND, b"%02x" % hour)
            count = body.count(b"\n")
            stream = f"{zlib.crc32(run.instance.encode() + run.region.encode()):08x}.business"
            first = numbers.get(stream, 1)
            numbers[stream] = first + count
            yield Batch(
                Header(stream, first, count, run.region, "business", DAY, run.service, run.instance, zlib.crc32(body)),
                body,
            )


def order_id(hour: int, number: int, events: int, hours: int = 24, seed: int = 7) -> str:
    """The id of an order of that hour: one that can be searched for."""
    rng = random.Random(seed)
    found = [made[0] for made, _ in zip(_orders(rng), range(number + 1), strict=False)][number]
    return found.replace("~~", f"{hour:02x}")


def _orders(rng: random.Random) -> Iterator[tuple[str, str, str, float]]:
    while True:
        yield (
            f"A~~{rng.getrandbits(40):010x}",
            f"~~{rng.getrandbits(120):030x}",
            "abc"[rng.randrange(3)],
            rng.lognormvariate(4, 1),
        )


def _hour(events: int, rng: random.Random) -> Iterator[_Run]:
    orders = list(zip(_orders(random.Random(7)), range(-(-events // len(_FLOW))), strict=False))
    waiting: dict[tuple[str, str, str], list[str]] = {}
    for (order, trace, channel, amount), i in orders:
        region, zone = rng.choice([("cn-east", "a"), ("cn-east", "b"), ("cn-north", "a")])
        version, node = ("1.5.0" if rng.random() < 0.2 else "1.4.2"), rng.randrange(2)
        for step, (service, action) in enumerate(_FLOW):
            name = f"channel-{channel}" if service == "channel" else service
            at = START + 3_600 * i / len(orders) + step * 0.02
            key = (name, region, f"{name}-{node}")
            lines = waiting.setdefault(key, [])
            lines.append(_line(rng, at, order, trace, amount, channel, name, action, region, zone, version, node))
            if len(lines) == _BATCH:
                yield _Run(name, region, key[2], ("\n".join(lines) + "\n").encode())
                lines.clear()
    for (name, region, instance), lines in waiting.items():
        if lines:
            yield _Run(name, region, instance, ("\n".join(lines) + "\n").encode())


def _line(
    rng: random.Random, at: float, order: str, trace: str, amount: float, channel: str, service: str, action: str,
    region: str, zone: str, version: str, node: int,
) -> str:  # fmt: skip
    failed = rng.random() < 0.01
    when = min(at, START + 3_599.999)
    stamp = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
    return (
        f'{{"@timestamp":"{stamp}","message":"{action} {"refused" if failed else "done"} for {order}",'
        f'"log":{{"level":"{"ERROR" if failed else "INFO"}","logger":"{service}"}},'
        f'"service":{{"name":"{service}","version":"{version}","node":{{"name":"{service}-{node}"}}}},'
        f'"cloud":{{"region":"{region}","availability_zone":"{region}-{zone}"}},"trace":{{"id":"{trace}"}},'
        f'"labels":{{"order_id":"{order}","channel":"{channel}"}},"measures":{{"amount":{amount:.2f}}},'
        f'"event":{{"dataset":"business","action":"{action}","outcome":"{"failure" if failed else "success"}",'
        f'"duration":{int(rng.lognormvariate(16.5, 0.7))},'
        f'"stream":"k3v9abcd12.business","sequence":{rng.randrange(10**6)}}}}}'
    )
