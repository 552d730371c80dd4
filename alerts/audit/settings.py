"""The auditor's settings: the section [audit] of lastbeat.toml. Only `compose` reads the file."""

from __future__ import annotations

from pydantic import Field

from collector.settings import Section


class AuditSettings(Section):
    """[audit]: how often the auditor looks."""

    every_s: float = Field(default=1.0, gt=0, le=60)
    """How often what was said is held against what is stored."""
    statement_s: float = Field(default=5.0, gt=0)
    """How often the statement is written."""
    count_every_s: float = Field(default=900.0, gt=0)
    """How often the hot days' stores are counted against the ledger, which finds what was deleted from them."""
    count_days: int = Field(default=7, ge=1)
    """How many days back they are counted; at least as many as Elasticsearch keeps, and longer what lacks something."""
