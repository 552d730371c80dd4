"""What each service of the shop does with a call: the business, and the plain log lines that any service writes.

Nothing here knows lastbeat: these are log calls with `extra`, and headers that carry trace and order on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from random import Random
from typing import Any

from . import shape
from .ailment import Ailment
from .topology import Instance, peers
from .wire import post

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call: who it belongs to (trace, order), this hop's own span, what is asked, and when it came in."""

    trace_id: str
    span_id: str
    order_id: str
    asked: Mapping[str, Any]
    began: float

    @classmethod
    def received(cls, headers: Message, body: Mapping[str, Any], random: Random) -> Call:
        """Read W3C's traceparent and the shop's own order header; begin a trace and an order where there is none."""
        parent = headers.get("traceparent", "").split("-")
        trace_id = parent[1] if len(parent) == 4 else f"{random.getrandbits(128):032x}"
        order_id = headers.get("x-order-id") or f"A{random.getrandbits(40):010X}"
        return cls(trace_id, f"{random.getrandbits(64):016x}", order_id, body, time.monotonic())

    def about(self, action: str, **more: object) -> dict[str, object]:
        """What goes beside the words of a log line."""
        own = {"action": action, "order_id": self.order_id, "trace_id": self.trace_id, "span_id": self.span_id}
        return {**own, "duration_ms": (time.monotonic() - self.began) * 1_000, **more}


@dataclass(slots=True)
class Shop:
    """One instance: who it is and where its neighbours are."""

    me: Instance
    addresses: Mapping[str, str]
    random: Random = field(default_factory=Random)
    ailment: Ailment = field(init=False)
    log: logging.Logger = field(init=False)

    def __post_init__(self) -> None:
        self.log = logging.getLogger(self.me.service)
        self.ailment = Ailment(self.log, self.random)

    def work(self, share: float = 1.0) -> None:
        """Take as long as this service takes."""
        seconds = shape.latency_s(self.random, self.me.service, self.ailment.slower)
        time.sleep(seconds * share)

    def ask(self, service: str, call: Call, asked: Answer, timeout_s: float = 10.0) -> Answer:
        """Call one instance of `service`, passing the trace and the order on."""
        chosen = self.random.choice(peers(self.me, service))
        headers = {"traceparent": f"00-{call.trace_id}-{call.span_id}-01", "x-order-id": call.order_id}
        return post(self.addresses[chosen.name], "/", asked, timeout_s, headers)


def shop_web(shop: Shop, call: Call) -> Answer:
    """The shop's door: one customer's checkout."""
    shop.work(0.5)
    answer = shop.ask("order", call, dict(call.asked))
    shop.work(0.5)
    good = answer["code"] == "paid"
    extra = call.about("checkout", outcome="success" if good else "failure", amount=call.asked["amount"])
    shop.log.info("checkout done" if good else "checkout not done", extra=extra)
    return answer


def order(shop: Shop, call: Call) -> Answer:
    """Takes the order down and has it paid."""
    shop.work(0.5)
    shop.log.info("order created", extra=call.about("create", outcome="success", amount=call.asked["amount"]))
    answer = shop.ask("payment", call, dict(call.asked))
    shop.work(0.5)
    channel = call.asked["channel"]
    if answer["code"] == "paid":
        shop.log.info("order paid", extra=call.about("complete", outcome="success", channel=channel))
    else:
        extra = call.about("complete", outcome="failure", channel=channel, reason=answer["code"])
        shop.log.warning("order not paid", extra=extra)
    return answer


def payment(shop: Shop, call: Call) -> Answer:
    """Charges one channel, once more if it doesn't answer, and passes what was paid on to settlement."""
    shop.work(0.5)
    channel, amount = call.asked["channel"], call.asked["amount"]
    ending = _charge(shop, call, channel, amount)
    shop.work(0.5)
    if ending == shape.PAID.code:
        shop.ask("settle", call, dict(call.asked))
        extra = call.about("pay", outcome="success", channel=channel, amount=amount)
        shop.log.info("paid", extra=extra)
    else:
        extra = call.about("pay", outcome="failure", channel=channel, amount=amount, reason=ending)
        shop.log.warning("payment failed", extra=extra)
    return {"code": ending}


def _charge(shop: Shop, call: Call, channel: str, amount: float) -> str:
    ending = shape.TIMED_OUT
    for attempt in range(1, shape.RETRIES + 2):
        more = {"channel": channel, "attempt": attempt}
        try:
            return str(shop.ask(channel, call, {"amount": amount}, shape.CHANNEL_TIMEOUT_S)["code"])
        except TimeoutError:
            ending = shape.TIMED_OUT
            shop.log.warning(ending.words, extra=call.about("charge_attempt", outcome="failure", **more))
        except OSError:
            ending = shape.UNREACHABLE
            extra = call.about("charge_attempt", outcome="failure", **more)
            shop.log.exception(ending.words, extra=extra)
    return ending.code


def channel(shop: Shop, call: Call) -> Answer:
    """Stands for the way to one payment provider."""
    shop.work()
    ending = shape.pick_ending(shop.random, shop.me.service)
    level, outcome = (logging.INFO, "success") if ending.good else (logging.WARNING, "failure")
    reason = {} if ending.good else {"reason": ending.code}
    extra = call.about("charge", outcome=outcome, amount=call.asked["amount"], **reason)
    shop.log.log(level, ending.words, extra=extra)
    return {"code": ending.code}


def settle(shop: Shop, call: Call) -> Answer:
    """Books what was paid."""
    shop.work()
    shop.log.info("booked", extra=call.about("settle", outcome="success", amount=call.asked["amount"]))
    return {"code": "settled"}


SERVICES: Mapping[str, Callable[[Shop, Call], Answer]] = {
    "shop-web": shop_web,
    "order": order,
    "payment": payment,
    "channel-alipay": channel,
    "channel-wechat": channel,
    "channel-card": channel,
    "settle": settle,
}
