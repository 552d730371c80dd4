"""Dead letters: what could not be stored, kept with its reason and its original bytes, so that nothing is lost without
a count and a person can mend it and send it again.

There are three kinds: a whole batch that breaks the contract, a single line that its neighbours don't suffer from, and
the void batch, whose events were given up before they came here, for the reason it bears.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shippers.batch import Header

from .ledger.intervals import Interval
from .ports import Record

WHOLE_BATCH = "batch: "
"""How the reason of a whole batch's letter begins. Its numbers stay open, for a sound copy may still come."""

OTHER_CONTENT = "other content under used numbers: two processes bear one boot id"
"""Why a sound batch is a letter whose numbers hold other events: sent again, it gets numbers of its own."""

VOID = "void: "
"""How the reason of a void batch's letter begins."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something that could not be stored, kept with its reason and its original bytes.

    `first` and `count` are its numbers in `stream`; source is where it was read, as `topic/partition/offset`.
    `instance` and `day` are its header's, and '' in letters of an unreadable header, or from before they were kept.
    """

    stream: str
    first: int
    count: int
    region: str
    service: str
    dataset: str
    reason: str
    source: str
    original: bytes
    at: float
    instance: str = ""
    day: str = ""


@dataclass(frozen=True, slots=True)
class Among:
    """Which dead letters a question is about; '' and 0 mean any. `reason` is a part of theirs, case apart."""

    region: str = ""
    service: str = ""
    dataset: str = ""
    stream: str = ""
    reason: str = ""
    since: float = 0.0


class DeadLetters(Protocol):
    """What a sink could not store, as a list of what is to be done: mended and sent again, a letter leaves it.

    Called by the command line. A letter is named by `id_of`; of several of one name only the
    newest counts. Every method raises Unavailable, with words for a person.
    """

    def find(self, among: Among, limit: int) -> list[DeadLetter]:
        """The newest letters, newest first, their original bytes left out."""
        ...

    def get(self, id: str) -> DeadLetter | None:
        """One letter, whole; None if there is none of that name (any more)."""
        ...

    def stored(self, header: Header) -> int:
        """How many of a batch's numbers the sink has stored as events by now."""
        ...

    def drop(self, letters: Sequence[DeadLetter]) -> None:
        """Take these off the list; one of the same name from another source stays. Again is no harm."""
        ...


def of_batch(record: Record, header: Header | None, reason: str, at: float) -> DeadLetter:
    """The whole batch. With a header that can't be read, the topic says where it belongs and its lines are counted."""
    reason = WHOLE_BATCH + reason
    if header is None:
        _, region, dataset = record.tp.topic.split(".")[:3]
        return DeadLetter("", 0, count_lines(record), region, "", dataset, reason, source_of(record), record.body, at)
    return _of(record, header, (header.first, header.last), reason, record.body, at)


def of_line(record: Record, header: Header, number: int, line: bytes, reason: str, at: float) -> DeadLetter:
    """One event of a batch."""
    return _of(record, header, (number, number), reason, line, at)


def of_void(record: Record, header: Header, numbers: Interval, at: float) -> DeadLetter:
    """Numbers whose events were given up on the way."""
    return _of(record, header, numbers, f"{VOID}{header.void}", b"", at)


def _of(record: Record, header: Header, numbers: Interval, reason: str, original: bytes, at: float) -> DeadLetter:
    first, last = numbers
    return DeadLetter(
        header.stream,
        first,
        last - first + 1,
        header.region,
        header.service,
        header.dataset,
        reason,
        source_of(record),
        original,
        at,
        header.instance,
        header.day,
    )


_VOID_NAME = ":void"


def id_of(letter: DeadLetter) -> str:
    """A letter's name: its numbers, or, of a broken batch, whose numbers are only claimed, where it was read. A void
    letter has a name of its own: a letter of the same numbers may have their original bytes."""
    if letter.reason.startswith(WHOLE_BATCH):
        return letter.source
    if is_void(letter):
        return f"{letter.stream}:{letter.first}+{letter.count}{_VOID_NAME}"
    numbers = f"{letter.first}" if letter.count == 1 else f"{letter.first}+{letter.count}"
    return f"{letter.stream}:{numbers}"


def old_id(id: str) -> str:
    """The name that a void letter of this name was kept under before it had one of its own; '' of any other."""
    return id.removesuffix(_VOID_NAME) if id.endswith(_VOID_NAME) else ""


def void_id(id: str) -> str:
    """The name that a void letter has now of which this is the old one."""
    return f"{id}{_VOID_NAME}"


def is_void(letter: DeadLetter) -> bool:
    """Whether its events were given up before they came here: there are no bytes to send again."""
    return letter.reason.startswith(VOID)


def has_used_numbers(letter: DeadLetter) -> bool:
    """Whether other events have its numbers."""
    return letter.reason == WHOLE_BATCH + OTHER_CONTENT


def is_among(letter: DeadLetter, among: Among) -> bool:
    """Whether a question is about this letter."""
    wanted = ((among.region, letter.region), (among.service, letter.service), (among.dataset, letter.dataset),
              (among.stream, letter.stream))  # fmt: skip
    return (
        all(not want or want == has for want, has in wanted)
        and among.reason.lower() in letter.reason.lower()
        and letter.at >= among.since
    )


def count_lines(record: Record) -> int:
    """How many events a body holds when its header can't be asked: at least one, for the batch itself."""
    return max(1, record.body.count(b"\n"))


def source_of(record: Record) -> str:
    """Where a record was read: `topic/partition/offset`."""
    return f"{record.tp.topic}/{record.tp.partition}/{record.offset}"


def why_unreadable(line: bytes) -> str:
    """In words, why a line can't be an event; '' if it can: a JSON object with a `@timestamp` that is a time."""
    try:
        event = json.loads(line)
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason} at byte {error.start + 1}"
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    if not isinstance(event, dict):
        return "not a JSON object"
    if "@timestamp" not in event:
        return "no @timestamp"
    at = event["@timestamp"]
    try:
        datetime.fromisoformat(at)
    except (TypeError, ValueError):
        return f"@timestamp {str(at)[:64]!r} is not a time"
    return ""
