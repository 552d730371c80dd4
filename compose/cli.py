"""`lastbeat`: the command line. Each command reads the settings, calls one function, and says errors in one line."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from shippers.errors import LastbeatError, Misconfigured

from .dead_commands import app as dead_app
from .index_commands import app as index_app
from .resend_command import resend
from .stack.cli import app as stack_app
from .supervisor import MISCONFIGURED

_LIBRARIES = {
    "httpx": logging.WARNING,
    "apscheduler": logging.WARNING,
    "elastic_transport": logging.ERROR,  # who asked says what it means
    "kafka": logging.CRITICAL,  # each retry of a connection is an ERROR to it; the journal says it once, in words
}

app = typer.Typer(
    name="lastbeat",
    help="Logs and heartbeats of many services: counted to the last event, watched without a false alarm.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(stack_app, name="stack")
app.add_typer(index_app, name="index")
app.add_typer(dead_app, name="dead")
app.command()(resend)
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings; ./lastbeat.toml if it is there.")]
OnStack = Annotated[bool, typer.Option("--stack", help="On a real Kafka and Elasticsearch; see `lastbeat stack`.")]
UntilStdinCloses = Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)]


@app.command()
def up(config: Config = None, stack: OnStack = False) -> None:
    """Run the platform: gateway, indexer, watch, auditor and boards. Ctrl-C ends it."""
    from .settings import load
    from .up import on_stack, run

    settings = load(config)
    raise typer.Exit(run(on_stack(settings) if stack else settings, config))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Run unattended, check every count, and end.")] = False,
    data: Annotated[Path, typer.Option(help="Emptied at start.")] = Path("lastbeat-data/demo"),
    stack: OnStack = False,
    hours: Annotated[int, typer.Option(min=1, max=48, help="How much history to fill in.")] = 24,
) -> None:
    """A small payment shop with a day of history; one service dies, and you see what on-call would see."""
    from .demo.run import run

    raise typer.Exit(run(once, data, stack=stack, hours=hours))


@app.command()
def drill(
    stack: OnStack = False,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="How long the senders log; a quarter if not given.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Plays that schedule again.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="Only this kind of fault; may be given again.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Use this folder and leave it, to look at what happened.")] = None,
    observe: Annotated[
        bool, typer.Option("--observe", help="Break nothing: read and count on your own platform.")
    ] = False,
    config: Config = None,
) -> None:
    """Break real parts of a platform of its own on a seeded schedule, heal them, and audit every event and alarm."""
    from .drill_commands import run, run_observe

    if observe:
        raise typer.Exit(run_observe(config, minutes))
    raise typer.Exit(run(stack, minutes, seed, fault or [], keep))


@app.command()
def fleet(config: Config = None) -> None:
    """Every service that ever reported: how it is, since when, and why."""
    from .inquiries import print_fleet
    from .running import find
    from .wiring import CLOCK, open_state

    raise typer.Exit(print_fleet(open_state(find(config)), CLOCK.time()))


@app.command()
def logs(
    config: Config = None,
    service: Annotated[list[str] | None, typer.Option(help="Only this service; may be given again.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only this region.")] = None,
    level: Annotated[list[str] | None, typer.Option(help="Only this level.")] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only errors and failures.")] = False,
    id: Annotated[str | None, typer.Option(help="Only events with this order, trace or transaction.")] = None,
    since: Annotated[str, typer.Option(help="How far back: 15m, 2h, 3d.")] = "1h",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=10_000)] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes in, until Ctrl-C.")] = False,
    text: Annotated[str, typer.Argument(help="Words that the message has to have.")] = "",
) -> None:
    """Events, oldest first."""
    from .inquiries import print_logs, where_of
    from .running import find
    from .wiring import CLOCK, open_store, state_words

    where = where_of(CLOCK.time(), since, service, region, level, errors=errors, id=id, text=text)
    settings = find(config)
    place = state_words(settings)
    raise typer.Exit(print_logs(open_store(settings), CLOCK, where, limit, follow=follow, place=place))


@app.command()
def incidents(config: Config = None) -> None:
    """What is wrong now, and what was."""
    from .inquiries import print_incidents
    from .running import find
    from .wiring import CLOCK, open_state

    raise typer.Exit(print_incidents(open_state(find(config)), CLOCK.time()))


@app.command()
def explain(incident: str, config: Config = None) -> None:
    """Why an incident was opened: the evidence that the decision rests on."""
    from .inquiries import print_explanation
    from .running import find
    from .wiring import open_state

    raise typer.Exit(print_explanation(open_state(find(config)), incident))


@app.command()
def audit(
    config: Config = None,
    day: Annotated[
        str, typer.Option(help="Count this day (yyyy-mm-dd) in every store, and hold it to the ledger.")
    ] = "",
    region: Annotated[str, typer.Option(help="Only this region; with --day.")] = "",
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make the ledger anew from what the stores themselves hold.")
    ] = False,
    even_empty: Annotated[
        bool, typer.Option("--even-empty", help="With --rebuild: also where a store holds nothing any more.")
    ] = False,
) -> None:
    """Is every event accounted for? By day and service; the exit code is 1 on a difference."""
    from . import counting, statement_words, wiring
    from .running import find

    settings = find(config)
    if (rebuild or day or region) and (away := wiring.archive_away(settings)):
        typer.echo(away, err=True)
    if rebuild:
        for sink, found in wiring.rebuild_ledgers(settings, even_empty=even_empty).items():
            typer.echo(statement_words.rebuilt_line(sink, found.streams, found.total))
            for words in found.lacking:
                typer.echo(f"{sink} lacks what its ledger had: {words}")
    elif day or region:
        days = [day] if day else counting.days_to_count(settings, wiring.CLOCK.time())
        counted = counting.count_stores(settings, statement_words.checked_days(days), region)
        raise typer.Exit(statement_words.print_count(counted))
    else:
        raise typer.Exit(statement_words.print_statement(wiring.open_state(settings), wiring.CLOCK.time()))


@app.command()
def doctor(config: Config = None) -> None:
    """Check this installation; every line says what is wrong, where, and what to do."""
    from .doctor import run
    from .settings import load

    raise typer.Exit(run(load(config)))


@app.command()
def gateway(config: Config = None, until_stdin_closes: UntilStdinCloses = False) -> None:
    """One role by itself: takes batches and beats in."""
    _run_role("gateway", config, until_stdin_closes)


@app.command()
def indexer(config: Config = None, until_stdin_closes: UntilStdinCloses = False) -> None:
    """One role by itself: from the journal to the store."""
    _run_role("indexer", config, until_stdin_closes)


@app.command()
def archiver(config: Config = None, until_stdin_closes: UntilStdinCloses = False) -> None:
    """One role by itself: from the journal to the lake, beside Elasticsearch."""
    _run_role("archiver", config, until_stdin_closes)


@app.command()
def watch(config: Config = None, until_stdin_closes: UntilStdinCloses = False) -> None:
    """One role by itself: from beats to verdicts and notices."""
    _run_role("watch", config, until_stdin_closes)


@app.command()
def auditor(config: Config = None, until_stdin_closes: UntilStdinCloses = False) -> None:
    """One role by itself: holds what was emitted against what is stored."""
    _run_role("auditor", config, until_stdin_closes)


@app.command()
def boards(config: Config = None, until_stdin_closes: UntilStdinCloses = False) -> None:
    """One role by itself: the boards."""
    _run_role("boards", config, until_stdin_closes)


def _run_role(name: str, config: Path | None, until_stdin_closes: bool) -> None:
    from . import wiring
    from .settings import load
    from .stopping import leave

    if until_stdin_closes:
        wiring.end_with_parent()
    settings = load(config)
    logging.getLogger().setLevel(settings.log_level)
    match name:
        case "gateway":
            wiring.run_gateway(settings)
        case "indexer":
            wiring.run_indexer(settings)
        case "archiver":
            wiring.run_archiver(settings)
        case "watch":
            wiring.run_watch(settings)
        case "auditor":
            wiring.run_auditor(settings)
        case "boards":
            wiring.run_boards(settings, config)
    leave()


def main() -> None:
    """The entry point: errors that people can mend are one line, not a traceback."""
    logging.Formatter.converter = time.gmtime  # as everything else that it says of times
    logging.basicConfig(
        format="%(asctime)s.%(msecs)03dZ %(levelname)-8s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        level=logging.INFO,
    )
    for library, level in _LIBRARIES.items():
        logging.getLogger(library).setLevel(level)
    try:
        app()
    except LastbeatError as error:
        print(f"lastbeat: {error}", file=sys.stderr)
        sys.exit(MISCONFIGURED if isinstance(error, Misconfigured) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
