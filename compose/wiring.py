"""The one composition root: which implementation stands behind which port, and who is handed what.

Reads from top to bottom as the data flows: gateway, indexer, archiver, watch, auditor, boards; below them, the choice
of ports. What is opened here is closed here, last in, first out. What only one role needs is imported in that role:
DuckDB or Streamlit in every process would cost each its start and a hundred megabytes.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from collector.complaint import Complaint
from collector.dead_letters import DeadLetters
from collector.ledger.inventory import Inventory
from collector.ledger.rebuild import LetGo, Rebuilt
from collector.ports import Journal, Sink, State, Store, Table
from shippers.batch import DATASETS, Batch
from shippers.clock import SystemClock
from shippers.errors import LastbeatError, Misconfigured

from .health import served
from .memory import collect_rarely, keep_buffers
from .settings import Settings
from .stopping import stop_on_signal

log = logging.getLogger("lastbeat.roles")

CLOCK = SystemClock()
_STOP_WITHIN_S = 9.0
_SEND_TIMEOUT_S = 30.0
_RECOVER_EVERY_S, _LEAVE_WITHIN_S = 2.0, 3.0


def run_gateway(settings: Settings) -> None:
    """The role `gateway`: takes batches in, keeps them in the journal. Ends on SIGTERM."""
    from collector.gateway.http import create_app
    from collector.gateway.serve import serve

    with closing(open_journal(settings, writable=True)) as journal, closing(open_state(settings)) as state:
        log.info("gateway: writes to %s", journal_words(settings))
        serve(create_app(journal, settings.gateway, CLOCK, state), settings.gateway)


def run_indexer(settings: Settings) -> None:
    """The role `indexer`: from the journal to the store that answers. Ends on SIGTERM."""
    keep_buffers()
    collect_rarely()
    with ExitStack() as stack:
        if settings.elastic:
            state = stack.enter_context(closing(open_state(settings)))
            sink, upkeep = _elastic(settings, state)
            _fill(settings, stack, "indexer", "elastic", sink, upkeep)
        else:
            sink, upkeep = _lake(settings)
            _fill(settings, stack, "indexer", "lake", sink, upkeep)


def run_archiver(settings: Settings) -> None:
    """The role `archiver`: from the journal to the lake, beside Elasticsearch. Ends on SIGTERM."""
    with ExitStack() as stack:
        sink, upkeep = _lake(settings)
        _fill(settings, stack, "archiver", "lake", sink, upkeep)


def run_watch(settings: Settings) -> None:
    """The role `watch`: from beats to verdicts, incidents and notices. Ends on SIGTERM."""
    from alerts import schedule
    from alerts.watch import Watch

    with ExitStack() as stack:
        journal = stack.enter_context(closing(open_journal(settings)))
        # No group: the watch keeps its own positions, and must never hold back the journal's retention.
        reader = stack.enter_context(closing(journal.reader(None, ["heartbeat"])))
        state = stack.enter_context(closing(open_state(settings)))
        stop = stop_on_signal(within_s=_STOP_WITHIN_S)
        alerts = settings.alerts.model_copy(update={"outbox": settings.data / "outbox.jsonl"})
        audit = stack.enter_context(closing(open_state(settings)))
        watch = Watch(reader, state, alerts, CLOCK, audit=audit)
        health = settings.health
        stack.enter_context(served("watch", health.host, health.watch, watch.health, watch.metrics))
        log.info("watch: reads %s, keeps its state in %s", journal_words(settings), state_words(settings))
        schedule.run_watch(watch, stop, CLOCK, alerts.dead_mans_switch_url)
        log.info("watch: stopped")


def run_auditor(settings: Settings) -> None:
    """The role `auditor`: holds what everybody said they emitted against what every store has. Ends on SIGTERM."""
    from alerts.audit.accounts import LedgerAccounts
    from alerts.audit.auditor import SELDOM, Auditor
    from alerts.audit.said import AUDITED
    from collector.ledger.view import LedgerView

    from .counting import count_hot_days
    from .recovering import open_recovery, recover_finding

    with ExitStack() as stack:
        gc.set_threshold(*SELDOM)
        journal = stack.enter_context(closing(open_journal(settings)))
        # Without a group, as for the watch; of the events it asks for no more than where they end.
        beats = stack.enter_context(closing(journal.reader(None, ["heartbeat"])))
        data = stack.enter_context(closing(journal.reader(None, AUDITED)))
        state = stack.enter_context(closing(open_state(settings)))
        stop = stop_on_signal(within_s=_STOP_WITHIN_S)
        me = f"{socket.gethostname()}, process {os.getpid()}, {secrets.token_hex(4)}"
        kept = stack.enter_context(closing(open_ledger(settings)))
        accounts = LedgerAccounts(LedgerView(kept), sinks_of(settings), partial(_let_go, settings, state=kept))
        recover = partial(recover_finding, stack.enter_context(open_recovery(settings)))
        count = partial(count_hot_days, settings)
        auditor = Auditor(beats, data, accounts, state, settings.audit, CLOCK, me, recover, count)
        stack.enter_context(closing(auditor))
        stack.enter_context(_beside(auditor.recover_step, stop, every_s=_RECOVER_EVERY_S))
        stack.enter_context(_beside(auditor.count_step, stop, every_s=settings.audit.count_every_s))
        health = settings.health
        stack.enter_context(served("auditor", health.host, health.auditor, auditor.health, auditor.metrics))
        log.info("auditor: reads %s, keeps its state in %s", journal_words(settings), state_words(settings))
        auditor.run(stop)
        log.info("auditor: stopped")


@contextmanager
def _beside(work: Callable[[], object], stop: threading.Event, every_s: float) -> Iterator[None]:
    """Let `work` run every so often, on a thread of its own, until `stop` is set. It may take long: what is under way
    then is not waited for but for a moment, since doing it again is harmless."""

    def run() -> None:
        while not CLOCK.wait(stop, every_s):
            try:
                work()
            except Exception:
                if not stop.is_set():  # else what it works on was closed under it
                    log.exception("a look for what is missing failed, the next one goes on")

    thread = threading.Thread(target=run, name="lastbeat-beside", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_LEAVE_WITHIN_S)


def run_boards(settings: Settings, config: Path | None) -> None:
    """The role `boards`: the pages. Ends on SIGTERM."""
    from streamlit.web import bootstrap

    from dashboards.theme import streamlit_options

    script = Path(__file__).with_name("boards.py")
    flags = {
        **streamlit_options(),
        "server.address": settings.boards.host,
        "server.port": settings.boards.port,
        "server.headless": True,
    }
    options = {name.replace(".", "_"): value for name, value in flags.items()}
    with ExitStack() as stack:
        state = stack.enter_context(closing(open_state(settings)))
        health = settings.health
        stack.enter_context(served("boards", health.host, health.boards, partial(_reachable, state), dict))
        log.info("boards: at %s, on %s", settings.boards_url, state_words(settings))
        bootstrap.load_config_options(options)
        bootstrap.run(str(script), False, [str(config)] if config else [], options)


def _reachable(state: State) -> dict[str, str]:
    """The boards work if they can ask; they keep nothing of their own that could be ill."""
    try:
        state.get(Table.SNAPSHOTS, "boards")
    except LastbeatError as error:
        return {"status": "waiting", "why": str(error)}
    return {"status": "ok", "why": ""}


def open_store(settings: Settings) -> Store:
    """What boards and the command line ask about events."""
    if settings.elastic:
        from collector.elastic.store import ElasticStore

        return ElasticStore(settings.elastic, CLOCK)
    from collector.lake.store import LakeStore

    return LakeStore(settings.lake_path, _events(settings), settings.lake, CLOCK)


def open_dead_letters(settings: Settings) -> dict[str, DeadLetters]:
    """What could not be stored, by the store that lacks it. The archive's are seen where its files are."""
    from collector.lake.dead import LakeDeadLetters

    keepers: dict[str, DeadLetters] = {}
    if settings.elastic:
        from collector.elastic.client import ElasticClient
        from collector.elastic.dead import ElasticDeadLetters

        keepers["elastic"] = ElasticDeadLetters(ElasticClient(settings.elastic), settings.elastic)
    if _sees_lake(settings):
        keepers["lake"] = LakeDeadLetters(settings.lake_path, CLOCK)
    return keepers


@contextmanager
def open_sender(settings: Settings) -> Iterator[Callable[[Sequence[Batch]], None]]:
    """The way for batches that a person sends: straight to Kafka, else through the gateway, which writes the journal.

    The gateway asks for a token as it does of a service: LASTBEAT_TOKEN.
    """
    if settings.kafka:
        with closing(open_journal(settings)) as journal:
            yield journal.append
        return
    from shippers.transports.http import HttpTransport

    token = os.environ.get("LASTBEAT_TOKEN") or _token_for_everything(settings)
    with closing(HttpTransport(settings.gateway_url, token)) as transport:
        yield lambda batches: transport.send(batches, _SEND_TIMEOUT_S)


def _token_for_everything(settings: Settings) -> str:
    """One of the gateway's own tokens, if these settings hold one in the clear that may send anything."""
    for token in settings.gateway.tokens:
        if token.token and token.covers_everything and token.may_replay:
            return token.token
    return ""


def open_state(settings: Settings) -> State:
    """What boards and the command line ask about the fleet and incidents."""
    if settings.elastic:
        from alerts.state.elastic import ElasticState

        return ElasticState(settings.elastic)
    from alerts.state.sqlite import SqliteState

    return SqliteState(settings.state_path)


def open_ledger(settings: Settings) -> State:
    """Where the ledger is kept: what `LedgerView` reads."""
    if settings.elastic:
        return open_state(settings)
    from alerts.state.sqlite import SqliteState

    return SqliteState(settings.ledger_path)


def open_inventories(settings: Settings) -> dict[str, Inventory]:
    """What counts the stores themselves, by sink. The archive's is here where its files are."""
    from collector.lake.inventory import LakeInventory

    found: dict[str, Inventory] = {}
    if settings.elastic:
        from collector.elastic.client import ElasticClient
        from collector.elastic.inventory import ElasticInventory

        found["elastic"] = ElasticInventory(ElasticClient(settings.elastic), settings.elastic)
    if _sees_lake(settings):
        found["lake"] = LakeInventory(settings.lake_path)
    return found


def sinks_of(settings: Settings) -> list[str]:
    """The sinks that store what is taken in, by name."""
    if not settings.elastic:
        return ["lake"]
    return ["elastic", "lake"] if settings.elastic.archive else ["elastic"]


def archive_away(settings: Settings) -> str:
    """What to tell a person where the archive's files are not; '' where they are, or where there is no archive."""
    if settings.elastic and settings.elastic.archive and not settings.lake_path.is_dir():
        here = f"there is no lake at {settings.lake_path}"
        return f"the archive can't be seen from here: {here}; ask where the archiver runs"
    return ""


def _sees_lake(settings: Settings) -> bool:
    return "lake" in sinks_of(settings) and not archive_away(settings)


def rebuild_ledgers(settings: Settings, *, even_empty: bool = False) -> dict[str, Rebuilt]:
    """Make the ledger of every sink that is seen from here anew from what its store holds; what indexers settle
    meanwhile is added. Raises Misconfigured, and rebuilds none, if one holds nothing and its ledger does."""
    from collector.ledger.rebuild import rebuild, would_forget

    with closing(open_ledger(settings)) as state:
        stores = open_inventories(settings)
        for sink, stored in stores.items():
            if not even_empty and (streams := would_forget(state, sink, stored)):
                where = settings.lake_path.absolute() if sink == "lake" else state_words(settings)
                raise Misconfigured(
                    f"{where} holds nothing, and the ledger knows {streams:,} streams that are stored there: is this "
                    "the machine and the folder? If all is lost there indeed, say --even-empty"
                )
        return {
            sink: rebuild(state, sink, stored, CLOCK, _let_go(settings, sink, state)) for sink, stored in stores.items()
        }


def _let_go(settings: Settings, sink: str, state: State) -> LetGo:
    """Which days a sink has deleted on purpose. Raises Unavailable."""
    from collector.elastic.days import DeletedDays

    if sink != "elastic":
        oldest = datetime.fromtimestamp(CLOCK.time(), UTC).date() - timedelta(days=settings.lake.keep_days)
        return lambda _dataset, _region, day: day < oldest.isoformat()
    deleted = set(DeletedDays(state).all())
    # Impossible days go by the month in which they came, and are not listed.
    return lambda *day: day in deleted or not day[2][:1].isdigit()


def open_journal(settings: Settings, *, writable: bool = False) -> Journal:
    """What carries batches from the gateway to everybody else."""
    if settings.kafka:
        from collector.journal.kafka import KafkaJournal

        return KafkaJournal(settings.kafka, CLOCK)
    from collector.journal.local import LocalJournal

    return LocalJournal(settings.journal_path, settings.journal, CLOCK, writable=writable)


def journal_words(settings: Settings) -> str:
    """Where the journal is, for people."""
    return f"Kafka at {settings.kafka.bootstrap}" if settings.kafka else f"the journal in {settings.journal_path}"


def state_words(settings: Settings) -> str:
    """Where events and state are, for people."""
    return (
        f"Elasticsearch at {', '.join(settings.elastic.urls)}"
        if settings.elastic
        else f"files in {settings.data.absolute()}"
    )


def _events(settings: Settings) -> Journal:
    """The journal for those who store or show events: foreign producers' records come as batches too."""
    if not settings.kafka:
        return open_journal(settings)
    from collector.foreign.journal import ForeignJournal
    from collector.journal.kafka import KafkaJournal

    return ForeignJournal(KafkaJournal(settings.kafka, CLOCK))


def _lake(settings: Settings) -> tuple[Sink, Callable[[], object]]:
    from collector.lake.sink import LakeSink
    from collector.lake.upkeep import Upkeep

    sink = LakeSink(settings.lake_path, settings.lake, CLOCK)
    return sink, Upkeep(sink).maintain


def _elastic(settings: Settings, state: State) -> tuple[Sink, Callable[[], object]]:
    from alerts.audit.proving import Proofs
    from collector.elastic.ageing import Ageing
    from collector.elastic.client import ElasticClient
    from collector.elastic.days import DeletedDays
    from collector.elastic.sink import ElasticSink

    assert settings.elastic is not None
    client = ElasticClient(settings.elastic)
    archived = Proofs(state, CLOCK).is_archived if settings.elastic.archive else None
    ageing = Ageing(client, settings.elastic, DeletedDays(state), CLOCK, archived)
    return ElasticSink(settings.elastic, CLOCK, state, client=client), ageing.run


def _fill(
    settings: Settings, stack: ExitStack, role: str, group: str, sink: Sink, upkeep: Callable[[], object]
) -> None:
    """Fill `sink` from the journal as reader group `group`, and keep it up, until SIGTERM."""
    from collector.indexer import Indexer
    from collector.ledger.keeper import LedgerKeeper
    from collector.ledger.rebuild import rebuild_if_empty

    stack.enter_context(closing(sink))
    journal = stack.enter_context(closing(_events(settings)))
    reader = stack.enter_context(closing(journal.reader(group, DATASETS)))
    stop = stop_on_signal(within_s=_STOP_WITHIN_S)
    stack.enter_context(_repeated(upkeep, every_s=60))
    kept = stack.enter_context(closing(open_ledger(settings)))

    def begin() -> object:
        let_go = _let_go(settings, group, kept)
        return rebuild_if_empty(kept, group, open_inventories(settings)[group], CLOCK, let_go)

    ledger = LedgerKeeper(kept, group, CLOCK, keep_days=settings.lake.keep_days, begin=begin)
    stack.enter_context(_repeated(ledger.upkeep, every_s=10))
    indexer = Indexer(reader, sink, CLOCK, ledger=ledger)
    port = getattr(settings.health, role)
    stack.enter_context(served(role, settings.health.host, port, indexer.health, indexer.metrics))
    into = state_words(settings) if group == "elastic" else settings.lake_path
    log.info("%s: from %s to %s", role, journal_words(settings), into)
    indexer.run(stop)


@contextmanager
def _repeated(job: Callable[[], object], every_s: int) -> Iterator[None]:
    """Let `job` run every so often, on a thread of its own, one run at a time."""
    from apscheduler.schedulers.background import BackgroundScheduler

    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)  # a run longer than its interval is no event
    failing = Complaint(log, CLOCK, "upkeep could not be done, it is tried again", "upkeep is done again")

    def run() -> None:
        try:
            job()
        except LastbeatError as error:
            failing.note(str(error))
        else:
            failing.note("")

    scheduler = BackgroundScheduler(job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None})
    scheduler.add_job(run, "interval", seconds=every_s)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=True)


def end_with_parent() -> None:
    """End this process, as SIGTERM would, once its standard input closes: then the parent is gone."""

    def watch_stdin() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock, held here at exit, would abort the interpreter
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch_stdin, name="lastbeat-parent", daemon=True).start()
