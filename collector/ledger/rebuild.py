"""The ledger made anew from what a store itself holds: at the first start over a store that has data, and on demand.

What headers lied about is carried over where it is still known: no rebuilding makes a liar honest.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from collector.dead_letters import is_void
from collector.ports import Conflict, State, Table, TopicPartition
from shippers.clock import Clock
from shippers.errors import Unavailable

from .account import Account, Total
from .claims import first_of
from .documents import chunks, merge_doc
from .intervals import IntervalSet
from .inventory import Inventory
from .ledger import Ledger
from .shelf import REBUILT, Kept, key_of, next_generation, outdated, read, written

log = logging.getLogger("lastbeat.ledger")

_ENDED, _LIVES = 1, 2
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was found in the store."""

    streams: int
    total: Total
    lacking: tuple[str, ...] = ()
    """What the ledger had as settled and the store lacks, but for days it let go: stream and ranges, in words."""


LetGo = Callable[[str, str, str], bool]
"""Whether a store has deleted a day on purpose: dataset, region and day."""


def nothing(_dataset: str, _region: str, _day: str) -> bool:
    """What a store that keeps everything has let go."""
    return False


def would_forget(state: State, sink: str, inventory: Inventory) -> int:
    """How many streams the ledger knows of a store that holds nothing at all; 0 if it holds anything. Such a store is
    more likely another one than one that lost everything: a folder on another machine, a disk that isn't mounted.
    Raises Unavailable."""
    if inventory.days() or any(True for _ in inventory.letters()):
        return 0
    return len(_merged(read(state, sink)).streams())


def rebuild_if_empty(
    state: State, sink: str, inventory: Inventory, clock: Clock, let_go: LetGo = nothing
) -> Rebuilt | None:
    """Rebuild the ledger of a sink that has none, or whose rebuilding was broken off; None if it has one. Raises
    Unavailable."""
    if state.get(Table.LEDGER, _done(sink)) is not None:
        return None
    return rebuild(state, sink, inventory, clock, let_go)


def rebuild(state: State, sink: str, inventory: Inventory, clock: Clock, let_go: LetGo = nothing) -> Rebuilt:
    """Replace the ledger of a sink by what its store holds; what it has `let_go` it is not told to lack. Positions
    stay. The sink's indexer may run meanwhile: what it settles from now on is added, and what it knew from before it
    gives up with its next snapshot.

    Raises Unavailable; then the old ledger may still be there, and doing it again is no harm: the next indexer that
    starts does it by itself."""
    state.delete(Table.LEDGER, _done(sink))
    before = read(state, sink)
    ledger = from_store(inventory, clock)
    old = _merged(before)
    found = Rebuilt(
        len(ledger.streams()),
        sum(ledger.totals().values(), Total()),
        tuple(lacking(old, ledger, let_go)),
    )
    _say_what_is_lacking(sink, found.lacking)
    _carry_over(old, ledger)
    ledger.bound()
    by_topic: dict[str, Ledger] = {}
    for stream, account in ledger.accounts.items():
        by_topic.setdefault(_topic(account.region, stream), Ledger()).accounts[stream] = account
    for stream, folded in ledger.folded.items():
        by_topic.setdefault(_topic(folded.region, stream), Ledger()).folded[stream] = folded
    owner = secrets.token_hex(4)
    for topic, part in by_topic.items():
        tp = TopicPartition(topic, REBUILT)
        _replace(state, sink, tp, before.get((sink, tp), Kept()), part, owner)
    for (_, tp), kept in before.items():
        if tp.partition != REBUILT or tp.topic not in by_topic:
            _replace(state, sink, tp, kept, Ledger(), owner)
    state.put_many(Table.LEDGER, {_done(sink): {"at": clock.time()}})
    if found.streams:
        log.warning("the ledger of %s is rebuilt from its store: %d streams, %d events stored, %d dead, %d void",
                    sink, found.streams, found.total.stored, found.total.dead, found.total.void)  # fmt: skip
    return found


def from_store(inventory: Inventory, clock: Clock) -> Ledger:
    """What the store itself says, as a ledger; streams that ended are folded."""
    ledger = Ledger()
    lives_since = f"{datetime.fromtimestamp(clock.time(), UTC) - timedelta(days=1):%Y-%m-%d}"
    for day in inventory.days():
        for held in inventory.inventory(day, senders=True):
            account = ledger.accounts.setdefault(held.stream, Account(held.stream))
            account.identify(held.region, held.service, held.instance, certain=False)
            account.region = account.region or held.region
            for span in [(held.first, held.last)] if held.whole else inventory.runs(held):
                account.day(held.day).store(*span)
                account.last = max(account.last, span[1])
            account.touched = max(account.touched, _LIVES if day >= lives_since else _ENDED)
    for letter in inventory.letters():
        if not letter.stream or not letter.first:
            continue
        account = ledger.accounts.setdefault(letter.stream, Account(letter.stream))
        account.identify(letter.region, letter.service, letter.instance, certain=False)
        its_day = account.day(letter.day or f"{datetime.fromtimestamp(letter.at, UTC):%Y-%m-%d}")
        span = letter.first, letter.first + letter.count - 1
        (its_day.give_up if is_void(letter) else its_day.bury)(*span)
        account.last = max(account.last, span[1])
    ledger.fold(quiet_since=_LIVES)
    return ledger


def _merged(before: Mapping[tuple[str, TopicPartition], Kept]) -> Ledger:
    old = Ledger()
    for kept in before.values():
        for doc in (*kept.snapshot, *kept.changes.values()):
            merge_doc(old, doc)
    return old


def _say_what_is_lacking(sink: str, lacking: Sequence[str]) -> None:
    for words in lacking[:_MOST_NAMED]:
        log.error("the store of %s lacks what its ledger had: %s", sink, words)
    if len(lacking) > _MOST_NAMED:
        log.error("the store of %s lacks numbers of %d more streams", sink, len(lacking) - _MOST_NAMED)


def lacking(old: Ledger, new: Ledger, let_go: LetGo) -> Iterator[str]:
    """What was settled by `old` and isn't by `new`, a stream at a time; not of days that the store has let go."""
    for stream in old.streams():
        account = old.account(stream)
        gone = IntervalSet(
            hole
            for day in (account.days if account is not None else ())
            if account is not None and not let_go(account.dataset, account.region, day.day)
            for numbers in day.sets()
            for span in numbers
            for hole in new.missing(stream, *span)
        )
        if gone:
            words = ", ".join(f"{first}–{last}" if first < last else str(first) for first, last in list(gone)[:8])
            yield f"{stream} {words}{', …' if len(list(gone)) > 8 else ''} ({len(gone):,} events)"


def _carry_over(old: Ledger, ledger: Ledger) -> None:
    """What headers claimed, who sends, and who lied: no store knows that."""
    for stream in old.streams():
        folded, claims = ledger.folded.get(stream), _claims(old, stream)
        if folded is not None:
            ledger.folded[stream] = folded._replace(began=first_of(claims))
        elif stream in ledger.accounts and stream in old.folded:
            ledger.accounts[stream].merge_claims(claims)
    for stream, account in old.accounts.items():
        known = ledger.accounts.get(stream)
        if known is not None and account.certain:
            known.identify(account.region, account.service, account.instance, certain=True)
            known.merge_claims(account.packed_claims)
        for lie in account.lies:
            ledger.lie(lie)
            ledger.accounts[stream].identify(account.region, account.service, account.instance, certain=False)


def _claims(old: Ledger, stream: str) -> bytes:
    return old.folded[stream].began if stream in old.folded else old.accounts[stream].packed_claims


def _replace(state: State, sink: str, tp: TopicPartition, kept: Kept, ledger: Ledger, owner: str) -> None:
    """A new snapshot, marked as one that what was known before doesn't count beside; then that is deleted."""
    generation = next_generation(kept.generation, owner, rebuilt=True)
    for number, doc in enumerate(chunks(ledger)):
        state.put_many(Table.LEDGER, {key_of("s", sink, tp, generation, f"{number:06d}"): doc})
    epoch, position = kept.reached or (0, None)
    at = {"epoch": epoch, "position": position, "generation": generation, "owner": owner}
    try:
        state.put(Table.LEDGER, key_of("at", sink, tp), at, None if kept.at is None else kept.at.version)
    except Conflict:
        state.delete_many(Table.LEDGER, written(state, sink, tp, generation))
        raise Unavailable(
            f"the ledger of {sink} got a new snapshot of {tp.topic}/{tp.partition} meanwhile: rebuild it again"
        ) from None
    state.delete_many(Table.LEDGER, list(kept.changes))
    state.delete_many(Table.LEDGER, outdated(state, sink, tp, generation))


def _done(sink: str) -> str:
    return f"done/{sink}"


def _topic(region: str, stream: str) -> str:
    return f"lastbeat.{region}.{stream.rpartition('.')[2]}"
