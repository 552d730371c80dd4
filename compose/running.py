"""Where the platform that runs on a data folder is: its supervisor says it in run/up.json, a second terminal reads it.

The file is believed only while its writer lives: that one holds a lock on it, which ends with the process, however it
ends. A process id alone could be another's by now.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from collector.settings import ElasticSettings, KafkaSettings
from shippers.errors import Misconfigured

from .settings import Settings, load


@dataclass(frozen=True, slots=True)
class Running:
    """The addresses of a platform that runs. `kafka` and `elastic` are empty in the embedded form."""

    pid: int
    gateway: str
    boards: str
    kafka: str = ""
    elastic: tuple[str, ...] = ()


def tell(settings: Settings) -> IO[str]:
    """Say where this platform is, for as long as the file that is returned stays open. Called by the supervisor."""
    told = Running(
        os.getpid(),
        settings.gateway_url,
        settings.boards_url,
        settings.kafka.bootstrap if settings.kafka else "",
        settings.elastic.urls if settings.elastic else (),
    )
    fresh = _file(settings).with_suffix(f".{told.pid}")
    file = fresh.open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    json.dump(asdict(told), file)
    file.flush()
    fresh.replace(_file(settings))  # nobody sees it without its lock
    return file


def running(settings: Settings) -> Running | None:
    """What runs on this data folder; None if nothing does."""
    try:
        with _file(settings).open() as file:
            if not _is_held(file):
                return None
            up = json.load(file)
        return Running(int(up["pid"]), up["gateway"], up["boards"], up["kafka"], tuple(up["elastic"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def at(settings: Settings, up: Running) -> Settings:
    """The settings with the addresses of what runs. Those of Kafka and Elasticsearch that the settings name stay."""
    chosen: dict[str, object] = {
        name: section.model_copy(update={"port": urlsplit(url).port or section.port})
        for name, section, url in (("gateway", settings.gateway, up.gateway), ("boards", settings.boards, up.boards))
    }
    kafka, elastic = settings.kafka or KafkaSettings(), settings.elastic or ElasticSettings()
    if up.kafka and "bootstrap" not in kafka.model_fields_set:
        chosen["kafka"] = kafka.model_copy(update={"bootstrap": up.kafka})
    if up.elastic and "urls" not in elastic.model_fields_set:
        chosen["elastic"] = elastic.model_copy(update={"urls": up.elastic})
    return settings.model_copy(update=chosen)


def find(config: Path | None) -> Settings:
    """The settings of the platform that a command asks. Raises Misconfigured if there is none where they lead."""
    settings = load(config)
    if up := running(settings):
        settings = at(settings, up)
    if not settings.elastic and not settings.data.is_dir():
        raise Misconfigured(
            f"there is no platform at {settings.data.absolute()}: set `data` (LASTBEAT_DATA), or name its settings "
            "with --config"
        )
    return settings


def _file(settings: Settings) -> Path:
    return settings.run_path / "up.json"


def _is_held(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
