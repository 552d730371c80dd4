"""Who sends: the names that every event, batch and beat of a process carries. Decides nothing, looks nothing up."""

from __future__ import annotations

import dataclasses
import re
import secrets
from dataclasses import dataclass

from .text import quote

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_NAME = re.compile(r"[\w.:@+-]{1,128}")
_BOOT_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def new_boot() -> str:
    """A boot id: random, new at each start of a process and in each forked child (16 letters, 82 bits)."""
    return "".join(secrets.choice(_BOOT_LETTERS) for _ in range(16))


def clean_name(text: str) -> str:
    """The nearest allowed name for a service or an instance."""
    return re.sub(r"[^\w.:@+-]+", "-", text).strip("-")[:128] or "unknown"


def clean_region(text: str) -> str:
    """The nearest allowed name for a region."""
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:40] or "default"


def is_name(text: str) -> bool:
    """Whether a batch's header may carry `text` as its service or instance."""
    return _NAME.fullmatch(text) is not None


def is_region(text: str) -> bool:
    """Whether a batch's header may carry `text` as its region."""
    return _REGION.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Identity:
    """A process's names. Empty text means unknown, and is left out of events."""

    service: str
    region: str
    instance: str
    version: str = ""
    environment: str = ""
    zone: str = ""
    host: str = ""

    def child(self, parent_pid: int, pid: int) -> Identity:
        """The identity of a forked child. It needs an instance of its own: two processes that beat under one name
        would look like one that keeps restarting."""
        own = f"-{parent_pid}"
        stem = self.instance[: -len(own)] + "-" if self.instance.endswith(own) else self.instance[:116] + "."
        return dataclasses.replace(self, instance=f"{stem}{pid}")

    def json(self, pid: int) -> str:
        """The part of every event that never changes: `"service":{…},"cloud":{…},"host":{…},"process":{…}`."""
        service = _object(
            name=quote(self.service),
            version=_text(self.version),
            environment=_text(self.environment),
            node=_object(name=quote(self.instance)),
        )
        cloud = _object(region=quote(self.region), availability_zone=_text(self.zone))
        host = f',"host":{_object(name=_text(self.host))}' if self.host else ""
        return f'"service":{service},"cloud":{cloud}{host},"process":{{"pid":{pid}}}'


def _text(text: str) -> str:
    return quote(text) if text else ""


def _object(**members: str) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in members.items() if value) + "}"
