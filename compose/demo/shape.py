"""How the shop behaves: how many orders at what time of day, how long things take, how payments end.

Pure functions of the time and of a random source, shared by the live processes and by the history, so that the
boards show one shop and no seam between yesterday and now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from .topology import CHANNELS, REGIONS

PEAK_ORDERS_PER_S = 1.8
"""Orders a second, both regions together, at the height of the evening. An order makes about six events."""

_SHOP_UTC_OFFSET_H = 8
_NIGHT, _LUNCH, _EVENING = 0.20, 0.55, 0.80

REGION_SHARE = dict(zip(REGIONS, (0.62, 0.38), strict=True))
_CHANNEL_SHARE = (0.46, 0.36, 0.18)

CHANNEL_TIMEOUT_S = 2.0
RETRIES = 1

_MEDIAN_S = {
    "shop-web": 0.006,
    "order": 0.011,
    "payment": 0.016,
    "settle": 0.013,
    "channel-alipay": 0.075,
    "channel-wechat": 0.095,
    "channel-card": 0.290,
}
_SIGMA = 0.42
_HANG_SHARE = {"channel-alipay": 0.002, "channel-wechat": 0.004, "channel-card": 0.012}


def daily(at: float) -> float:
    """The day's shape, 0 to 1: quiet at night, a peak at lunch, a higher one at 20:00, by the shop's own clock."""
    hour = (at / 3600 + _SHOP_UTC_OFFSET_H) % 24

    def bump(middle: float, width: float) -> float:
        away = min(abs(hour - middle), 24 - abs(hour - middle))
        return math.exp(-0.5 * (away / width) ** 2)

    return min(1.0, _NIGHT + _LUNCH * bump(12.25, 1.4) + _EVENING * bump(20.0, 1.9))


def orders_per_s(at: float, region: str) -> float:
    """How many orders a second `region` gets at this time."""
    return PEAK_ORDERS_PER_S * daily(at) * REGION_SHARE[region]


def poisson(random: Random, mean: float) -> int:
    """How many came, when `mean` were to be expected. Knuth's method; by the normal's shape where that is too slow."""
    if mean > 50:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), random.random(), 0
    while product > limit:
        product *= random.random()
        count += 1
    return count


def pick_channel(random: Random) -> str:
    """How this customer pays."""
    return random.choices(CHANNELS, _CHANNEL_SHARE)[0]


def pick_amount(random: Random) -> float:
    """What this customer pays, in yuan."""
    return round(min(9_999.0, random.lognormvariate(4.2, 0.9)), 2)


def latency_s(random: Random, service: str, slower: float = 1.0) -> float:
    """How long one step of `service` takes: log-normal; a channel at times doesn't answer within its timeout."""
    if random.random() < _HANG_SHARE.get(service, 0.0):
        return CHANNEL_TIMEOUT_S * random.uniform(1.05, 1.4)
    return _MEDIAN_S[service] * slower * random.lognormvariate(0.0, _SIGMA)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a channel answered: `code` is what the business calls it, `words` what the log says."""

    code: str
    words: str

    @property
    def good(self) -> bool:
        """Whether money moved."""
        return self.code == "paid"


PAID = Ending("paid", "charged")
TIMED_OUT = Ending("timeout", "the channel did not answer in time")
UNREACHABLE = Ending("channel_unreachable", "the channel can't be reached")
_REFUSALS = (
    Ending("declined", "declined by the issuer"),
    Ending("insufficient_funds", "insufficient funds"),
    Ending("risk_rejected", "held back by risk control"),
)
_REFUSAL_SHARE = {"channel-alipay": 0.018, "channel-wechat": 0.022, "channel-card": 0.055}


def pick_ending(random: Random, channel: str) -> Ending:
    """How the channel answers, once it answers."""
    if random.random() >= _REFUSAL_SHARE[channel]:
        return PAID
    return random.choices(_REFUSALS, (0.5, 0.4, 0.1))[0]
