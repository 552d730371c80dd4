"""Gets the servers' files from Maven Central, checks each against its pinned SHA-256, and lays them out ready to run.

Nothing is believed because of where it came from: a file with another hash is thrown away, fetched once more, and then
refused. What is laid out is renamed into place whole, so a broken-off download is never taken for the real thing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from shippers.errors import Misconfigured, Unavailable

_ELASTICSEARCH = "elasticsearch"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of Maven Central: `group:name:version:packaging`, and what its bytes must hash to."""

    group: str
    name: str
    version: str
    packaging: str
    sha256: str


def pinned() -> list[Artifact]:
    """Everything that artifacts.txt names."""
    found = []
    for line in Path(__file__).with_name("artifacts.txt").read_text().splitlines():
        coordinates, sha256 = line.split()
        group, name, version, packaging = coordinates.split(":")
        found.append(Artifact(group, name, version, packaging, sha256))
    return found


def fetch_kafka(software: Path, console: Console) -> Path:
    """The folder of Kafka's jars."""
    jars = [one for one in pinned() if one.packaging == "jar"]
    version = next(one.version for one in jars if one.name == "kafka-clients")

    def lay_out(folder: Path) -> None:
        for artifact, file in _download(jars, "Kafka", console):
            shutil.copyfile(file, folder / f"{artifact.name}-{artifact.version}.jar")

    return _once(software / f"kafka-{version}-{_fingerprint(jars)}", lay_out)


def fetch_elasticsearch(software: Path, console: Console) -> Path:
    """Elasticsearch's home folder, with bin, lib and modules."""
    archives = [one for one in pinned() if one.name == _ELASTICSEARCH]

    def lay_out(folder: Path) -> None:
        for artifact, file in _download(archives, "Elasticsearch", console):
            _unzip(file, folder, inner=f"{artifact.name}-{artifact.version}")

    return _once(software / f"elasticsearch-{archives[0].version}-{_fingerprint(archives)}", lay_out)


def _fingerprint(artifacts: list[Artifact]) -> str:
    return hashlib.sha256("".join(one.sha256 for one in artifacts).encode()).hexdigest()[:8]


def _once(target: Path, lay_out: Callable[[Path], None]) -> Path:
    """Build `target` beside itself and rename it into place; whoever comes second throws his own away."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        work.chmod(0o755)  # the servers run as another user when we are root
        lay_out(work)
        try:
            work.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _unzip(archive: Path, folder: Path, inner: str) -> None:
    """Extract, without the archive's one outer folder, and with the modes that zipfile forgets."""
    with zipfile.ZipFile(archive) as source:
        for member in source.infolist():
            source.extract(member, folder)
            mode = member.external_attr >> 16 & 0o777
            (folder / member.filename).chmod(mode | (0o755 if member.is_dir() else 0o644))
    for entry in (folder / inner).iterdir():
        entry.rename(folder / entry.name)
    (folder / inner).rmdir()


def _download(artifacts: list[Artifact], what: str, console: Console) -> Iterator[tuple[Artifact, Path]]:
    from jgo.maven import MavenContext, PythonResolver

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        overall = progress.add_task(f"{what}: files", total=None)
        progress.update(overall, description=f"fetching {what} ({len(artifacts)} files)")
        context = MavenContext(resolver=PythonResolver(progress_callback=_bars(progress)), timeout=60)
        for artifact in artifacts:
            yield artifact, _verified(context, artifact)


def _bars(progress: Progress) -> Callable[[str, int], AbstractContextManager[Callable[[int], None]]]:
    @contextmanager
    def bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
        task = progress.add_task(name, total=total)
        yield lambda size: progress.advance(task, size)
        progress.remove_task(task)

    return bar


def _verified(context: Any, artifact: Artifact) -> Path:
    source = context.project(artifact.group, artifact.name).at_version(artifact.version)
    wanted = source.artifact(packaging=artifact.packaging)
    found = ""
    for _ in range(2):
        try:
            file = Path(wanted.resolve())
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
            wanted.cached_path.unlink(missing_ok=True)
            raise Unavailable(f"{wanted} can't be fetched from Maven Central: {error}") from None
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found == artifact.sha256:
            return file
        file.unlink()  # cut off, or not what was pinned
    raise Misconfigured(f"{wanted} has SHA-256 {found}, pinned is {artifact.sha256}: it is not used")


def software_folder() -> Path:
    """Where fetched servers are kept for every data folder of this machine; readable by the user they run as."""
    if os.geteuid() == 0:
        return Path("/var/cache/lastbeat")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lastbeat"
