from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from collector.gateway.http import create_app
from collector.journal.memory import MemoryJournal
from collector.settings import GatewaySettings
from shippers.batch import MEDIA_TYPE, Batch, Header, pack, seal
from shippers.clock import FakeClock


class Client:
    """Asks an app over ASGI, without a network; errors of the app come back as 500."""

    def __init__(self, app: Starlette, client: tuple[str, int] = ("127.0.0.1", 1)) -> None:
        self.app = app
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=client)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.get(path, **options))

    def post(
        self, path: str, content: bytes | AsyncIterable[bytes] = b"", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return self._runner.run(self._client.post(path, content=content, headers=headers))

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()
        self.app.state.gateway._workers.shutdown()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(clock: FakeClock) -> MemoryJournal:
    return MemoryJournal(clock)


@pytest.fixture
def client_of(journal: MemoryJournal, clock: FakeClock) -> Iterator[Callable[..., Client]]:
    """A client of a gateway before `journal`; its settings as keywords."""
    made: list[Client] = []

    def make(**settings: Any) -> Client:
        made.append(Client(create_app(journal, GatewaySettings(**settings), clock)))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(client_of: Callable[..., Client]) -> Client:
    return client_of()


def a_batch(first: int = 1, lines: list[bytes] | None = None, **header: Any) -> Batch:
    fields: dict[str, Any] = {
        "stream": f"gateway0.{header.get('dataset', 'business')}",
        "first": first,
        "count": 0,
        "region": "eu",
        "dataset": "business",
        "day": "2026-11-21",
        "service": "pay",
        "instance": "pay-01",
        "crc": 0,
    }
    return seal(Header(**(fields | header)), lines or [b'{"message":"a"}', b'{"message":"b"}'])


def frames(*batches: Batch) -> bytes:
    return b"".join(pack(batch.header.encode(), batch.body) for batch in batches)


def post(client: Client, content: bytes, **headers: str):
    named = {"Content-Type": MEDIA_TYPE} | {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/v1/batches", content=content, headers=named)
