"""Finds a JDK that both servers run on: version 21 or newer, whole.

Elasticsearch needs the modules jdk.jdi and jdk.incubator.vector, which trimmed runtimes (a JRE, some container images)
lack. Looked for where people put JDKs; else `cjdk` fetches one. Changes nothing that is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from shippers.errors import Misconfigured

from .server import Runner

OLDEST = 21
MODULES = frozenset({"jdk.jdi", "jdk.incubator.vector"})
QUICK_START = ("-XX:TieredStopAtLevel=1",)
"""For what lives for minutes: Java compiles simply, which halves the CPU of a start, and slows all after it."""
_FOLDERS = (
    "/usr/lib/jvm/*", "/usr/java/*", "/opt/java/*", "/opt/jdk*", "/opt/*jdk*", "~/.sdkman/candidates/java/*",
    "~/.jdks/*", "/Library/Java/JavaVirtualMachines/*/Contents/Home", "/opt/homebrew/opt/openjdk*",
)  # fmt: skip


def find_jdk(cache: Path, runner: Runner) -> Path:
    """A JDK's home that the servers' user can run. Raises Misconfigured, in one line, when there is none."""
    rejected: list[str] = []
    for home in _candidates():
        flaw = _flaw(home, runner)
        if not flaw:
            return home
        rejected.append(f"{home} {flaw}")
    try:
        home = _fetched(cache)
    except Exception as error:  # noqa: BLE001 - cjdk's own errors, and requests' below them
        seen = "; ".join(rejected) or "no Java at all was found"
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise Misconfigured(
            f"Kafka and Elasticsearch need a whole JDK of version {OLDEST} or newer, with "
            f"{' and '.join(sorted(MODULES))}: {seen}; fetching one failed ({why}). Install one or set JAVA_HOME"
        ) from None
    if flaw := _flaw(home, runner):
        raise Misconfigured(f"the JDK that was fetched to {home} {flaw}; set JAVA_HOME to another")
    return home


def _candidates() -> Iterator[Path]:
    """JAVA_HOME first, since somebody chose it; then PATH; then the usual folders, the newest name first."""
    seen: set[Path] = set()
    places: list[Path] = []
    if chosen := os.environ.get("JAVA_HOME"):
        places.append(Path(chosen))
    if java := shutil.which("java"):
        places.append(Path(java).resolve().parent.parent)
    for pattern in _FOLDERS:
        expanded = Path(pattern).expanduser()
        root, glob = Path(expanded.anchor), str(expanded.relative_to(expanded.anchor))
        places.extend(sorted(root.glob(glob), reverse=True))
    for place in places:
        home = place.resolve()
        if home not in seen and (home / "bin" / "java").is_file():
            seen.add(home)
            yield home


def _flaw(home: Path, runner: Runner) -> str:
    """What keeps this JDK from being used; '' for nothing. Asks the JDK itself, as the user that it will run as."""
    try:
        listed = runner.output([str(home / "bin" / "java"), "--list-modules"], timeout_s=30)
    except (OSError, subprocess.SubprocessError):
        return f"can't be run by user {runner.user_name}"
    modules = dict(line.partition("@")[::2] for line in listed.split() if "@" in line)
    major = modules.get("java.base", "").partition(".")[0].partition("-")[0]
    if not major.isdigit() or int(major) < OLDEST:
        return f"is version {modules.get('java.base') or 'unknown'}"
    missing = MODULES - modules.keys()
    return f"lacks {', '.join(sorted(missing))}" if missing else ""


def _fetched(cache: Path) -> Path:
    import cjdk

    return Path(cjdk.java_home(vendor="temurin", version=f"{OLDEST}", cache_dir=cache / "jdk"))
