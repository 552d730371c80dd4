"""`lastbeat stack …`: the local Kafka and Elasticsearch, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from shippers.clock import SystemClock

from .stack import Stack, Status

app = typer.Typer(
    help="A real Kafka and Elasticsearch on this machine, without Docker: for development and drills.",
    no_args_is_help=True,
)
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings; ./lastbeat.toml if it is there.")]


@app.command()
def up(config: Config = None) -> None:
    """Start what isn't up; the first time, fetch it (about 180 MB)."""
    stack, console = _stack(config)
    stack.up()
    _show(stack.status(), console)


@app.command()
def status(config: Config = None) -> None:
    """Where both listen, and how they are. Exit code 1 if one doesn't serve."""
    stack, console = _stack(config)
    found = stack.status()
    _show(found, console)
    raise typer.Exit(0 if all(server.serving for server in found) else 1)


@app.command()
def down(config: Config = None) -> None:
    """End both; their data stays."""
    stack, console = _stack(config)
    with console.status("stopping …"):
        stack.down()
    _show(stack.status(), console)


@app.command()
def reset(config: Config = None, yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False) -> None:
    """End both and delete everything that they hold."""
    stack, console = _stack(config)
    if not yes:
        typer.confirm(f"Delete all that Kafka and Elasticsearch hold in {stack.home}?", abort=True)
    stack.reset()
    _show(stack.status(), console)


def _stack(config: Path | None) -> tuple[Stack, Console]:
    from compose.settings import load

    console = Console(highlight=False)
    return Stack(load(config).data, SystemClock(), console), console


def _show(servers: list[Status], console: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for server in servers:
        how = "[green]up[/green]" if server.serving else "[yellow]starting[/yellow]" if server.running else "down"
        where = server.address if server.running else ""
        pid = f"pid {server.pid}" if server.pid else ""
        table.add_row(server.name, how, where, pid, f"{server.disk_bytes / 1024**2:,.0f} MB")
    console.print(table)
