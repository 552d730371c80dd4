"""The collector's settings: sections of lastbeat.toml. Each checks itself; only `compose` reads the file."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A section of lastbeat.toml: an unknown name in it is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JournalSettings(Section):
    """[journal]: the local journal."""

    segment_bytes: int = Field(64 * 1024 * 1024, ge=4096)
    max_bytes: int = Field(10 * 1024**3, ge=1024 * 1024)
    """Appends are refused beyond this, unless segments that every group has read can be deleted."""
    max_age_s: float = Field(2 * 86_400, gt=0)
    """Read segments older than this are deleted."""


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:@+-]{1,128}$")]
Region = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class TokenSettings(Section):
    """[[gateway.tokens]]: what the bearer of a token may send. Patterns are the shell's (`pay-*`); `*` is any."""

    name: str = ""
    """Who it was given to: for people."""
    token: str = ""
    sha256: str = ""
    """In place of the token: its SHA-256 in hexadecimal, so that the settings hold no secret."""
    regions: tuple[str, ...] = ("*",)
    services: tuple[str, ...] = ("*",)
    datasets: tuple[str, ...] = ("*",)

    @model_validator(mode="after")
    def _one_of_both(self) -> TokenSettings:
        if bool(self.token) == bool(self.sha256):
            raise ValueError("a token needs either `token` or `sha256`, not both")
        if self.sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", self.sha256):
            raise ValueError("`sha256` must be 64 hexadecimal digits")
        return self


class GatewaySettings(Section):
    """[gateway]: where shippers send."""

    name: Name = "gw-1"
    ingress: Name = "default"
    """The address that services reach this gateway through, by a name; gateways behind one address share it."""
    host: str = "127.0.0.1"
    port: int = Field(7411, ge=0, le=65535)
    public_url: str = ""
    """Where a new client reaches this gateway; the canary goes there. Empty: http://host:port."""
    regions: tuple[Region, ...] = Field(("default",), min_length=1)
    """Regions that get canaries from the start; those seen in batches are added. /beat takes the first by default."""
    max_regions: int = Field(100, ge=1)
    """A region beyond these is refused, so that a wild sender can't make thousands of topics."""
    tokens: tuple[TokenSettings, ...] = ()
    """Without any, everybody may send, and the gateway binds to loopback only."""
    max_request_bytes: int = Field(32 * 1024**2, ge=1024)
    max_inflight_bytes: int = Field(256 * 1024**2, ge=1024**2)
    """Bodies held in memory at once; beyond that requests are answered with 503."""
    read_timeout_s: float = Field(20.0, gt=0)
    """How long a client may take to send a request's body."""
    canary_interval_s: float = Field(1.0, gt=0)


class LakeSettings(Section):
    """[lake]: the Delta tables."""

    keep_days: int = Field(400, ge=1)
    memory_mb: int = Field(1024, ge=256)
    """What one process may use for the lake: the indexer and the boards each have this much."""
    threads: int = Field(2, ge=1)
