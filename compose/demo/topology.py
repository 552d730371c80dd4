"""Who is who in the demo's shop: its services, where each instance runs, and who calls whom. Facts only."""

from __future__ import annotations

from dataclasses import dataclass

CHANNELS = ("channel-alipay", "channel-wechat", "channel-card")
REGIONS = ("cn-east", "cn-north")


@dataclass(frozen=True, slots=True)
class Instance:
    """One process of the shop. `name` is what it calls itself in every event; unique over the whole shop."""

    name: str
    service: str
    region: str
    zone: str
    version: str


def _instance(service: str, zone: str, version: str = "1.4.2") -> Instance:
    region, _, letter = zone.rpartition("-")
    return Instance(f"{service}-{region.removeprefix('cn-')}-{letter}", service, region, zone, version)


INSTANCES = (
    _instance("shop-web", "cn-east-a"),
    _instance("order", "cn-east-a"),
    _instance("order", "cn-east-b", "1.5.0"),
    _instance("payment", "cn-east-a"),
    _instance("payment", "cn-east-b", "1.5.0"),
    _instance("channel-alipay", "cn-east-a"),
    _instance("channel-wechat", "cn-east-b", "1.5.0"),
    _instance("channel-card", "cn-east-a"),
    _instance("settle", "cn-east-b"),
    _instance("shop-web", "cn-north-a"),
    _instance("order", "cn-north-a"),
    _instance("payment", "cn-north-a"),
    _instance("channel-alipay", "cn-north-a"),
    _instance("channel-wechat", "cn-north-a"),
    _instance("channel-card", "cn-north-b", "1.5.0"),
)

VICTIM = next(i for i in INSTANCES if i.service == "channel-wechat" and i.region == "cn-north")
"""The one that dies: the only instance of its service in its region, so its death is the service's."""

CALLS: dict[str, tuple[str, ...]] = {
    "shop-web": ("order",),
    "order": ("payment",),
    "payment": (*CHANNELS, "settle"),
}


def peers(caller: Instance, service: str) -> tuple[Instance, ...]:
    """The instances of `service` that `caller` calls: those of its own region, or all where its region has none."""
    everywhere = tuple(i for i in INSTANCES if i.service == service)
    return tuple(i for i in everywhere if i.region == caller.region) or everywhere
