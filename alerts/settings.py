"""The alerts' settings: the section [alerts] of lastbeat.toml. Only `compose` reads the file."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from collector.settings import Section

from .incidents import Severity


class NotifierSettings(Section):
    """[[alerts.notifiers]]: where notices go. `least` is the least severity it gets; with `escalation` it gets only
    what nobody has acknowledged in time."""

    name: str = "console"
    kind: Literal["console", "webhook", "apprise"] = "console"
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    timeout_s: float = Field(default=10.0, gt=0, le=60)
    least: Severity = Severity.WARNING
    escalation: bool = False

    @model_validator(mode="after")
    def _has_url(self) -> Self:
        if self.kind == "webhook" and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"notifier {self.name}: a webhook needs a url that begins with http:// or https://")
        if self.kind == "apprise" and "://" not in self.url:
            raise ValueError(f"notifier {self.name}: an apprise notifier needs an apprise url, such as slack://…")
        return self


class ServiceSettings(Section):
    """[[alerts.services]]: what is held of some services. `service` and `region` are patterns (`pay*`); the first rule
    that matches counts. Intervals here win over what the service's beats say."""

    service: str = "*"
    region: str = "*"
    minimum: int = Field(default=1, ge=1)
    interval_s: float | None = Field(default=None, ge=0.2, le=86_400)
    grace_s: float | None = Field(default=None, ge=0, le=86_400)


class SilenceSettings(Section):
    """[[alerts.silences]]: a maintenance window, in seconds since the epoch: incidents are kept, nobody is told."""

    service: str = "*"
    region: str = "*"
    starts_at: float
    ends_at: float
    comment: str = ""


class AlertSettings(Section):
    """[alerts]: the watch, its incidents and whom it tells."""

    notifiers: tuple[NotifierSettings, ...] = (NotifierSettings(),)
    services: tuple[ServiceSettings, ...] = ()
    silences: tuple[SilenceSettings, ...] = ()
    blind_after_s: float = Field(default=10.0, ge=3)
    """Without a canary for this long, the watch says that it is blind."""
    repeat_s: float = Field(default=4 * 3600, gt=0)
    """A page that nobody has acknowledged is repeated this often."""
    escalate_after_s: float = Field(default=15 * 60, gt=0)
    """A page that nobody has acknowledged goes to the notifiers for escalation after this."""
    instance_pending_s: float = Field(default=30.0, ge=0)
    """One instance's death is told after this long, unless it was replaced by then."""
    crash_loop_restarts: int = Field(default=5, ge=2)
    """So many restarts without a goodbye …"""
    crash_loop_window_s: float = Field(default=600, gt=0)
    """… within this long are a crash loop."""
    flush_s: float = Field(default=2.0, gt=0)
    """How often the fleet's rows and the watch's own positions are written."""
    forget_after_s: float = Field(default=7 * 86_400, gt=0)
    """An instance that ended this long ago leaves the watch's memory. Its row stays."""
    dead_mans_switch_url: str = ""
    """Asked (GET) each minute while the watch sees: an outside service pages when that stops."""
    outbox: Path = Path("lastbeat-data/outbox.jsonl")
    """Where incidents go while State can't be reached."""

    def of_service(self, region: str, service: str) -> ServiceSettings:
        """The rule for a service."""
        return next(
            (rule for rule in self.services if fnmatchcase(service, rule.service) and fnmatchcase(region, rule.region)),
            _NO_RULE,
        )


_NO_RULE = ServiceSettings()
