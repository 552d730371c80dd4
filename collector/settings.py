"""The collector's settings: sections of lastbeat.toml. Each checks itself; only `compose` reads the file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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


class GatewaySettings(Section):
    """[gateway]: where shippers send."""

    name: str = "gw-1"
    ingress: str = "default"
    """The address that services reach this gateway through, by a name; gateways behind one address share it."""
    host: str = "127.0.0.1"
    port: int = Field(7411, ge=0, le=65535)
    public_url: str = ""
    """Where a new client reaches this gateway; the canary goes there. Empty: http://host:port."""


class LakeSettings(Section):
    """[lake]: the Delta tables."""

    keep_days: int = Field(400, ge=1)
