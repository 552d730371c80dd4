"""What the doctor looks at before anything runs: Python, libraries, access, folder, disk. Changes nothing."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import shutil
import sys
import tempfile

from .check import Check, Grade
from .settings import Settings

_NEEDED = ("deltalake", "duckdb", "pyarrow", "starlette", "uvicorn", "streamlit", "altair", "apprise", "apscheduler")
_KAFKA = ("kafka", "crc32c", "lz4", "orjson")
_ELASTIC = ("elastic_transport", "isal")
_OLDEST_PYTHON = (3, 11)
_LOW_DISK, _FULL_DISK = 5 * 1024**3, 512 * 1024**2


def python() -> Check:
    """Is this Python new enough?"""
    version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if sys.version_info < _OLDEST_PYTHON:
        return Check("Python", Grade.BAD, f"{version} at {sys.executable}", "install Python 3.11 or newer")
    return Check("Python", Grade.GOOD, version)


def libraries(settings: Settings) -> Check:
    """Is everything there that the platform needs, in the form that these settings ask for?"""
    extras = {
        "platform": _NEEDED,
        "kafka": _KAFKA if settings.kafka else (),
        "elastic": _ELASTIC if settings.elastic else (),
    }
    needed = [name for names in extras.values() for name in names]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        todo = f"pip install 'lastbeat[{','.join(extra for extra, names in extras.items() if names)}]'"
        return Check("Libraries", Grade.BAD, f"missing: {', '.join(missing)}", todo)
    return Check("Libraries", Grade.GOOD, f"all {len(needed)} that the platform needs")


def binding(settings: Settings) -> Check:
    """Can strangers reach what asks nobody who they are?"""
    gateway, boards = settings.gateway, settings.boards
    if not _is_loopback(gateway.host) and not gateway.tokens:
        words = f"the gateway listens on {gateway.host} and knows no tokens"
        return Check("Access", Grade.BAD, words, 'set [gateway] tokens, or host = "127.0.0.1"')
    if not _is_loopback(boards.host):
        words = f"the boards listen on {boards.host} and ask for no password"
        return Check("Access", Grade.WARN, words, 'put them behind a proxy that does, or host = "127.0.0.1"')
    return Check("Access", Grade.GOOD, "with tokens" if gateway.tokens else "from this machine only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def folder(settings: Settings) -> Check:
    """Can the data folder be written?"""
    place = settings.data.absolute()
    nearest = next(path for path in (place, *place.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"doctor")
    except OSError as error:
        words = f"{nearest} can't be written: {error.strerror or error}"
        return Check("Data folder", Grade.BAD, words, f"make it writable for uid {os.getuid()}, or set `data`")
    return Check("Data folder", Grade.GOOD, f"{place}" + ("" if place.exists() else ", made at the first start"))


def disk(settings: Settings) -> Check:
    """Is there room?"""
    place = settings.data.absolute()
    nearest = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    words = f"{free / 1024**3:.1f} GiB free at {nearest}"
    if free < _FULL_DISK:
        return Check("Disk", Grade.BAD, words, "make room: the journal will refuse appends, and shippers will wait")
    if free < _LOW_DISK:
        return Check("Disk", Grade.WARN, words, "make room, or lower [journal] max_bytes and [lake] keep_days")
    return Check("Disk", Grade.GOOD, words)
