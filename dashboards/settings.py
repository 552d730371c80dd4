"""[boards]: where the boards are served."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BoardSettings(BaseModel):
    """[boards] of lastbeat.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(7412, ge=0, le=65535)
