"""A gateway that starts before its journal can be reached, and one that is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import httpx
import pytest

from collector.gateway import http
from collector.gateway.http import create_app
from collector.journal.memory import MemoryJournal, MemoryReader
from collector.settings import GatewaySettings
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.unit.gateway.conftest import Client, a_batch, frames, post


def test_from_the_moment_it_is_told_to_stop_it_is_not_ready_and_still_takes_what_comes(client: Client) -> None:
    assert client.get("/ready").status_code == 200
    client.app.state.gateway.prepare_to_stop()
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["ready"], answer.json()["stopping"]) == (503, False, True)
    assert client.get("/health").status_code == 200
    assert post(client, frames(a_batch())).status_code == 200


@pytest.mark.parametrize("stopping", [False, True])
def test_a_canary_that_the_stop_cuts_off_is_no_failure(
    stopping: bool, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    canaries = client.app.state.gateway.canaries

    def cut_off(request: httpx.Request) -> httpx.Response:
        if stopping:
            client.app.state.gateway.prepare_to_stop()
        raise httpx.ReadError("the connection is gone", request=request)

    canaries._transport = lambda: httpx.MockTransport(cut_off)

    async def once() -> bool:
        async with canaries.client() as own:
            return bool(await canaries.probe(own, "http://gateway", "eu"))

    assert not asyncio.run(once())
    failed = 'lastbeat_gateway_canaries_total{outcome="failed"} 1.0'
    assert (failed in client.get("/metrics").text) is not stopping
    assert ("did not arrive" in caplog.text) is not stopping


def test_canaries_end_by_themselves_once_it_stops(client: Client) -> None:
    canaries = client.app.state.gateway.canaries
    canaries._transport = lambda: httpx.ASGITransport(client.app)
    client.app.state.gateway.prepare_to_stop()
    asyncio.run(asyncio.wait_for(canaries.run("http://gateway"), 5))


class LateJournal(MemoryJournal):
    """Can't be read the first two times."""

    failures = 2

    def reader(self, group: str | None, datasets: Sequence[str]) -> MemoryReader:
        if self.failures:
            self.failures -= 1
            raise Unavailable("no broker yet")
        return super().reader(group, datasets)


def test_regions_of_a_journal_that_comes_late_are_found_once_it_is_there(
    client_of: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "_ASK_AGAIN_S", 0.01)
    clock = FakeClock()
    journal = LateJournal(clock)
    journal.append([a_batch(region="cn")])
    app = create_app(journal, GatewaySettings(canary_interval_s=1000), clock)
    gateway = app.state.gateway
    gateway.canaries._transport = lambda: httpx.ASGITransport(app)

    async def start_and_stop() -> None:
        await gateway.start("http://gateway")
        async with asyncio.timeout(5):
            while "cn" not in gateway.intake.regions:
                await asyncio.sleep(0.01)
        await gateway.stop()

    asyncio.run(start_and_stop())
    assert "no broker yet" in caplog.text
