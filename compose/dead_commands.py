"""`lastbeat dead`: what could not be stored, as a list of what is to be done, and sending it again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alerts.words import ago
from collector.dead_letters import Among, DeadLetter, DeadLetters, id_of, is_void
from collector.replayer import Fate, Played, Replayer
from shippers.errors import Misconfigured

from .inquiries import seconds_of
from .running import find
from .settings import Settings

_SHOWN_BYTES = 4_096
_MOST = 100_000

app = typer.Typer(help="What could not be stored: list it, look at it, mend it, send it again.", no_args_is_help=True)
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings; ./lastbeat.toml if it is there.")]
Region = Annotated[str, typer.Option(help="Only of this region.")]
Service = Annotated[str, typer.Option(help="Only of this service.")]
Dataset = Annotated[str, typer.Option(help="Only of this dataset.")]
Reason = Annotated[str, typer.Option(help="Only with this text in the reason.")]
Since = Annotated[str, typer.Option(help="How far back: 15m, 2h, 3d; all, if not said.")]


@app.command("list")
def list_command(
    config: Config = None,
    region: Region = "",
    service: Service = "",
    dataset: Dataset = "",
    reason: Reason = "",
    since: Since = "",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=_MOST)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What is to be done, newest first; void ones are gone for good. Exit code 1 if any can be sent again."""
    from .wiring import CLOCK

    now = CLOCK.time()
    among = _among(now, region, service, dataset, reason, since)
    raise typer.Exit(print_letters(_keepers(find(config)), among, limit, now, as_json=as_json))


@app.command("show")
def show_command(
    id: str,
    config: Config = None,
    raw: Annotated[bool, typer.Option("--raw", help="The original bytes alone, to be kept in a file.")] = False,
) -> None:
    """One dead letter: why, from where, and its original bytes."""
    raise typer.Exit(print_letter(_keepers(find(config)), id, raw=raw))


@app.command("replay")
def replay_command(
    id: Annotated[str, typer.Argument(help="One letter; without it, all that the options match.")] = "",
    config: Config = None,
    repaired: Annotated[Path | None, typer.Option("--from", help="A file with mended bytes, for one letter.")] = None,
    region: Region = "",
    service: Service = "",
    dataset: Dataset = "",
    reason: Reason = "",
    since: Since = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="How many seconds to wait for the outcome.")] = 60.0,
) -> None:
    """Send dead letters again, under the numbers that they had: twice is once. Exit code 1 unless all were stored."""
    from .wiring import CLOCK, open_sender

    settings = find(config)
    among = _among(CLOCK.time(), region, service, dataset, reason, since)
    if id and among != Among():
        raise Misconfigured("a letter is named: --region, --reason and the like would say nothing more")
    if repaired is not None and not id:
        raise Misconfigured("--from mends one letter: say which, as `lastbeat dead list` names it")
    if not id and among == Among() and not yes:
        raise Misconfigured("name a letter, or what all that shall be sent have in common (--reason …); or say --yes")
    if repaired is not None and not repaired.is_file():
        raise Misconfigured(f"--from {repaired}: there is no such file")
    keepers = _keepers(settings)
    ids = [id] if id else playable(keepers, among)
    if not id and not yes and (not ids or not typer.confirm(f"Send {len(ids)} dead letters again?")):
        typer.echo("nothing was sent")
        return
    with open_sender(settings) as send:
        replayer = Replayer(list(keepers.values()), send, CLOCK)
        played = replayer.play(ids, None if repaired is None else repaired.read_bytes(), wait_s=wait_s)
        raise typer.Exit(print_played(played))


def _keepers(settings: Settings) -> dict[str, DeadLetters]:
    from .wiring import archive_away, open_dead_letters

    if away := archive_away(settings):
        typer.echo(away, err=True)
    return open_dead_letters(settings)


def print_letters(
    keepers: dict[str, DeadLetters], among: Among, limit: int, now: float, *, as_json: bool = False
) -> int:
    """A table, or JSON, of letters, newest first. Returns the exit code: 1 if any can be sent again."""
    found = _listed(keepers, among, limit)
    to_do = int(any(not is_void(letter) for letter, _ in found))
    console = Console(highlight=False, soft_wrap=as_json)
    if as_json:
        for letter, where in found:
            print(json.dumps(_document(letter, where), ensure_ascii=False))
        return to_do
    if not found:
        console.print("● nothing is to be done: no dead letters" + (" like that" if among != Among() else ""))
        return 0
    table = Table(box=None, header_style="bright_black", pad_edge=False)
    for column in ("Letter", "Events", "Region", "Service", "Dataset", "Came", "Not in", "Why"):
        table.add_column(column, overflow="fold")
    for letter, where in found:
        events = Text(f"{letter.count}", justify="right")
        why = Text(letter.reason, style="bright_black" if is_void(letter) else "")
        place = ", ".join(where)
        row = (Text(id_of(letter)), events, letter.region, Text(letter.service), letter.dataset, ago(letter.at, now))
        table.add_row(*row, place, why)
    console.print(table)
    if len(found) == limit:
        console.print(f"the newest {limit}; --limit shows more", style="bright_black")
    return to_do


def print_letter(keepers: dict[str, DeadLetters], id: str, *, raw: bool = False) -> int:
    """All that is known of one letter."""
    kept = {name: letter for name, keeper in keepers.items() if (letter := keeper.get(id)) is not None}
    if not kept:
        raise Misconfigured(f"there is no dead letter {id}; `lastbeat dead list` names them")
    letter = next(iter(kept.values()))
    if raw:
        sys.stdout.buffer.write(letter.original)
        return 0
    console = Console(highlight=False)
    at = datetime.fromtimestamp(letter.at).astimezone().isoformat(" ", "seconds")
    last = f" to {letter.first + letter.count - 1}" if letter.count > 1 else ""
    numbers = f"{letter.first}{last}" if letter.stream else "its header can't be read"
    for name, text in (
        ("letter", id), ("why", letter.reason), ("from", f"{letter.service or '?'} {letter.instance}".strip()),
        ("in", f"{letter.region} {letter.dataset} {letter.day}".strip()), ("read at", letter.source), ("came", at),
        ("stream", letter.stream or "unknown"), ("numbers", numbers), ("not in", ", ".join(kept)),
    ):  # fmt: skip
        console.print(Text.assemble((f"{name:<8}", "bright_black"), _shown(text.encode())))
    if is_void(letter):
        console.print("there are no bytes: its events were given up before they came here", style="bright_black")
        return 0
    console.print(f"\n{len(letter.original)} bytes:", style="bright_black")
    console.print(Text(_shown(letter.original[:_SHOWN_BYTES])))
    if len(letter.original) > _SHOWN_BYTES:
        console.print(f"… {len(letter.original) - _SHOWN_BYTES} more: --raw gives all of them", style="bright_black")
    return 0


def playable(keepers: dict[str, DeadLetters], among: Among) -> list[str]:
    """The names of the letters that can be sent again, the oldest first: later ones may build on them."""
    return [id_of(letter) for letter, _ in reversed(_listed(keepers, among, _MOST)) if not is_void(letter)]


def print_played(played: Iterable[Played]) -> int:
    """What became of each, as soon as it is known. Returns the exit code: 1 unless all were stored."""
    console = Console(highlight=False)
    signs = {Fate.STORED: ("●", "green"), Fate.PENDING: ("…", "yellow")}
    fates: list[Fate] = []
    for one in played:
        fates.append(one.fate)
        sign, colour = signs.get(one.fate, ("✖", "red"))
        name = "" if one.fate is Fate.UNPLAYABLE else f"  {one.id}"  # its words begin with it
        console.print(Text.assemble((f"{sign} {one.fate}", colour), name, (f"  {one.why}", "bright_black")))
    if not fates:
        console.print("nothing was sent: no dead letter that has bytes matches")
    return int(any(fate is not Fate.STORED for fate in fates))


def _listed(keepers: dict[str, DeadLetters], among: Among, limit: int) -> list[tuple[DeadLetter, list[str]]]:
    """Letters of all stores, those of one name together, newest first, each with the stores that lack its events."""
    found: dict[str, tuple[DeadLetter, list[str]]] = {}
    for name, keeper in keepers.items():
        for letter in keeper.find(among, limit):
            found.setdefault(id_of(letter), (letter, []))[1].append(name)
    return sorted(found.values(), key=lambda one: -one[0].at)[:limit]


def _among(now: float, region: str, service: str, dataset: str, reason: str, since: str) -> Among:
    start = now - seconds_of("--since", since) if since else 0.0
    return Among(region=region, service=service, dataset=dataset, reason=reason, since=start)


def _document(letter: DeadLetter, where: list[str]) -> dict[str, object]:
    names = ("stream", "first", "count", "region", "service", "instance", "dataset", "day", "reason", "source", "at")
    known = {name: getattr(letter, name) for name in names}
    return {"id": id_of(letter), **known, "playable": not is_void(letter), "not_in": where}


def _shown(data: bytes) -> str:
    """Bytes as text that does nothing to a terminal: what isn't printable is spelled out."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)
