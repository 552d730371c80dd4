"""`lastbeat index`: how the indices of Elasticsearch are laid out, and how they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collector.settings import ElasticSettings
from shippers.errors import Misconfigured

from .running import find
from .settings import Settings

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings; ./lastbeat.toml if it is there.")]

app = typer.Typer(help="How Elasticsearch's indices are laid out.", no_args_is_help=True)


@app.command("plan")
def plan_command(config: Config = None) -> None:
    """What `apply` would change; changes nothing. Exit code 1 if there is anything."""
    from collector.elastic.client import ElasticClient
    from collector.elastic.plan import plan

    settings = _elastic(find(config))
    changes = plan(ElasticClient(settings), settings)
    for change in changes:
        typer.echo(change)
    typer.echo(f"{len(changes)} differences" if changes else "● the cluster is as the settings say")
    raise typer.Exit(1 if changes else 0)


@app.command("apply")
def apply_command(config: Config = None) -> None:
    """Make the cluster as the settings say; safe to repeat."""
    from collector.elastic.client import ElasticClient
    from collector.elastic.plan import apply

    settings = _elastic(find(config))
    for change in apply(ElasticClient(settings), settings):
        typer.echo(change)


def _elastic(settings: Settings) -> ElasticSettings:
    if settings.elastic is None:
        raise Misconfigured("these settings name no Elasticsearch: a section [elastic] with `urls` does")
    return settings.elastic
