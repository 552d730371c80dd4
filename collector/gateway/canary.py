"""The gateway's probe of itself: each second and region, one batch over a new connection to the public address.

It goes the whole way that a service's beat goes; when it stops arriving, the watch knows that it is blind, and accuses
nobody. It also tells the watch whose beats were turned away. It never retries: the next one is due in a second.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable

import httpx

from collector.settings import GatewaySettings
from shippers.batch import MEDIA_TYPE, Batch, Header, pack, seal
from shippers.clock import Clock

from .beats import rfc3339
from .intake import Intake
from .metrics import Metrics
from .refusals import Refusals

log = logging.getLogger("lastbeat.gateway")

SECRET_HEADER = "X-Lastbeat-Canary"  # noqa: S105 (the header's name, no secret)
_TIMEOUT_S = 5.0


class Canaries:
    """Sends them while `run` runs, in the gateway's own event loop: when that hangs, they stop too, as they should."""

    def __init__(
        self,
        settings: GatewaySettings,
        intake: Intake,
        refusals: Refusals,
        metrics: Metrics,
        clock: Clock,
        secret: str,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._name = settings.name
        self._interval_s = settings.canary_interval_s
        self._intake = intake
        self._refusals = refusals
        self._metrics = metrics
        self._clock = clock
        self._secret = secret
        self._transport = transport
        self._numbers: dict[str, tuple[str, int]] = {}
        self._failing: set[str] = set()
        self.ending = False
        """Set once the gateway stops: no more are sent, and one that is cut off is no failure."""

    async def run(self, url: str) -> None:
        """Send until cancelled or `ending`. A region whose last canary is still under way is left out for a turn."""
        under_way: dict[str, asyncio.Task[bool]] = {}
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            async with self.client() as client:
                while not self.ending:
                    for region in self._intake.regions:
                        if region not in under_way or under_way[region].done():
                            under_way[region] = loop.create_task(self.probe(client, url, region))
                    due = max(due + self._interval_s, loop.time())
                    await asyncio.sleep(due - loop.time())
        finally:
            for task in under_way.values():
                task.cancel()
            await asyncio.gather(*under_way.values(), return_exceptions=True)

    def client(self) -> httpx.AsyncClient:
        """A client that opens a new connection for each request and goes through no proxy."""
        return httpx.AsyncClient(
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=_TIMEOUT_S,
            trust_env=False,
            headers={SECRET_HEADER: self._secret, "Content-Type": MEDIA_TYPE, "Connection": "close"},
            transport=self._transport() if self._transport else None,
        )

    async def probe(self, client: httpx.AsyncClient, url: str, region: str) -> bool:
        """Send one canary; whether it is in the journal."""
        regions = self._intake.regions
        others = frozenset(regions) if regions and region == regions[0] else None
        refused = self._refusals.take(region, others=others)
        batch = self._sealed(region, refused)
        arrived = False
        try:
            answer = await client.post(f"{url}/v1/batches", content=pack(batch.header.encode(), batch.body))
            arrived = answer.status_code == 200
            why = f"{answer.status_code} {answer.text[:200]}"
        except httpx.HTTPError as error:
            why = f"{type(error).__name__}: {error}"
        finally:
            if not arrived:
                self._refusals.give_back(refused)
        self._note(region, url, arrived, why)
        return arrived

    def _sealed(self, region: str, refused: dict[str, str]) -> Batch:
        boot, number = self._numbers.get(region) or (secrets.token_hex(8), 0)
        self._numbers[region] = boot, number + 1
        at = rfc3339(self._clock.time())
        header = Header(
            f"{boot}.heartbeat", number + 1, 1, region, "heartbeat", at[:10], "lastbeat", self._name, 0, canary=True
        )
        return seal(header, [json.dumps({"@timestamp": at, "refused": refused}, separators=(",", ":")).encode()])

    def _note(self, region: str, url: str, arrived: bool, why: str) -> None:
        if self.ending and not arrived:
            return
        self._metrics.canaries.labels("arrived" if arrived else "failed").inc()
        if arrived and region in self._failing:
            self._failing.discard(region)
            log.warning("gateway: canaries of region %s arrive again", region)
        elif not arrived and region not in self._failing:
            self._failing.add(region)
            log.error("gateway: a canary of region %s to %s did not arrive: %s", region, url, why)
