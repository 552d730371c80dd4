"""The gateway over HTTP: POST /v1/batches, GET|POST /beat/<service>, GET /health, /ready and /metrics.

An answer of 200 means that the journal has it on disk. All or nothing a request: what is turned away leaves no trace
but a count, and says which rule was broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from collector.ports import Journal, State
from collector.settings import GatewaySettings
from shippers.batch import MEDIA_TYPE
from shippers.clock import Clock
from shippers.errors import Misconfigured, Unavailable
from shippers.transports.http import LACKING

from .beats import BadQuery, Beats, read_beat, rfc3339
from .canary import SECRET_HEADER, Canaries
from .door import Door, Grant, Turned, beats_in
from .inbound import SMALL, Body, Inbound
from .intake import Intake
from .metrics import Metrics
from .refusals import Refusals
from .resends import Resends

log = logging.getLogger("lastbeat.gateway")

_WORKERS = 32
_ASK_AGAIN_S = 5.0
T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


def create_app(journal: Journal, settings: GatewaySettings, clock: Clock, state: State | None = None) -> Starlette:
    """The gateway as an ASGI app; its lifespan starts and stops the canaries. Journal and state stay the caller's to
    close. Without `state` nobody is ever asked to send anything again.

    Raises Misconfigured for a gateway that would be open to the network without tokens.
    """
    check_settings(settings)
    gateway = Gateway(journal, settings, clock, state)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await gateway.start(getattr(app.state, "url", "") or url_of(settings))
        try:
            yield
        finally:
            await gateway.stop()

    app = Starlette(routes=gateway.routes(), lifespan=lifespan)
    app.state.gateway = gateway
    return app


def check_settings(settings: GatewaySettings) -> None:
    """Anonymous senders are for loopback only."""
    if settings.tokens or settings.host == "localhost":
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(settings.host).is_loopback:
            return
    raise Misconfigured(
        f"gateway.host = {settings.host!r} is reachable from elsewhere, and there are no tokens: anybody could send. "
        "Add a [[gateway.tokens]], or bind to 127.0.0.1"
    )


def url_of(settings: GatewaySettings, port: int | None = None) -> str:
    """Where a new client reaches this gateway."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 (these are what it is *not*)
    return (settings.public_url or f"http://{host}:{port or settings.port}").rstrip("/")


class Gateway:
    """The endpoints, and what they share."""

    def __init__(self, journal: Journal, settings: GatewaySettings, clock: Clock, state: State | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._secret = secrets.token_urlsafe(32)
        self.metrics = Metrics()
        self.door = Door(settings, self._secret)
        self.intake = Intake(journal, settings, clock, self.metrics)
        self.refusals = Refusals()
        self.canaries = Canaries(settings, self.intake, self.refusals, self.metrics, clock, self._secret)
        self.resends = Resends(state, clock)
        self._beats = Beats(clock)
        self._inbound = Inbound(
            settings.max_request_bytes, settings.max_inflight_bytes, settings.read_timeout_s, self.metrics
        )
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="gateway")
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def routes(self) -> list[Route]:
        """Path, endpoint, method."""
        return [
            Route("/v1/batches", self._answering("/v1/batches", self._batches), methods=["POST"]),
            Route("/beat/{service}", self._answering("/beat", self._beat), methods=["GET", "POST"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/ready", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics_text, methods=["GET"]),
        ]

    async def start(self, url: str) -> None:
        """Begin to send canaries to `url`: to the regions that the journal knows, if it can be asked already."""
        loop = asyncio.get_running_loop()
        self.resends.start()
        if not await self._remember_regions():
            self._tasks.append(loop.create_task(self._go_on_asking(), name="regions"))
        self._tasks.append(loop.create_task(self.canaries.run(url), name="canaries"))

    def prepare_to_stop(self) -> None:
        """From now on it isn't ready. It may be called from a signal handler, before the last requests are answered."""
        self._stopping = self.canaries.ending = True

    async def stop(self) -> None:
        """End the canaries. No request is under way any more, but for those that were not finished in time."""
        self.prepare_to_stop()
        self.resends.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def _remember_regions(self) -> bool:
        try:
            await self._on_worker(self.intake.remember_regions)
        except Unavailable as error:
            log.warning("gateway: the journal can't be asked for its regions yet, this goes on by itself: %s", error)
            return False
        return True

    async def _go_on_asking(self) -> None:
        while True:
            await asyncio.sleep(_ASK_AGAIN_S)
            try:
                if await self._remember_regions():
                    return
            except Exception:
                log.exception("gateway: the journal couldn't be asked for its regions; it is asked again")

    async def _on_worker(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *args)

    def _answering(self, path: str, handler: Handler) -> Handler:
        """Time it, count it, and turn errors into answers."""

        async def answer(request: Request) -> Response:
            began = self._clock.monotonic()
            try:
                response = await handler(request)
            except Turned as error:
                response = self._turned_away(error)
            except BadQuery as error:
                self.metrics.refused.labels("query").inc()
                response = _error(400, "query", str(error), parameter=error.parameter)
            except Unavailable as error:
                self.metrics.refused.labels("journal").inc()
                response = _error(503, "journal", str(error))
                response.headers["Retry-After"] = f"{max(error.retry_after_s or 1.0, 1.0):.0f}"
            self.metrics.requests.labels(path, str(response.status_code)).inc()
            self.metrics.request_seconds.labels(path).observe(self._clock.monotonic() - began)
            return response

        return answer

    def _turned_away(self, error: Turned) -> Response:
        self.metrics.refused.labels(error.code).inc()
        if error.header is not None and not error.header.canary:
            self.refusals.add(error.header, error.code)
        stream = error.header.stream if error.header else None
        response = _error(error.status, error.code, str(error), index=error.index, stream=stream)
        if error.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        if error.status == 408:
            response.headers["Connection"] = "close"
        return response

    def _grant(self, request: Request) -> Grant:
        return self.door.grant(request.headers.get("authorization"), request.headers.get(SECRET_HEADER))

    async def _batches(self, request: Request) -> Response:
        _check_encoding(request)
        with self._inbound.hold() as body:
            try:
                grant = self._grant(request)
            except Turned as error:
                await self._remember_beats(request, body, error.code)
                raise
            data = await body.read(request)
            answer = await self._on_worker(self._take, data, grant, request.headers.get(LACKING))
        return JSONResponse(answer)

    def _take(self, data: bytes, grant: Grant, lacking: str | None) -> dict[str, object]:
        batches = self.door.open(data, grant)
        self.intake.append(batches)
        answer: dict[str, object] = {"accepted": len(batches)}
        if self.resends.any_open:
            wanted = self.resends.answer(batches, lacking)
            if wanted:
                answer["resend"] = wanted
        return answer

    async def _remember_beats(self, request: Request, body: Body, code: str) -> None:
        """Whose beats come with a wrong token? Beats are small: more than that is not read for a stranger."""
        with contextlib.suppress(Turned, Unavailable):
            for header in beats_in(await body.read(request, SMALL)):
                self.refusals.add(header, code)

    async def _beat(self, request: Request) -> Response:
        if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
            raise Turned(400, "query", "a beat has no body: put its parameters into the URL, as ?interval=60")
        query = request.query_params.multi_items()
        beat = read_beat(request.path_params["service"], query, self._settings.regions[0])
        header = beat.header()
        try:
            grant = self._grant(request)
            self.door.permit(header, grant)
            self.intake.check_regions([header])
        except Turned as error:
            error.header, error.index = header, None
            raise
        number = await self._on_worker(
            self._beats.send, beat, lambda batches: self.intake.append([self.door.admit(b, grant) for b in batches])
        )
        answer = {"accepted": 1, "beat": number, **asdict(beat), "expected_by": None}
        if beat.state == "up":
            answer["expected_by"] = rfc3339(self._clock.time() + beat.interval_s + beat.grace_s)
        return JSONResponse(answer)

    async def _health(self, _: Request) -> Response:
        """The process is fine if it answers; how the journal is, stands in the answer."""
        state = self.intake.state
        return JSONResponse(
            {
                "status": "ok",
                "name": self._settings.name,
                "ingress": self._settings.ingress,
                "regions": list(self.intake.regions),
                "journal": asdict(state),
            }
        )

    async def _ready(self, _: Request) -> Response:
        state = self.intake.state
        ready = state.accepting and not self._stopping
        said = {"ready": ready, "stopping": self._stopping, "journal": asdict(state)}
        return JSONResponse(said, 200 if ready else 503)

    async def _metrics_text(self, _: Request) -> Response:
        return Response(self.metrics.text(), headers={"Content-Type": self.metrics.content_type})


def _check_encoding(request: Request) -> None:
    media = request.headers.get("content-type", MEDIA_TYPE).partition(";")[0].strip().lower()
    if media != MEDIA_TYPE:
        raise Turned(415, "media", f"content-type {media[:80]!r}: batches are {MEDIA_TYPE}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Turned(415, "media", "content-encoding: batches are sent as they are")


def _error(status: int, code: str, message: str, **more: object) -> JSONResponse:
    fields = {"index": None, "stream": None} | more
    return JSONResponse({"error": {"code": code, "message": message, **fields}}, status)
