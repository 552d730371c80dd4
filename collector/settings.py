"""The collector's settings: sections of lastbeat.toml. Each checks itself; only `compose` reads the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from shippers.batch import DATASETS


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
    replay: bool | None = None
    """Whether `lastbeat dead replay` and `lastbeat resend` may use it; unless it is said, who may send anything may."""

    @property
    def covers_everything(self) -> bool:
        """Whether it is bound to no region, service or dataset."""
        return all("*" in allowed for allowed in (self.regions, self.services, self.datasets))

    @property
    def may_replay(self) -> bool:
        """Whether its bearer may send numbers that aren't his own."""
        return self.covers_everything if self.replay is None else self.replay

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


class IndexSettings(Section):
    """[elastic.indices."<dataset>"] or "<dataset>/<region>": how one is built; None: as the wider one says."""

    shards: int | None = Field(None, ge=1, le=1024)
    replicas: int | None = Field(None, ge=0, le=10)
    refresh_s: float | None = Field(None, gt=0)


class ElasticSettings(Section):
    """[elastic]: the cluster, and how its indices are built and kept."""

    urls: tuple[str, ...] = Field(("http://127.0.0.1:9200",), min_length=1)
    user: str = ""
    password: SecretStr = SecretStr("")
    api_key: SecretStr = SecretStr("")
    ca_certs: str = ""
    """A file of certificates that the cluster's own is checked against; empty: the system's."""
    timeout_s: float = Field(60.0, gt=0)
    prefix: str = Field("lastbeat", pattern=r"^[a-z][a-z0-9_]{0,39}$")
    """All index names begin with it, followed by a hyphen."""
    shards: int = Field(1, ge=1, le=1024)
    replicas: int = Field(0, ge=0, le=10)
    refresh_s: float = Field(5.0, gt=0)
    """How soon an event can be found after it was stored."""
    indices: Mapping[str, IndexSettings] = {}
    """Other numbers for some, by `<dataset>` or `<dataset>/<region>`; the narrower wins."""
    hot_days: int = Field(14, ge=1)
    """Days are deleted once older than this (and archived, where there is an archive)."""
    skewed_days: int = Field(90, ge=1)
    """Events whose days no sound clock gives are deleted, a month of arrival at once, when all came longer ago."""
    dead_days: int = Field(90, ge=1)
    """Dead letters that nobody has settled are deleted when they came longer ago."""
    archive: bool = True
    """The role `archiver` keeps every event in the lake too; no day is deleted before the lake is proven to hold it."""
    in_flight: int = Field(3, ge=1, le=32)
    """Bulk requests under way at once, at most."""
    request_bytes: int = Field(4 * 1024**2, ge=64 * 1024, le=64 * 1024**2)
    """The size of a bulk request, at most (a single line may be larger)."""
    patience_s: float = Field(10.0, ge=0)
    """How long a write insists on events that are turned away for now, before it gives them back to be tried later."""

    @field_validator("urls")
    @classmethod
    def _without_user(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        if any("@" in url for url in urls):  # every error and every log names them
            raise ValueError("a name and password don't belong in an url: put them into `user` and `password`")
        return urls

    @field_validator("indices")
    @classmethod
    def _named_by_dataset(cls, indices: Mapping[str, IndexSettings]) -> Mapping[str, IndexSettings]:
        for name in indices:
            if name.partition("/")[0] not in DATASETS:
                raise ValueError(f"{name!r}: must be <dataset> or <dataset>/<region>, dataset one of {DATASETS}")
        return indices


_HOST_PORT = r"([^\s,:]+|\[[0-9a-fA-F:]+\]):\d{1,5}"


class KafkaSettings(Section):
    """[kafka]: the journal, where it is Kafka."""

    bootstrap: str = Field("127.0.0.1:9092", pattern=f"^ *{_HOST_PORT}( *, *{_HOST_PORT})* *$")
    """host:port, several with commas."""
    prefix: str = Field("lastbeat", pattern=r"^[A-Za-z0-9_-]{1,60}$")
    """Topics are `<prefix>.<region>.<dataset>`, reader groups `<prefix>.<group>`."""
    partitions: int = Field(6, ge=1, le=1000)
    """Of each topic made from now on (a beat topic has one); it is never changed later."""
    replication: int = Field(1, ge=1, le=10)
    retention_s: float = Field(2 * 86_400, gt=0)
    append_timeout_s: float = Field(5.0, ge=1)
    """How long an append waits for its acknowledgement before the sender is told to try again."""
    max_pending_bytes: int = Field(64 * 1024 * 1024, ge=1024 * 1024)
    """What may be on its way to the brokers at once; beyond it, appends wait, then are refused."""
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: str = ""
    password: SecretStr = SecretStr("")
    ca_file: Path | None = None
    """Certificates that the brokers' own are checked against; none: the system's."""
    cert_file: Path | None = None
    """Our own certificate, where the brokers ask for one; with it `key_file`, unless both are in one file."""
    key_file: Path | None = None
