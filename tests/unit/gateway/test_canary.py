"""The canary: over the public way, one a region, and it tells whose beats were turned away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest

from collector.gateway.canary import Canaries
from collector.gateway.http import url_of
from collector.gateway.refusals import Refusals
from collector.journal.memory import MemoryJournal
from collector.settings import GatewaySettings, TokenSettings
from shippers.batch import Batch, Header
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.unit.gateway.conftest import Client, a_batch, frames, post

Make = Callable[..., Client]
TOKEN = TokenSettings(token="t", regions=("eu", "cn"))


def canaries_of(client: Client) -> Canaries:
    canaries: Canaries = client.app.state.gateway.canaries
    canaries._transport = lambda: httpx.ASGITransport(client.app)
    return canaries


def probe(client: Client, region: str) -> bool:
    async def once() -> bool:
        canaries = canaries_of(client)
        async with canaries.client() as own:
            return await canaries.probe(own, "http://gateway", region)

    return asyncio.run(once())


def canaries_in(journal: MemoryJournal) -> list[tuple[Header, dict]]:
    batches = [Batch(Header.decode(record.header), record.body) for record in journal.records()]
    for batch in batches:
        batch.check()
    return [(batch.header, json.loads(batch.body)) for batch in batches if batch.header.canary]


def a_beat(**header: str) -> bytes:
    return frames(a_batch(dataset="heartbeat", lines=[b"{}"], **header))


def test_a_canary_is_a_batch_of_its_regions_beat_topic(client_of: Make, journal: MemoryJournal) -> None:
    client = client_of(name="gw-7", ingress="public", tokens=(TOKEN,), regions=("eu",))
    assert probe(client, "eu")
    assert probe(client, "eu")
    (first, event), (second, _) = canaries_in(journal)
    assert journal.records()[0].tp.topic == "lastbeat.eu.heartbeat"
    assert (first.service, first.instance, first.via, first.ingress) == ("lastbeat", "gw-7", "gw-7", "public")
    assert (first.stream, first.first, second.first) == (second.stream, 1, 2)
    assert event["refused"] == {}
    assert event["@timestamp"].startswith(first.day)


def test_each_region_has_a_stream_of_its_own(client: Client, journal: MemoryJournal) -> None:
    assert probe(client, "eu")
    assert probe(client, "cn")
    (first, _), (second, _) = canaries_in(journal)
    assert first.stream != second.stream
    assert first.first == second.first == 1


def test_beats_that_were_turned_away_are_told_once_in_their_region(client_of: Make, journal: MemoryJournal) -> None:
    client = client_of(tokens=(TOKEN,), regions=("eu", "cn"))
    assert post(client, a_beat(region="eu", service="pay"), Authorization="Bearer wrong").status_code == 401
    assert post(client, a_beat(region="cn", service="order")).status_code == 401
    assert client.get("/beat/backup?region=cn").status_code == 401
    assert post(client, a_beat(region="us"), Authorization="Bearer t").status_code == 403
    assert post(client, frames(a_batch())).status_code == 401  # no beat: none of the watch's business
    for region in ("eu", "cn", "eu", "cn"):
        assert probe(client, region)
    told = [(header.region, event["refused"]) for header, event in canaries_in(journal)]
    assert told == [
        ("cn", {"cn/order/pay-01": "token", "cn/backup/backup": "token"}),
        ("cn", {}),
        ("eu", {"eu/pay/pay-01": "token", "us/pay/pay-01": "region"}),
        ("eu", {}),
    ]


def test_what_a_lost_canary_had_to_tell_the_next_one_tells(client_of: Make, journal: MemoryJournal) -> None:
    client = client_of(tokens=(TOKEN,), regions=("eu",))
    post(client, a_beat())
    journal.fail_appends(Unavailable("no disk"))
    assert not probe(client, "eu")
    assert probe(client, "eu")
    [(_, event)] = canaries_in(journal)
    assert event["refused"] == {"eu/pay/pay-01": "token"}


def test_the_memory_of_refused_beats_is_bounded() -> None:
    refusals = Refusals()
    for n in range(10_000):
        refusals.add(a_batch(dataset="heartbeat", service=f"s{n}").header, "token")
    assert 100 < len(refusals.take("eu")) < 1_000
    assert refusals.take("eu") == {}


def test_it_sends_to_every_region_again_and_again_while_the_app_lives(
    journal: MemoryJournal, clock: FakeClock, client_of: Make
) -> None:
    client = client_of(regions=("eu", "cn"), canary_interval_s=0.01)
    canaries_of(client)

    async def live() -> None:
        async with client.app.router.lifespan_context(client.app):
            async with asyncio.timeout(20):
                while min(len(_of(journal, region)) for region in ("eu", "cn")) < 3 or post_metrics(client) < 6:
                    await asyncio.sleep(0.01)
        ended = len(journal.records())
        await asyncio.sleep(0.05)
        assert len(journal.records()) == ended

    asyncio.run(live())
    assert post_metrics(client) >= 6


def _of(journal: MemoryJournal, region: str) -> list[Header]:
    return [header for header, _ in canaries_in(journal) if header.region == region]


def post_metrics(client: Client) -> float:
    value = client.app.state.gateway.metrics.registry.get_sample_value
    return value("lastbeat_gateway_canaries_total", {"outcome": "arrived"}) or 0.0


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:7411"),
        ({"host": "::1"}, "http://[::1]:7411"),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:7411"),
        ({"host": "::"}, "http://[::1]:7411"),
        ({"public_url": "https://in.example/lastbeat/"}, "https://in.example/lastbeat"),
    ],
)
def test_where_canaries_go(settings: dict[str, str], url: str) -> None:
    assert url_of(GatewaySettings(**settings)) == url
