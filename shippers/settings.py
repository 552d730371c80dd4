"""What a shipper needs to know, from arguments, LASTBEAT_*, or OpenTelemetry's variables, in this order.

An argument that can't work raises Misconfigured, at start. A variable that can't work never harms the host: it is
left out, with one warning that says what is wrong.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from .errors import Misconfigured
from .identity import Identity, clean_name, clean_region, is_name, is_region
from .transports.http import Endpoint, check_token

DEFAULT_URL = "http://127.0.0.1:7411"

T = TypeVar("T")

# Argument: (variable, OpenTelemetry's resource attributes)
_NAMES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "service": ("LASTBEAT_SERVICE", ("service.name",)),
    "region": ("LASTBEAT_REGION", ("cloud.region",)),
    "instance": ("LASTBEAT_INSTANCE", ("service.instance.id",)),
    "version": ("LASTBEAT_VERSION", ("service.version",)),
    "environment": ("LASTBEAT_ENVIRONMENT", ("deployment.environment.name", "deployment.environment")),
    "zone": ("LASTBEAT_ZONE", ("cloud.availability_zone",)),
    "host": ("LASTBEAT_HOST", ("host.name",)),
    "url": ("LASTBEAT_URL", ()),
    "token": ("LASTBEAT_TOKEN", ()),
    "interval": ("LASTBEAT_INTERVAL", ()),
    "grace": ("LASTBEAT_GRACE", ()),
    "buffer_events": ("LASTBEAT_BUFFER_EVENTS", ()),
    "buffer_bytes": ("LASTBEAT_BUFFER_BYTES", ()),
    "spool": ("LASTBEAT_SPOOL", ()),
    "spool_bytes": ("LASTBEAT_SPOOL_BYTES", ()),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was decided, checked. `warnings` are for stderr, once. `spool` is a folder, "" for none."""

    identity: Identity
    url: str = DEFAULT_URL
    token: str = ""
    interval_s: float = 10.0
    grace_s: float = 20.0
    buffer_events: int = 50_000
    buffer_bytes: int = 32 * 1024 * 1024
    spool: str = ""
    spool_bytes: int = 256 * 1024 * 1024
    warnings: tuple[str, ...] = ()


def load(arguments: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """Decide the settings. `arguments` has names of _NAMES; None means "not given". Raises Misconfigured."""
    if unknown := sorted(set(arguments) - set(_NAMES)):
        raise Misconfigured(f"unknown setting {', '.join(unknown)}; known are {', '.join(_NAMES)}")
    source = _Source(arguments, os.environ if environ is None else environ)
    host = source.get("host", socket.gethostname(), _short_text)
    identity = Identity(
        service=source.get("service", "unknown", _name, clean_name),
        region=source.get("region", "default", _region, clean_region),
        instance=source.get("instance", clean_name(f"{host}-{os.getpid()}"), _name, clean_name),
        version=source.get("version", "", _short_text),
        environment=source.get("environment", "", _short_text),
        zone=source.get("zone", "", _short_text),
        host=host,
    )
    if identity.service == "unknown":
        source.warnings.append("the service has no name: pass one, or set LASTBEAT_SERVICE; it is called 'unknown'")
    interval_s = source.get("interval", 10.0, _seconds)
    return Settings(
        identity,
        source.get("url", DEFAULT_URL, _url),
        source.get("token", "", _token),
        interval_s,
        source.get("grace", 2 * interval_s, _seconds),
        source.get("buffer_events", 50_000, _count),
        source.get("buffer_bytes", 32 * 1024 * 1024, _count),
        source.get("spool", "", _folder),
        source.get("spool_bytes", 256 * 1024 * 1024, _spool_bytes),
        tuple(source.warnings),
    )


class _Source:
    def __init__(self, arguments: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._arguments, self._environ = arguments, environ
        self._otel = _otel_attributes(environ)
        self.warnings: list[str] = []

    def get(self, name: str, default: T, check: Callable[[Any], T], clean: Callable[[str], T] | None = None) -> T:
        given = self._arguments.get(name)
        if given is not None:
            try:
                return check(given)
            except (ValueError, TypeError, Misconfigured) as error:
                shown = "***" if name == "token" else repr(given)
                raise Misconfigured(f"{name}={shown}: {error}") from None
        variable, attributes = _NAMES[name]
        places = [(variable, self._environ.get(variable, ""))]
        places += [(f"OpenTelemetry's {attribute}", self._otel.get(attribute, "")) for attribute in attributes]
        for place, text in places:
            if not text.strip():
                continue
            try:
                return check(text.strip())
            except (ValueError, Misconfigured) as error:
                shown = "***" if name == "token" else repr(text)
                instead = default if clean is None else clean(text)
                self.warnings.append(f"{place}={shown}: {error}; using {instead!r}")
                return instead
        return default


def _otel_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, _, value = pair.partition("=")
        found[key.strip()] = unquote(value.strip())
    if name := environ.get("OTEL_SERVICE_NAME"):
        found["service.name"] = name
    return found


def _name(value: Any) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise ValueError("must be letters, digits and . _ : @ + -, at most 128")
    return value


def _region(value: Any) -> str:
    if not isinstance(value, str) or not is_region(value):
        raise ValueError("must be lower-case letters, digits and -, at most 40")
    return value


def _short_text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 256:
        raise ValueError("must be text of at most 256 characters")
    return value


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise ValueError("must be a number of seconds") from None
    if not math.isfinite(seconds) or not 0.1 <= seconds <= 86_400:
        raise ValueError("must be 0.1 to 86400 seconds")
    return seconds


def _count(value: Any) -> int:
    try:
        count = int(value)
    except (TypeError, ValueError):
        raise ValueError("must be a whole number") from None
    if not 100 <= count <= 2**40:
        raise ValueError("must be at least 100")
    return count


def _folder(value: Any) -> str:
    """A folder's absolute path: the host may change its working directory at any time."""
    path = os.fspath(value)
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise ValueError("must be the path of a folder")
    return str(Path(path).expanduser().absolute())


def _spool_bytes(value: Any) -> int:
    if (count := _count(value)) < 16 * 1024 * 1024:
        raise ValueError("must be at least 16777216, a few requests' worth")
    return count


def _url(value: Any) -> str:
    Endpoint.parse(value if isinstance(value, str) else "")
    return str(value)


def _token(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("must be text")
    return check_token(value)
