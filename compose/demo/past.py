"""One order of the past: which lines each service would have written about it, and when.

Pure. It follows `shop` step by step (a test holds the two together), without the waiting.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from . import shape
from .topology import CALLS, INSTANCES, REGIONS, Instance, peers


class Said(NamedTuple):
    """One line: who said what, when, and what went beside the words (`labels`, `measures` and `error` as JSON, the
    first two without their braces)."""

    at: float
    who: Instance
    level: str
    message: str
    action: str
    outcome: str
    duration_s: float
    labels: str
    measures: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Bump:
    """A bad time in the past: from `start` to `end` every charge through `channel` in `region` took `times` as long."""

    start: float
    end: float
    region: str
    channel: str
    times: float

    def slower(self, at: float, where: Instance) -> float:
        """By how much `where` is slower at this time; swells and ebbs instead of jumping."""
        if where.service != self.channel or where.region != self.region or not self.start <= at < self.end:
            return 1.0
        swelling = math.sin(math.pi * (at - self.start) / (self.end - self.start))
        return 1.0 + (self.times - 1.0) * math.sqrt(swelling)


@dataclass(frozen=True, slots=True)
class Burst:
    """A bad release in the past: from `start` to `end` a `share` of the calls to `service` at `version` raised."""

    start: float
    end: float
    service: str
    version: str
    share: float

    def raises(self, at: float, where: Instance, random: Random) -> bool:
        """Whether this call raises."""
        hit = where.service == self.service and where.version == self.version and self.start <= at < self.end
        return hit and random.random() < self.share


@dataclass(frozen=True, slots=True)
class Troubles:
    """What went wrong in the day before `end`."""

    bump: Bump
    burst: Burst

    @classmethod
    def before(cls, end: float) -> Troubles:
        """A slow card channel seven hours ago, a bad release of payment three hours ago."""
        return cls(
            Bump(end - 7.0 * 3600, end - 6.2 * 3600, "cn-east", "channel-card", 5.0),
            Burst(end - 2.9 * 3600, end - 2.6 * 3600, "payment", "1.5.0", 0.35),
        )


BAD_RELEASE = json.dumps(
    {
        "type": "TypeError",
        "message": "unsupported operand type(s) for *: 'float' and 'NoneType'",
        "stack_trace": (
            "Traceback (most recent call last):\n"
            '  File "/srv/payment/handler.py", line 88, in pay\n    fee = fee_of(order)\n'
            '  File "/srv/payment/fees.py", line 41, in fee_of\n    return order.amount * TARIFF[order.channel].rate\n'
            "           ~~~~~~~~~~~~~^~~~~~~~~~~~~~~~~~~~~~~~~~~~\n"
            "TypeError: unsupported operand type(s) for *: 'float' and 'NoneType'"
        ),
    },
    separators=(",", ":"),
)


_CALLS = {(i.name, called): peers(i, called) for i in INSTANCES for called in CALLS.get(i.service, ())}
_DOORS = {region: [i for i in INSTANCES if i.service == "shop-web" and i.region == region] for region in REGIONS}


def lines_of_order(random: Random, began: float, region: str, troubles: Troubles) -> list[Said]:
    """Every line about one order that came in at `began`, in no particular order."""
    door = random.choice(_DOORS[region])
    taker = random.choice(_CALLS[door.name, "order"])
    payer = random.choice(_CALLS[taker.name, "payment"])
    door_s, taker_s, payer_s = (shape.latency_s(random, i.service) / 2 for i in (door, taker, payer))
    amount, channel = shape.pick_amount(random), shape.pick_channel(random)
    paying, through = f'"amount":{amount}', f'"channel":"{channel}"'

    at = began + door_s + taker_s
    lines = [Said(at, taker, "INFO", "order created", "create", "success", taker_s, "", paying)]
    if troubles.burst.raises(at, payer, random):
        at += payer_s
        code = "internal_error"
        raised = ("ERROR", "payment raised", "pay", "failure")
        lines.append(Said(at, payer, *raised, payer_s, through, paying, BAD_RELEASE))
    else:
        code, at = _pay(lines, random, at, payer, payer_s, channel, paying, troubles)
    at += taker_s
    if code == shape.PAID.code:
        order = ("INFO", "order paid", "complete", "success")
        checkout = ("INFO", "checkout done", "checkout", "success")
        reason = through
    else:
        order = ("WARNING", "order not paid", "complete", "failure")
        checkout = ("INFO", "checkout not done", "checkout", "failure")
        reason = f'{through},"reason":"{code}"'
    lines.append(Said(at, taker, *order, at - began - door_s, reason))
    at += door_s
    lines.append(Said(at, door, *checkout, at - began, "", paying))
    return lines


def _pay(
    lines: list[Said],
    random: Random,
    at: float,
    payer: Instance,
    half_s: float,
    channel: str,
    paying: str,
    troubles: Troubles,
) -> tuple[str, float]:
    """Adds what payment, its channel and settlement say; returns how it ended, and when."""
    began, through = at, f'"channel":"{channel}"'
    ending, at = _charge(lines, random, at + half_s, payer, channel, paying, began, troubles)
    at += half_s
    if ending.good:
        bookkeeper = random.choice(_CALLS[payer.name, "settle"])
        taken = shape.latency_s(random, "settle")
        at += taken
        lines.append(Said(at, bookkeeper, "INFO", "booked", "settle", "success", taken, "", paying))
        lines.append(Said(at, payer, "INFO", "paid", "pay", "success", at - began, through, paying))
    else:
        reason = f'{through},"reason":"{ending.code}"'
        lines.append(Said(at, payer, "WARNING", "payment failed", "pay", "failure", at - began, reason, paying))
    return ending.code, at


def _charge(
    lines: list[Said],
    random: Random,
    at: float,
    payer: Instance,
    channel: str,
    paying: str,
    began: float,
    troubles: Troubles,
) -> tuple[shape.Ending, float]:
    through = f'"channel":"{channel}"'
    for attempt in range(1, shape.RETRIES + 2):
        provider = random.choice(_CALLS[payer.name, channel])
        taken = shape.latency_s(random, channel, troubles.bump.slower(at, provider))
        answer = shape.pick_ending(random, channel)
        how = ("INFO" if answer.good else "WARNING", answer.words, "charge", "success" if answer.good else "failure")
        reason = "" if answer.good else f'"reason":"{answer.code}"'
        lines.append(Said(at + taken, provider, *how, taken, reason, paying))
        if taken < shape.CHANNEL_TIMEOUT_S:
            return answer, at + taken
        at += shape.CHANNEL_TIMEOUT_S
        silence = ("WARNING", shape.TIMED_OUT.words, "charge_attempt", "failure")
        lines.append(Said(at, payer, *silence, at - began, through, f'"attempt":{attempt}'))
    return shape.TIMED_OUT, at
