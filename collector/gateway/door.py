"""What is checked before a batch may enter: frames, headers, bodies, and what the token allows. Pure.

Nobody believes a body about who sent it, and nobody believes a header about how it came: `via` and `ingress` are
stamped here, and only this gateway's own canary may call itself one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from collector.foreign.stream import is_foreign
from collector.settings import GatewaySettings, TokenSettings
from shippers.batch import Batch, Header, unpack
from shippers.errors import BadBatch, LastbeatError

MAX_BATCHES = 10_000
_MAX_AGE_S = 366 * 86_400.0
_MAX_REMEMBERED = 10_000


class Turned(LastbeatError):
    """A request that is turned away as a whole: the status and code of the answer, and which batch was to blame."""

    permanent = True

    def __init__(
        self, status: int, code: str, message: str, *, index: int | None = None, header: Header | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.index, self.header = status, code, index, header


@dataclass(frozen=True, slots=True)
class Grant:
    """What a sender may send."""

    name: str
    regions: re.Pattern[str]
    services: re.Pattern[str]
    datasets: re.Pattern[str]
    canary: bool = False
    replay: bool = False
    """Whether he may send numbers of others again, as the tools for dead letters and resending do."""
    _allowed: set[tuple[str, str, str]] = field(default_factory=set, compare=False)

    @classmethod
    def of(cls, token: TokenSettings) -> Grant:
        """The grant that a token carries."""
        patterns = _any_of(token.regions), _any_of(token.services), _any_of(token.datasets)
        return cls(token.name, *patterns, replay=token.may_replay)

    def forbids(self, header: Header) -> str | None:
        """Which of region, service and dataset is not this sender's to send; None if all are."""
        asked = header.region, header.service, header.dataset
        if asked in self._allowed:
            return None
        if not self.regions.match(header.region):
            return "region"
        if not self.services.match(header.service):
            return "service"
        if not self.datasets.match(header.dataset):
            return "dataset"
        if len(self._allowed) < _MAX_REMEMBERED:
            self._allowed.add(asked)
        return None


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)")


_EVERYTHING = re.compile("")
ANYBODY = Grant("anybody", _EVERYTHING, _EVERYTHING, _EVERYTHING, replay=True)
CANARY = dataclasses.replace(ANYBODY, name="canary", canary=True, replay=False)


class Door:
    """The checks, with this gateway's tokens and name."""

    def __init__(self, settings: GatewaySettings, canary_secret: str) -> None:
        self._via, self._ingress = settings.name, settings.ingress
        self._secret = canary_secret
        self._grants = [(_digest_of(token), Grant.of(token)) for token in settings.tokens]

    def grant(self, authorization: str | None, canary_secret: str | None) -> Grant:
        """Who is asking. Raises Turned 401. Takes the same time for every wrong token."""
        if canary_secret is not None:
            if hmac.compare_digest(canary_secret.encode(), self._secret.encode()):
                return CANARY
            raise Turned(403, "canary", "only the gateway itself sends canaries")
        if not self._grants:
            return ANYBODY
        scheme, _, token = (authorization or "").partition(" ")
        digest = hashlib.sha256(token.strip().encode()).digest()
        found = [grant for known, grant in self._grants if hmac.compare_digest(known, digest)]
        if scheme.lower() != "bearer" or not found:
            what = "no token was sent" if not authorization else "the token is unknown"
            raise Turned(
                401, "token", f"{what}: send `Authorization: Bearer <token>` with one of this gateway's tokens"
            )
        return found[0]

    def open(self, body: bytes, grant: Grant) -> list[Batch]:
        """The batches of a request, checked and stamped. Raises Turned, naming the first that may not enter."""
        batches: list[Batch] = []
        frames = unpack(body)
        while True:
            batch = None
            try:
                batch = next(frames, None)
                if batch is None:
                    break
                batch.check()
                batches.append(self.admit(batch, grant))
                if len(batches) > MAX_BATCHES:
                    raise BadBatch("size", f"more than {MAX_BATCHES} batches in one request")
            except BadBatch as error:
                status = 413 if error.code == "size" else 400
                header = batch.header if batch else None
                raise Turned(status, error.code, str(error), index=len(batches), header=header) from None
            except Turned as error:
                error.index = len(batches)
                raise
        if not batches:
            raise Turned(400, "frame", "the request has no batch in it")
        return batches

    def admit(self, batch: Batch, grant: Grant) -> Batch:
        """One batch, stamped. Raises Turned if the grant forbids it, BadBatch if its header claims nonsense."""
        header = batch.header
        self.permit(header, grant)
        if is_foreign(header.stream) and not header.replay:
            raise BadBatch(
                "stream", f"stream {header.stream!r} is kept for records that others put on Kafka themselves"
            )
        if header.age_s is not None and not 0 <= header.age_s <= _MAX_AGE_S:  # also what is not a number
            raise BadBatch("age", "age_s must be a number of seconds from 0 to a year")
        if header.void is not None and not (header.void.isprintable() and 0 < len(header.void) <= 200):
            raise BadBatch("void", "void must be a reason of 1 to 200 printable characters")
        return Batch(dataclasses.replace(header, via=self._via, ingress=self._ingress), batch.body)

    @staticmethod
    def permit(header: Header, grant: Grant) -> None:
        """Raise Turned unless the grant covers this header."""
        if header.canary != grant.canary:
            text = "only the gateway itself sends canaries" if header.canary else "this is for canaries alone"
            raise Turned(403, "canary", text, header=header)
        if header.replay and not grant.replay:
            text = "this token may not send again what was settled: give it `replay = true`, or one for everything"
            raise Turned(403, "replay", text, header=header)
        forbidden = grant.forbids(header)
        if forbidden:
            text = f"this token may not send {forbidden} {getattr(header, forbidden)!r}"
            raise Turned(403, forbidden, text, header=header)


def beats_in(body: bytes) -> list[Header]:
    """The heartbeats' headers of a request that was turned away for its token, as far as they can be read."""
    headers: list[Header] = []
    with contextlib.suppress(BadBatch):  # what is readable was read; nothing of it is believed anyway
        headers.extend(batch.header for batch in unpack(body))
    return [header for header in headers if header.dataset == "heartbeat" and not header.canary]


def _digest_of(token: TokenSettings) -> bytes:
    return bytes.fromhex(token.sha256) if token.sha256 else hashlib.sha256(token.token.encode()).digest()
