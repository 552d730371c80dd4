"""The four ports: Journal, Sink, Store, State. Every topology is a choice of implementations behind them.

The contract stands here, on the protocols; `tests/contracts` holds every implementation to it. Nothing here does I/O.
All times are seconds since the epoch (UTC) unless the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from shippers.batch import Batch, Header
from shippers.errors import LastbeatError, Unavailable

from .ledger.intervals import Interval

# --- Journal ---------------------------------------------------------------------------------------------------------


class TopicPartition(NamedTuple):
    """One ordered run of records. Topics are `lastbeat.<region>.<dataset>`."""

    topic: str
    partition: int


def topic_of(header: Header) -> str:
    """The topic that a batch belongs to; a pure function of its header."""
    return f"lastbeat.{header.region}.{header.dataset}"


@dataclass(frozen=True, slots=True)
class Record:
    """One batch as the journal keeps it. `offset` only grows; `next_offset` is where reading goes on after it.

    `appended_at` is the journal's own clock, the one that the watch believes. `header` and `body` are the bytes of
    the batch, unopened. An empty header: a foreign producer's record, straight on Kafka, its value the body.
    `checked` says that only our own door appends to this journal, that it held the body against the header, and that
    a checksum proves both unchanged since; who may not say so leaves the checking to the sink.
    `collector.foreign` turns a run of those into one record of a batch, and marks it: `foreign` says that its lines
    tell who sent each, for its header may stand for several; `refused` says why its body is no event and is to
    become a dead letter as it is.
    """

    tp: TopicPartition
    offset: int
    next_offset: int
    appended_at: float
    header: bytes
    body: bytes
    checked: bool = False
    foreign: bool = False
    refused: str = ""


class JournalFull(Unavailable):
    """The journal refuses to append rather than delete what is unread. The caller keeps the batch and tries again."""


class Gap(LastbeatError):
    """Records were gone before they were read: `wanted` is where reading should have gone on, `found` where it can. If
    that lies before it, the journal was made anew, or its end was lost: offsets from there on bear other records.

    Raised by `Reader.poll` once for each gap; reading then goes on at `found`. The caller reports it: never skipped
    in silence.
    """

    permanent = True

    def __init__(self, tp: TopicPartition, wanted: int, found: int) -> None:
        gone = f"records from {wanted} to {found} are gone, never read"
        anew = f"begins anew or was cut back: it ends before {wanted}, and is read from {found}"
        super().__init__(f"{tp.topic}/{tp.partition}: {anew if found < wanted else gone}")
        self.tp, self.wanted, self.found = tp, wanted, found


class Journal(Protocol):
    """Keeps batches, durably and in order, until every reader group has read them."""

    def append(self, batches: Sequence[Batch]) -> None:
        """Append batches; durable (on disk, or acknowledged by all replicas) when this returns.

        Called by the gateway from worker threads, many at once; blocks for one fsync or one round trip. All or, when
        it raises, perhaps a part of them: the caller sends all again, and the sink drops what it has already.

        Raises JournalFull or Unavailable; the caller answers 503 with `retry_after_s`.
        """
        ...

    def reader(self, group: str | None, datasets: Sequence[str]) -> Reader:
        """Open a reader over all topics of these datasets, those that come into being later included.

        With a `group` the offsets it commits are kept, and hold back retention; without one, reading starts at the
        oldest record (or where `seek` says) and nothing is kept.
        """
        ...

    def close(self) -> None:
        """Make durable what was appended and let go of everything. Idempotent."""
        ...


class Reader(Protocol):
    """Reads a journal in order, partition by partition. Used by one thread."""

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        """The next records: at least one if there is any, else wait up to `timeout_s` for one, else an empty list.

        Stops adding once `max_bytes` of bodies are exceeded. Raises Gap (reading then goes on behind it) or
        Unavailable (try again).
        """
        ...

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Go on reading `tp` at `offset`, which a record or a sink's own positions gave."""
        ...

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Keep, for this group, that everything below these offsets is done for good. Durable when it returns."""
        ...

    def committed(self) -> Mapping[TopicPartition, int]:
        """What this group has committed; empty without a group."""
        ...

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        """Return no records of these until `resume`; polling goes on, so that no rebalance is provoked."""
        ...

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        """Undo `pause`."""
        ...

    def assigned(self) -> set[TopicPartition]:
        """The partitions that this reader reads now."""
        ...

    def lag(self) -> dict[TopicPartition, int]:
        """How far this reader's position is behind the end, per partition, in the journal's own unit (records or
        bytes). 0 says: read to the end as it stood when this was called."""
        ...

    def offsets_at(self, at: float, instance: str = "") -> dict[TopicPartition, int]:
        """Where to read on from for what was appended at `at` (seconds since the epoch) or later: for each partition
        an offset at or before the first such record, its end if there is none. With `instance`, of each topic only the
        partition that its batches go to, where the journal knows that. Asks; may raise Unavailable."""
        ...

    def ends(self) -> dict[TopicPartition, int]:
        """The offset behind the last record of every partition of these datasets that there is now, whoever reads it:
        all that was appended before this was called lies below. An empty partition's is where its first record will
        be, or 0. Nothing of this reader moves. Raises Unavailable."""
        ...

    def close(self) -> None:
        """Leave. Commits nothing by itself."""
        ...


# --- Sink ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record: how many events were stored, were there already, or went to the dead letters.

    stored + duplicate + dead = the header's count, unless `retry` is set: then nothing is settled, and the caller
    keeps the record and writes it again.

    `header` is the record's, if this settles its numbers; None where they stay open (`retry`, or a batch that breaks
    the contract and is a dead letter as a whole: a sound copy may still come). With it, `dead_numbers` are exactly
    those of its numbers that the store lacks and the dead letters hold, by now or since earlier; every other number of
    the header is in the store. `void_numbers` are those of them that are there as void: given up before they came.

    `at_odds` is the header of a sound batch whose numbers hold other events: what of it is not stored became one dead
    letter, and `header` is None if nothing else came of it.
    """

    record: Record
    stored: int = 0
    duplicate: int = 0
    dead: int = 0
    retry: bool = False
    header: Header | None = None
    dead_numbers: tuple[Interval, ...] = ()
    void_numbers: tuple[Interval, ...] = ()
    at_odds: Header | None = None


class Sink(Protocol):
    """Where batches end: stores each event once, however often its batch arrives."""

    @property
    def lanes(self) -> int:
        """How many writes may be under way at once, each from a thread of its own and of other records. More than one
        only where `positions` is None."""
        ...

    def write(self, records: Sequence[Record]) -> list[Outcome]:
        """Store records of any mixture of topics; one outcome a record, in their order.

        Called from as many threads as it has lanes; may block for as long as the store needs. When it returns, every
        event of every record without `retry` is durable in the store or in the dead letters (with its reason and its
        original bytes). A void batch is kept as its numbers; a canary must not be given here.

        Raises Unavailable when nothing at all was settled; the caller pauses and writes the same records again.
        """
        ...

    def positions(self) -> Mapping[TopicPartition, int] | None:
        """Where reading must go on, if the sink keeps that in the same commit as the data; else None: then the
        reader's committed offsets rule."""
        ...

    def close(self) -> None:
        """Finish what is under way and let go of everything."""
        ...


# --- Store -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Where:
    """Which events a question is about. Empty tuples and None mean "any".

    Times are the event's own, `start` included, `end` not. `errors` keeps level ERROR and worse, or outcome failure.
    `text` matches, without regard to case, events whose message or error message has every word of it. `ids` are
    matched exactly against trace, span and transaction id and every label's value. '' among values stands for
    what is absent.

    A store may not find words in messages of over 8,191 characters, and may refuse words of over 450 (Unavailable says
    so); nor ids in labels of over 4,096, nor in what a heartbeat says of itself.
    """

    start: float
    end: float
    regions: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ("business", "console")
    levels: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    errors: bool = False
    text: str = ""
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One stored event, as boards show it. The names are ECS's without their dots; absent text is ''.

    `region`, `service` and `instance` are the header's in the lake, and in Elasticsearch the line's own, which is kept
    as it came: from a sender who contradicts himself they differ. A heartbeat's words (`state`, `reason`) are its
    labels, its figures its measures.
    """

    at: float
    stream: str
    sequence: int
    message: str = ""
    level: str = ""
    logger: str = ""
    dataset: str = ""
    action: str = ""
    outcome: str = ""
    duration_ns: int | None = None
    service: str = ""
    version: str = ""
    environment: str = ""
    instance: str = ""
    region: str = ""
    zone: str = ""
    host: str = ""
    pid: int | None = None
    trace_id: str = ""
    span_id: str = ""
    transaction_id: str = ""
    error_type: str = ""
    error_message: str = ""
    error_stack: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its identity everywhere: `<stream>:<number>`."""
        return f"{self.stream}:{self.sequence}"

    @property
    def application(self) -> str:
        """`<region>/<service>`: the key of its row in the fleet."""
        return f"{self.region}/{self.service}"


BY = ("service", "region", "application", "level", "version", "instance", "action", "outcome", "logger")
"""What volume, latency, peaks and top can be split by: names of Event's attributes, for every implementation."""


@dataclass(frozen=True, slots=True)
class Volume:
    """Counts per time step. `times[i]` is the start of step i, a multiple of `step_s`; the steps cover all of
    `where`, empty ones as 0. `series` maps each value of `by` ('' without `by`) to its counts, one a step."""

    step_s: float
    times: tuple[float, ...]
    series: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Latency:
    """Durations per time step, as counts in the fixed buckets of `collector.latency`. They add up across anything.

    `series` maps each value of `by` ('' without `by`) to one mapping {bucket: count} a step.
    """

    step_s: float
    times: tuple[float, ...]
    series: Mapping[str, tuple[Mapping[int, int], ...]]


@dataclass(frozen=True, slots=True)
class Peak:
    """The busiest step: when it began, its count over all, and who had most of it."""

    at: float
    step_s: float
    count: int
    top: str
    top_count: int


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a long answer: at most `limit` events, older than `before` (a Hits.next), newest first."""

    limit: int = 100
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Hits:
    """One page of events, newest first; `next` is the cursor of the page behind it, None at the end."""

    events: tuple[Event, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Tail:
    """Events that came in since the last call, in order of arrival, and the cursor for the next call."""

    events: tuple[Event, ...]
    after: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field that can be filtered on: its name (`labels.order_id`), its type (text | number) and an example."""

    name: str
    type: str
    example: str


class Store(Protocol):
    """Answers the boards' and the rules' few questions. Each event counts once, as soon as the journal holds it, or,
    in Elasticsearch, as soon as it is stored and the index refreshed. All stores give the same answers on the same
    events, in the same order, but for the cursors of pages and for what is said here.

    Called from any thread, many at once. Every method raises Unavailable, with words for a person, when the store
    can't be reached; an empty answer always means that there is nothing.
    """

    def volume(self, where: Where, step_s: float, by: str | None = None) -> Volume:
        """How many events a step, split by one of BY."""
        ...

    def latency(self, where: Where, step_s: float, by: str | None = None) -> Latency:
        """Durations of the events that have one."""
        ...

    def peaks(self, where: Where, step_s: float, by: str = "service", limit: int = 1) -> list[Peak]:
        """The busiest steps, the highest first, the earlier first among equals; `top` is the first by name then."""
        ...

    def top(self, where: Where, field: str, limit: int = 10) -> list[tuple[str, int]]:
        """The most frequent values of one of BY, or of `labels.<name>`, with their counts; most first, then by name,
        '' left out. Of a label with over 10,000 values a day, counts may be a little low; heartbeats' own labels, and
        those that came as objects, may not be counted."""
        ...

    def search(self, where: Where, page: Page = Page()) -> Hits:
        """Events, newest first; among equals in time the greater stream first, then the greater number."""
        ...

    def tail(self, where: Where, after: str | None = None, limit: int = 500) -> Tail:
        """What has come in since `after`; without it, nothing yet and a cursor that begins now. Times in `where`
        are not looked at."""
        ...

    def correlate(self, id: str, start: float, end: float) -> tuple[Event, ...]:
        """Events, oldest first, at most 10,000, whose trace, span or transaction id, or any label, is exactly `id`;
        of equal times `search` has them the other way round."""
        ...

    def fields(self, where: Where) -> list[Field]:
        """The labels and measures in use, most used first, then by name, at most 200, with any example. A store may
        look for names in the newest and oldest 2,000 events alone."""
        ...


# --- State -----------------------------------------------------------------------------------------------------------


class Table(StrEnum):
    """What State keeps. Each is a set of JSON documents by key."""

    FLEET = "fleet"
    INCIDENTS = "incidents"
    SILENCES = "silences"
    LEASES = "leases"
    SNAPSHOTS = "snapshots"
    DELETED_DAYS = "deleted_days"
    LEDGER = "ledger"
    AUDIT = "audit"
    RESENDS = "resends"


@dataclass(frozen=True, slots=True)
class Row:
    """One document and the version that a compare-and-set must name. Versions are opaque."""

    key: str
    doc: Mapping[str, Any]
    version: str


class Conflict(LastbeatError):
    """Somebody else changed the row first: read it again, decide again."""


class State(Protocol):
    """Small documents with compare-and-set on one row. There are no transactions over several rows: what must
    change together is one document.

    Called from any thread and several processes. Every method raises Unavailable when it can't be reached.
    """

    def get(self, table: Table, key: str) -> Row | None:
        """The row, or None."""
        ...

    def put(self, table: Table, key: str, doc: Mapping[str, Any], version: str | None) -> str:
        """Write the row if it still has `version` (None: if there is none yet); durable on return.

        Returns the new version. Raises Conflict.
        """
        ...

    def put_many(self, table: Table, docs: Mapping[str, Mapping[str, Any]]) -> None:
        """Write rows without comparing; for rows with one writer (the fleet, snapshots). All or none."""
        ...

    def scan(self, table: Table, prefix: str = "") -> Iterator[Row]:
        """Every row whose key begins with `prefix`, in order of key; what others have doesn't make it slower."""
        ...

    def delete(self, table: Table, key: str) -> None:
        """Remove the row, if it is there."""
        ...

    def delete_many(self, table: Table, keys: Collection[str]) -> None:
        """Remove these rows, as far as they are there. When it raises, a part of them may be gone."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
