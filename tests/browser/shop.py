"""A payment shop as the boards see it: two regions, eleven services, a day of events with an evening peak, one service
dead, one late, one slow. Made from a seed, in memory, so that pages can be tested and looked at without a platform."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from zlib import crc32

from alerts.audit.findings import Finding, finding_doc
from alerts.audit.statement import Head, Line, Statement, Tail, Writer
from alerts.document import to_doc
from alerts.fleet import InstanceRow, ServiceRow, Sight
from alerts.incidents import Incident, Notice, Severity, Status
from alerts.staleness import Verdict
from alerts.state.memory import MemoryState
from alerts.words import duration
from collector.memory import MemoryStore
from collector.ports import Event, Table
from shippers.clock import Clock

DAY_S = 86_400.0
SERVICES = {  # service: (share of the traffic, usual milliseconds, actions)
    "shop-web": (0.20, 38, ("view", "cart")),
    "order": (0.16, 22, ("create", "confirm")),
    "payment": (0.15, 64, ("pay", "capture")),
    "channel-alipay": (0.21, 120, ("charge",)),
    "channel-wechat": (0.11, 95, ("charge",)),
    "channel-card": (0.05, 210, ("charge", "authorise")),
    "ledger": (0.05, 9, ("book",)),
    "settle": (0.03, 480, ("settle",)),
    "risk": (0.03, 14, ("score",)),
    "notify": (0.01, 31, ("mail", "sms")),
}
REGIONS = ("cn-east", "cn-north")
DEAD = ("cn-north", "channel-wechat")
LATE = ("cn-east", "settle")
LOSSY = ("cn-east", "order")
DEAD_FOR_S = 192.0
MESSAGES = {
    "INFO": ("order {order} {action} ok", "{action} {order} done in {ms} ms", "已完成 {action} {order}"),
    "WARNING": ("{action} {order} is slow: {ms} ms", "retrying {action} of {order} (2 of 3)"),
    "ERROR": ("{action} of {order} failed: upstream closed the connection", "{action} {order}: 支付通道超时"),
}
STACK = """Traceback (most recent call last):
  File "/srv/channel/charge.py", line 118, in charge
    answer = session.post(url, json=request, timeout=3)
  File "/srv/channel/http.py", line 41, in post
    raise UpstreamClosed(url)
channel.http.UpstreamClosed: https://pay.example/v3/charge
"""


def load_at(at: float) -> float:
    """How busy the shop is: quiet at night, a peak in the evening; 0 to 1."""
    hour = (at / 3_600) % 24
    evening = math.exp(-(((hour - 12) / 3.2) ** 2))  # 20:00 in China
    noon = 0.55 * math.exp(-(((hour - 4.5) / 2.6) ** 2))
    return 0.16 + 0.84 * max(evening, noon)


def events(now: float, count: int, seed: int = 7) -> Iterator[Event]:
    """`count` events of the two days up to `now`, in no order."""
    random_ = random.Random(seed)
    sequence: dict[str, int] = {}
    names, weights = list(SERVICES), [share for share, _, _ in SERVICES.values()]
    made = 0
    while made < count:
        at = now - random_.random() * 2 * DAY_S
        if random_.random() > load_at(at):
            continue
        service = random_.choices(names, weights)[0]
        region = random_.choices(REGIONS, (0.64, 0.36))[0]
        if (region, service) == DEAD and at > now - DEAD_FOR_S:
            continue
        made += 1
        yield _event(random_, now, at, service, region, sequence)


def _event(random_: random.Random, now: float, at: float, service: str, region: str, sequence: dict[str, int]) -> Event:
    _, usual_ms, actions = SERVICES[service]
    ailing = (region, service) == DEAD and at > now - DEAD_FOR_S - 2_400
    slow = 6.0 if ailing else 2.2 if service == "channel-card" and at > now - 7_200 else 1.0
    ms = random_.lognormvariate(math.log(usual_ms * slow), 0.55)
    wrong = random_.random() < (0.45 if ailing else 0.006)
    level = "ERROR" if wrong else "WARNING" if random_.random() < 0.03 or ms > 6 * usual_ms else "INFO"
    action, order = random_.choice(actions), f"A{int(at) % 900_000 + 100_000}"
    number = random_.choice((1, 2))
    instance = f"{service}-{region.removeprefix('cn-')}-{'ab'[number - 1]}"
    stream = f"boot{(crc32(instance.encode())) % 10**8:08d}.business"
    sequence[stream] = sequence.get(stream, 0) + 1
    return Event(
        at=at,
        stream=stream,
        sequence=sequence[stream],
        level=level,
        logger=service.replace("-", "."),
        message=random_.choice(MESSAGES[level]).format(order=order, action=action, ms=round(ms)),
        dataset="business",
        action=action,
        outcome="failure" if wrong else "success",
        duration_ns=round(ms * 1e6),
        service=service,
        version=_version(service, number),
        environment="prod",
        instance=instance,
        region=region,
        zone=f"{region}-{'ab'[number - 1]}",
        host=f"{region}-h{number}",
        pid=4_000 + number,
        trace_id=f"{int(at * 1_000):032x}",
        labels={"order_id": order, "channel": service.removeprefix("channel-")},
        measures={"amount": round(random_.lognormvariate(3.2, 0.9), 2)},
        error_type="UpstreamClosed" if wrong else "",
        error_message="https://pay.example/v3/charge" if wrong else "",
        error_stack=STACK if wrong else "",
    )


def order_path(now: float) -> Iterator[Event]:
    """One order's way through the shop, with a failure and a second try."""
    steps = (
        ("shop-web", "cart", 0.030, 0.042),
        ("order", "create", 0.060, 0.024),
        ("risk", "score", 0.085, 0.012),
        ("payment", "pay", 0.900, 0.800),
        ("channel-wechat", "charge", 0.420, 0.310),
        ("channel-alipay", "charge", 0.830, 0.330),
        ("ledger", "book", 0.860, 0.009),
        ("order", "confirm", 0.930, 0.020),
        ("notify", "sms", 0.990, 0.031),
    )
    for number, (service, action, after, took) in enumerate(sorted(steps, key=lambda step: step[2]), 1):
        failed = service == "channel-wechat"
        yield Event(
            at=now - 400 + after,
            stream=f"pathboot{number:02d}.business",
            sequence=1,
            dataset="business",
            service=service,
            region="cn-east",
            version="1.4.2",
            instance=f"{service}-east-a",
            zone="cn-east-a",
            level="ERROR" if failed else "INFO",
            action=action,
            outcome="failure" if failed else "success",
            message=f"{action} of A777777 failed: 支付通道超时" if failed else f"{action} A777777 ok",
            duration_ns=round(took * 1e9),
            logger=service,
            trace_id="5f0c7a3e9b1d4c68a2e7f1b3d5c79e01",
            labels={"order_id": "A777777"},
            measures={"amount": 128.0},
            error_type="Timeout" if failed else "",
            error_message="no answer in 300 ms" if failed else "",
        )


def _version(service: str, number: int) -> str:
    return "1.5.0" if number == 2 and service in ("payment", "order", "channel-card") else "1.4.2"


def fill_store(store: MemoryStore, clock: Clock, count: int = 60_000) -> None:
    """A day and the day before."""
    now = clock.time()
    for event in sorted([*events(now, count), *order_path(now)], key=lambda event: event.at):
        store.add(event)


def newcomers(clock: Clock) -> Iterator[Event]:
    """What is logged within a second; give or take."""
    now = clock.time()
    random_ = random.Random(now)
    for number in range(random_.choice((0, 1, 2))):
        service = random_.choice(list(SERVICES))
        event = _event(random_, now, now - random_.random(), service, "cn-east", {})
        yield replace(event, stream="livelive1.business", sequence=int(now * 1_000) + number)


def fill_state(state: MemoryState, clock: Clock, died_at: float | None = None) -> None:
    """The fleet as of now, with its incidents; the dead fell silent at `died_at`."""
    now = clock.time()
    dead_for_s = DEAD_FOR_S if died_at is None else now - died_at
    fleet: dict[str, dict[str, object]] = {}
    for region in REGIONS:
        for service in SERVICES:
            instances = [_instance(region, service, number, now, dead_for_s) for number in (1, 2)]
            rows = [*instances, _service(region, service, instances, now, dead_for_s)]
            fleet |= {row.key: to_doc(row) for row in rows}
        sight = Sight(region, "default", False, now - 9_000, now - 0.6, ("gw-1", "gw-2"))
        fleet[sight.key] = to_doc(sight)
    state.put_many(Table.FLEET, fleet)
    Writer(state).write(statement(now))
    state.put_many(Table.AUDIT, {each.key: finding_doc(each) for each in findings(now)})
    if died_at is None or state.get(Table.INCIDENTS, "inc-1") is None:
        state.put_many(Table.INCIDENTS, {each.id: to_doc(each) for each in incidents(now, dead_for_s)})


def statement(now: float) -> Statement:
    """Eight days that balance, but for what `findings` lack, what a kill cut off, and what a full buffer cost."""
    lines = []
    for ago in range(8):
        day = datetime.fromtimestamp(now - ago * DAY_S, UTC).date().isoformat()
        for region in REGIONS:
            for service, (share, *_) in SERVICES.items():
                random_ = random.Random(f"{day}{region}{service}")
                stored = round(share * random_.uniform(90_000, 130_000) * (0.6 if ago == 0 else 1.0))
                is_lossy = ago == 0 and (region, service) == LOSSY
                is_dead = ago == 0 and (region, service) == DEAD
                lines.append(
                    Line(
                        day,
                        region,
                        service,
                        "business",
                        "lake",
                        stored,
                        dead=random_.choice((0, 0, 0, 2, 11)),
                        flight=random_.randint(0, 40) if ago == 0 else 0,
                        tail=17 if is_dead else 0,
                        unaccounted=200 if is_lossy else 0,
                        dropped={"full": random_.randint(20, 900)} if service == "channel-card" and ago == 2 else {},
                    )
                )
    region, service = DEAD
    tail = Tail("lake", "k3v9wechat01.business", region, service, f"{service}-north-a", now - DEAD_FOR_S, 10.0,
                ((40_112, 40_128),))  # fmt: skip
    return Statement(Head(now, now - 8 * DAY_S, 40, {"lake": 0}, (tail,)), tuple(lines))


def findings(now: float) -> Iterator[Finding]:
    """One range that is lost, and one that was got back."""
    region, service = LOSSY
    yield Finding("lake", "p7x2order001.business", region, service, f"{service}-east-b", "business", "2026-11-21",
                  now - 95, 812, now - 74, ((18_401, 18_600),), missing=200, judged=18_600, tries=2,
                  tried="neither the journal nor a spool has it any more")  # fmt: skip
    yield Finding("lake", "p7x2order000.business", region, service, f"{service}-east-a", "business", "2026-11-21",
                  now - 5_000, 310, now - 4_978, found=((7_001, 7_400),), judged=7_400, tries=1,
                  tried="all of it was found", sources={"journal": 400}, ended_at=now - 4_960)  # fmt: skip


def _instance(region: str, service: str, number: int, now: float, dead_for_s: float) -> InstanceRow:
    dead = (region, service) == DEAD
    late = (region, service) == LATE and number == 2
    quiet = dead_for_s + number if dead else 34.0 if late else (crc32(f"{service}{number}".encode()) % 90) / 10
    name = f"{service}-{region.removeprefix('cn-')}-{'ab'[number - 1]}"
    why = f"last beat {quiet:.0f} s ago, allowed 30 s" if dead or late else ""
    sent = 40_000 + crc32(name.encode()) % 9_000
    return InstanceRow(
        region=region,
        service=service,
        instance=name,
        verdict=Verdict.DOWN if dead else Verdict.LATE if late else Verdict.UP,
        why=why,
        since=now - (quiet - 30 if dead or late else 80_000),
        last_notify_time=now - quiet,
        boot=f"{crc32(name.encode()) % 16**12:012x}",
        beat=8_000 + number,
        started_at=now - (5_400 if number == 2 else 190_000),
        interval_s=10.0,
        grace_s=20.0,
        version=_version(service, number),
        environment="prod",
        zone=f"{region}-{'ab'[number - 1]}",
        host=f"{region}-h{number}",
        pid=4_000 + number,
        ingress="default",
        via="gw-1",
        cpu_percent=round(2 + crc32(name.encode()) % 170 / 10, 1),
        memory_bytes=90_000_000 + crc32(name.encode()) % 60_000_000,
        queue_events=crc32(name.encode()) % 7,
        restarts=3 if dead else 0,
        dropped=0,
        streams={"business": {"last": sent, "acked": sent - crc32(name.encode()) % 4, "dropped": 0}},
    )


def _service(region: str, service: str, instances: list[InstanceRow], now: float, dead_for_s: float) -> ServiceRow:
    dead, late = (region, service) == DEAD, (region, service) == LATE
    return ServiceRow(
        region=region,
        service=service,
        verdict=Verdict.DOWN if dead else Verdict.LATE if late else Verdict.UP,
        why=f"0 of 2 instances beat: last beat {duration(dead_for_s)} ago, allowed 30 s"
        if dead
        else "1 of 2 instances late: last beat 34 s ago, allowed 30 s"
        if late
        else "",
        since=now - dead_for_s if dead else now - 4 if late else now - 80_000,
        last_notify_time=max(each.last_notify_time for each in instances),
        live=0 if dead else 2,
        known=2,
        minimum=1,
        versions=tuple(sorted({each.version for each in instances})),
        zones=tuple(sorted({each.zone for each in instances})),
        restarts=3 if dead else 0,
        incident="inc-1" if dead else None,
    )


def incidents(now: float, dead_for_s: float) -> Iterator[Incident]:
    """One open page, one acknowledged warning, and some that are over."""
    region, service = DEAD
    began = now - dead_for_s
    yield Incident(
        "inc-1",
        f"down:{region}/{service}",
        "down",
        Severity.PAGE,
        Status.FIRING,
        region,
        service,
        "",
        "",
        f"{service} is down in {region}",
        "0 of 2 instances beat: last beat 3 min 12 s ago, allowed 30 s",
        began,
        began + 31,
        amendments=("2 of 2 instances: channel-wechat-north-b fell silent 1 s after channel-wechat-north-a",),
        evidence={
            "offsets": {"lastbeat.cn-north.heartbeat/0": 48_213},
            "sighted_s": 31.2,
            "policy": {"interval_s": 10.0, "grace_s": 20.0, "minimum": 1},
        },
        notices=(
            Notice("console", "firing", began + 31, began + 31, 1, began + 31.2),
            Notice("webhook", "firing", began + 31, now + 20, 3, None, "connect to hooks.example:443: timed out"),
        ),
    )
    yield Incident(
        "inc-2",
        "flapping:cn-east/notify",
        "flapping",
        Severity.WARNING,
        Status.ACKNOWLEDGED,
        "cn-east",
        "notify",
        "",
        "",
        "notify is flapping in cn-east",
        "4 starts without a goodbye in 10 min",
        now - 5_000,
        now - 4_990,
        acknowledged_at=now - 4_000,
        acknowledged_by="Li Na",
        notices=(Notice("console", "firing", now - 4_990, now - 4_990, 1, now - 4_989.7),),
    )
    random_ = random.Random(3)
    for number, (name, kind) in enumerate(
        (("risk", "down"), ("ledger", "instance"), ("", "blind"), ("channel-card", "down"), ("shop-web", "instance")), 3
    ):
        start = now - random_.uniform(6_000, 80_000)
        length = random_.uniform(60, 2_400)
        where = random_.choice(REGIONS)
        words = f"{name} is down in {where}" if kind == "down" else f"an instance of {name} died in {where}"
        yield Incident(
            f"inc-{number}",
            f"{kind}:{where}/{name}",
            kind,
            Severity.PAGE if kind == "down" else Severity.WARNING,
            Status.RESOLVED,
            where,
            name,
            "",
            "",
            words if name else f"the watch could not see {where}",
            "last beat 41 s ago, allowed 30 s" if name else "no canary for 12 s",
            start,
            start + 30,
            start + length,
            notices=(
                Notice("console", "firing", start + 30, start + 30, 1, start + 30.4),
                Notice("console", "resolved", start + length, start + length, 1, start + length + 0.2),
            ),
        )
