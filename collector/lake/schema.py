"""What the lake's tables look like: their columns, their partitions, and how a line of JSON becomes a row.

One flat table a dataset, all with the same columns, so that every question is one query; heartbeats carry their
figures as measures. Nothing here touches a disk.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from shippers.batch import DATASETS, MAX_LINE_BYTES

DEAD = "dead"
TABLES = (*DATASETS, DEAD)
SKEWED = "skewed"
PARTITIONS = ["region", "date"]

_TIME = pa.timestamp("us", tz="UTC")
_TEXT = pa.string()

FROM_HEADER = pa.schema(
    [("stream", _TEXT), ("sequence", pa.int64()), ("dataset", _TEXT), ("service", _TEXT), ("instance", _TEXT)]
)
"""Who sent an event is the header's word; a body is never believed about it."""

FROM_BODY = pa.schema(
    [
        ("at", _TIME),
        ("message", _TEXT),
        ("level", _TEXT),
        ("logger", _TEXT),
        ("action", _TEXT),
        ("outcome", _TEXT),
        ("duration_ns", pa.int64()),
        ("version", _TEXT),
        ("environment", _TEXT),
        ("zone", _TEXT),
        ("host", _TEXT),
        ("pid", pa.int64()),
        ("trace_id", _TEXT),
        ("span_id", _TEXT),
        ("transaction_id", _TEXT),
        ("error_type", _TEXT),
        ("error_message", _TEXT),
        ("error_stack", _TEXT),
        ("labels", pa.map_(_TEXT, _TEXT)),
        ("measures", pa.map_(_TEXT, pa.float64())),
    ]
)

FROM_FOREIGN = pa.schema([*FROM_BODY, FROM_HEADER.field("service"), FROM_HEADER.field("instance")])
"""The same of a foreign producer's event, whose lines are ours: several senders may be in one batch of them."""

EVENTS = pa.schema([*FROM_BODY, *FROM_HEADER])
"""What a file of events holds; region and date are its folders' names."""

DEAD_LETTERS = pa.schema(
    [
        ("at", _TIME),
        ("stream", _TEXT),
        ("first", pa.int64()),
        ("count", pa.int64()),
        ("dataset", _TEXT),
        ("service", _TEXT),
        ("reason", _TEXT),
        ("source", _TEXT),
        ("original", pa.binary()),
        ("instance", _TEXT),
        ("day", _TEXT),
    ]
)


def columns_of(table: str) -> pa.Schema:
    """The columns in the files of `table`."""
    return DEAD_LETTERS if table == DEAD else EVENTS


def delta_schema(table: str) -> pa.Schema:
    """The columns of `table` as Delta knows them: the files' own, and the partitions."""
    return pa.schema([*columns_of(table), *((name, _TEXT) for name in PARTITIONS)])


_JSON = {
    '"@timestamp"': "TIMESTAMPTZ",
    "message": "VARCHAR",
    "log": "STRUCT(level VARCHAR, logger VARCHAR)",
    "service": "STRUCT(version VARCHAR, environment VARCHAR)",
    "cloud": "STRUCT(availability_zone VARCHAR)",
    "host": "STRUCT(name VARCHAR)",
    "process": "STRUCT(pid BIGINT)",
    "trace": "STRUCT(id VARCHAR)",
    "span": "STRUCT(id VARCHAR)",
    '"transaction"': "STRUCT(id VARCHAR)",
    "error": "STRUCT(type VARCHAR, message VARCHAR, stack_trace VARCHAR)",
    "event": "STRUCT(action VARCHAR, outcome VARCHAR, duration BIGINT)",
}
_SENDER = {"service": "STRUCT(name VARCHAR, version VARCHAR, environment VARCHAR, node STRUCT(name VARCHAR))"}
_MAPS = {"labels": "MAP(VARCHAR, VARCHAR)", "measures": "MAP(VARCHAR, DOUBLE)"}
_FIGURES = (
    "interval_s", "grace_s", "uptime_s", "queue_events", "queue_bytes", "spool_bytes", "cpu_percent", "memory_bytes",
    "io_read_bytes", "io_write_bytes", "threads", "open_files",
)  # fmt: skip
_BEAT = {
    "heartbeat": f"STRUCT(state VARCHAR, reason VARCHAR, {', '.join(f'{name} DOUBLE' for name in _FIGURES)}, "
    "datasets MAP(VARCHAR, STRUCT(last DOUBLE, acked DOUBLE, dropped MAP(VARCHAR, DOUBLE))))",
}

_LONGEST_LINE = MAX_LINE_BYTES + 1_024
"""DuckDB parses in pieces of twice this, one thread each: its default of 16 MiB would leave the other cores idle."""

_FLAT = """
    "@timestamp" AS "at", message, log.level AS level, log.logger AS logger, event.action AS "action",
    event.outcome AS outcome, event.duration AS duration_ns, service.version AS version,
    service.environment AS environment, cloud.availability_zone AS zone, host.name AS host, process.pid AS pid,
    trace.id AS trace_id, span.id AS span_id, "transaction".id AS transaction_id, error.type AS error_type,
    error.message AS error_message, error.stack_trace AS error_stack"""

_FLAT_SENDER = ", service.name AS service, service.node.name AS instance"


def select_lines(path: str, dataset: str, *, foreign: bool = False) -> str:
    """SQL that reads lines of JSON as the columns FROM_BODY (or FROM_FOREIGN), one row a line in their order.

    A line that is no JSON object, or whose time can't be, comes out as a row with no `at`.
    """
    beats = dataset == "heartbeat"
    columns = _JSON | (_BEAT if beats else _MAPS) | (_SENDER if foreign else {})
    spelled = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
    maps = _beat_maps() if beats else "labels, measures"
    sender = _FLAT_SENDER if foreign else ""
    return (
        f"SELECT {_FLAT}, {maps}{sender} FROM read_json('{path}', format = 'newline_delimited', "
        f"columns = {{{spelled}}}, ignore_errors = true, maximum_object_size = {_LONGEST_LINE})"
    )


def _beat_maps() -> str:
    """A heartbeat's own fields as labels and measures: `state`, `uptime_s`, `business.acked` …"""
    figures = [f"{{k: '{name}', v: heartbeat.{name}}}" for name in _FIGURES]
    a_dataset = (
        "[{k: d.key || '.last', v: d.value.last}, {k: d.key || '.acked', v: d.value.acked}, "
        "{k: d.key || '.dropped', v: list_sum(map_values(d.value.dropped))}]"
    )
    datasets = f"flatten(list_transform(map_entries(heartbeat.datasets), lambda d: {a_dataset}))"
    present = "list_filter({}, lambda e: e.v IS NOT NULL)"
    texts = present.format("[{k: 'state', v: heartbeat.state}, {k: 'reason', v: heartbeat.reason}]")
    numbers = present.format(f"list_concat([{', '.join(figures)}], coalesce({datasets}, []))")
    return f"map_from_entries({texts}) AS labels, map_from_entries({numbers}) AS measures"


_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def date_of(day: str, came_at: float, keep_days: int) -> str:
    """The partition of a batch of `day` that the journal took in at `came_at`: that day, or `skewed` when it is more
    than two days ahead or past keeping.

    So a wild clock can't make thousands of partitions.
    """
    today = datetime.fromtimestamp(came_at, UTC).date()
    ahead = (date.fromisoformat(day) - today).days
    return day if -keep_days <= ahead <= 2 else SKEWED


def too_old(partition: str, now: float, keep_days: int) -> bool:
    """Whether a partition `date` is past keeping. `skewed` never is by its name."""
    if not _DAY.fullmatch(partition):
        return False
    oldest = datetime.fromtimestamp(now, UTC).date() - timedelta(days=keep_days)
    return date.fromisoformat(partition) < oldest
