"""LedgerKeeper: the ledger of the partitions that one indexer reads, in memory and durably in State.

What an outcome settles is accounted for at once, and kept by `flush`, which its owner calls before it commits. Another
owner of the same partition can do no harm, nor can one that has lost it without knowing yet: what is written are
changes under keys of their own, and they only ever add.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from collector.dead_letters import source_of
from collector.figures import labelled
from collector.ports import Conflict, Outcome, State, Table, TopicPartition
from shippers.clock import Clock

from .account import Account, Lie
from .documents import chunks, merge_doc, to_doc
from .ledger import Ledger
from .shelf import Kept, key_of, next_generation, read, was_rebuilt

log = logging.getLogger("lastbeat.ledger")

QUIET_S = 3_600
"""A stream that nothing came of for so long has ended, as far as folding goes."""
_MANY_CHANGES, _MOST_CHANGES = 64, 512
_AT_ONCE = 4
_DAY_S = 86_400


@dataclass(slots=True)
class _Book:
    """One partition. `fresh` is what isn't kept yet; `position` is how far the ledger goes, as it is kept; `generation`
    is the last snapshot that is in here; `changes` and `entries` count what was written since."""

    ledger: Ledger = field(default_factory=Ledger)
    fresh: Ledger = field(default_factory=Ledger)
    position: int | None = None
    generation: str = ""
    changes: int = 0
    entries: int = 0


class LedgerKeeper:
    """One sink's ledger for one indexer. `settle`, `flush`, `load` and `forget` are called by the indexer's thread,
    `upkeep` by any other one, `metrics` by any. Days older than `keep_days` are forgotten. `begin` is called once,
    before the first partition is loaded: it rebuilds a ledger that is lost, or wasn't there yet."""

    def __init__(
        self,
        state: State,
        sink: str,
        clock: Clock,
        *,
        keep_days: int = 400,
        owner: str = "",
        begin: Callable[[], object] = lambda: None,
    ) -> None:
        self._state, self._sink, self._clock, self._keep_days = state, sink, clock, keep_days
        self._owner = owner or secrets.token_hex(4)
        self._begin, self._begun = begin, False
        self._books: dict[TopicPartition, _Book] = {}
        self._lock = threading.Lock()
        self._flushes = 0
        self._lying: set[str] = set()
        self._lies = {"overlap": 0, "other content": 0, "two processes": 0}

    def load(
        self, tps: Collection[TopicPartition], starts: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int | None]:
        """Take over partitions: what is kept of them, and how far that goes. One that the ledger has never seen begins
        where its reading does, at `starts` or the very beginning, which is kept before anything of it is written: else
        a crash could leave its first events out. Raises Unavailable; then none is taken over."""
        if not self._begun:
            self._begin()
            self._begun = True
        found = read(self._state, self._sink, tps)
        books = {tp: self._opened(found.get((self._sink, tp), Kept())) for tp in tps}
        begun: dict[str, dict[str, object]] = {}
        for tp, book in books.items():
            if book.position is None:
                book.position = starts.get(tp, 0)
                begun[self._change_key(tp)] = {"position": book.position}
        self._state.put_many(Table.LEDGER, begun)
        with self._lock:
            self._books |= books
        return {tp: book.position for tp, book in books.items()}

    def forget(self, tps: Iterable[TopicPartition]) -> None:
        """These are another's now; what isn't kept yet of them it reads again, as it isn't committed."""
        with self._lock:
            for tp in tps:
                self._books.pop(tp, None)

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Account for what these settle, of the partitions that are here."""
        now = int(self._clock.monotonic())
        with self._lock:
            for outcome in outcomes:
                header, record = outcome.header, outcome.record
                book = self._books.get(record.tp)
                if book is None or header is None or outcome.retry:
                    continue
                new_stream = header.stream not in book.ledger.accounts
                if new_stream and not book.ledger.missing(header.stream, header.first, header.last):
                    continue  # of a stream that was folded: never counted twice
                seen_before = book.position is not None and record.next_offset <= book.position
                dead, void = outcome.dead_numbers, outcome.void_numbers
                lie = book.ledger.settle(header, dead, void, judged=not seen_before, now=now)
                book.fresh.settle(header, dead, void, judged=False)
                if new_stream:
                    lie = self._elsewhere(record.tp, header.stream) or lie
                if lie is not None:
                    self._take_note(book, header.stream, source_of(record))

    def flush(self, positions: Mapping[TopicPartition, int]) -> None:
        """Keep everything that is settled, and that all below `positions` is; durable on return. Raises Unavailable:
        then nothing may be committed, and the next flush makes up for it."""
        documents: dict[str, dict[str, object]] = {}
        books: list[tuple[_Book, int | None]] = []
        with self._lock:
            for tp, book in self._books.items():
                reached = max((at for at in (book.position, positions.get(tp)) if at is not None), default=None)
                if book.fresh or reached != book.position:
                    documents[self._change_key(tp)] = {"position": reached, **to_doc(book.fresh)}
                    books.append((book, reached))
        if not documents:
            return
        self._state.put_many(Table.LEDGER, documents)
        with self._lock:
            for book, reached in books:
                book.changes += 1
                book.entries += len(book.fresh.accounts)
                book.fresh, book.position = Ledger(), reached

    def upkeep(self) -> int:
        """Make snapshots where many changes have come together, folding what has ended and forgetting what is old: of a
        few partitions, so that no stop waits for long; says of how many. Raises Unavailable."""
        with self._lock:
            due = [(book.changes, tp) for tp, book in self._books.items() if _is_due(book)]
        return sum(self.compact(tp) for _, tp in sorted(due, reverse=True)[:_AT_ONCE])

    def compact(self, tp: TopicPartition) -> bool:
        """Make a snapshot of one partition. False if it isn't ours any more, or another owner made one first: then it
        is read anew, and nothing is lost but work. Raises Unavailable."""
        with self._lock:
            book = self._books.get(tp)
        if book is None:
            return False
        place = self._sink, tp
        kept = read(self._state, self._sink, [tp], {place: book.generation}).get(place, Kept())
        if kept.generation != book.generation and was_rebuilt(kept.generation):
            return self._reload(tp)  # what is known here does not count any more
        with self._lock:
            for doc in (*kept.snapshot, *(doc for key, doc in kept.changes.items() if f"-{self._owner}-" not in key)):
                merge_doc(book.ledger, doc)  # what this owner changed it knows
            now = int(self._clock.monotonic())
            book.ledger.age(_day(self._clock.time() - self._keep_days * _DAY_S), now - QUIET_S)
            book.ledger.fold(now - QUIET_S)
            positions = [at for at in (book.position, kept.position) if at is not None]
        generation = next_generation(kept.generation, self._owner)
        self._write_snapshot(tp, book.ledger, generation)
        at = {"position": max(positions, default=None), "generation": generation, "owner": self._owner}
        version = None if kept.at is None else kept.at.version
        try:
            self._state.put(Table.LEDGER, key_of("at", self._sink, tp), at, version)
        except Conflict:
            self._remove_snapshots(tp, lambda key: f"/{generation}/" in key)
            return self._reload(tp)
        self._state.delete_many(Table.LEDGER, list(kept.changes))
        self._remove_snapshots(tp, lambda key: f"/{generation}/" not in key)
        with self._lock:
            book.generation, book.changes, book.entries = generation, 0, 0
        return True

    def account(self, tp: TopicPartition, stream: str) -> Account | None:
        """What is accounted for of a stream in one partition."""
        with self._lock:
            book = self._books.get(tp)
            return None if book is None else book.ledger.account(stream)

    def metrics(self) -> dict[str, float]:
        """Its size, and who lied. From any thread."""
        with self._lock:
            ledgers = [book.ledger for book in self._books.values()]
            return {
                "ledger_streams": sum(len(ledger.accounts) for ledger in ledgers),
                "ledger_folded_streams": sum(len(ledger.folded) for ledger in ledgers),
                "ledger_changes": sum(book.changes for book in self._books.values()),
                "ledger_lying_streams": sum(bool(one.lies) for ledger in ledgers for one in ledger.accounts.values()),
                **{labelled("ledger_lies_total", kind=kind): count for kind, count in self._lies.items()},
            }

    def _opened(self, kept: Kept) -> _Book:
        book = _Book(position=kept.position, generation=kept.generation, changes=len(kept.changes))
        for doc in (*kept.snapshot, *kept.changes.values()):
            merge_doc(book.ledger, doc)
        book.entries = sum(len(doc.get("accounts", ())) for doc in kept.changes.values())
        now = int(self._clock.monotonic())
        for account in book.ledger.accounts.values():
            account.touched = now
            if account.lies:
                self._lying.add(account.stream)
        return book

    def _elsewhere(self, tp: TopicPartition, stream: str) -> Lie | None:
        """A stream that is new to its partition, and known in another: with the same sender, or it is a lie."""
        mine = self._books[tp].ledger.accounts.get(stream)
        for other, book in self._books.items():
            theirs = book.ledger.accounts.get(stream) if other != tp else None
            if mine is not None and theirs is not None and theirs.certain and mine.certain:
                probe = Account(stream)
                for one in (theirs, mine):
                    lie = probe.identify(one.region, one.service, one.instance, certain=True)
                if lie is not None:
                    return mine.lie(lie)
        return None

    def _take_note(self, book: _Book, stream: str, where: str) -> None:
        """Of the lies that a record has just told: where that was, durably, and in the log."""
        account = book.ledger.accounts[stream]
        for lie in account.lies:
            if not lie.where:
                told = replace(lie, where=where)
                account.lie(told)
                book.fresh.lie(told)
                self._say(told)

    def _say(self, lie: Lie) -> None:
        self._lies[lie.kind] += 1
        if lie.stream not in self._lying:
            self._lying.add(lie.stream)
            log.error("stream %s lies (%s), seen at %s: %s; it counts as unproven", lie.stream, lie.kind, lie.where,
                      lie.words)  # fmt: skip

    def _change_key(self, tp: TopicPartition) -> str:
        self._flushes += 1
        unique = f"{round(self._clock.time() * 1_000):015d}-{self._owner}-{self._flushes:08d}"
        return key_of("d", self._sink, tp, unique)

    def _write_snapshot(self, tp: TopicPartition, ledger: Ledger, generation: str) -> None:
        documents = chunks(ledger)
        number = 0
        while True:
            with self._lock:  # let go of between two documents: settling goes on meanwhile
                doc = next(documents, None)
            if doc is None:
                return
            self._state.put_many(
                Table.LEDGER, {key_of("s", self._sink, tp, generation, f"{number:06d}"): doc}
            )  # fmt: skip
            number += 1

    def _remove_snapshots(self, tp: TopicPartition, gone: Callable[[str], bool]) -> None:
        keys = [row.key for row in self._state.scan(Table.LEDGER, key_of("s", self._sink, tp, ""))]
        self._state.delete_many(Table.LEDGER, [key for key in keys if gone(key)])

    def _reload(self, tp: TopicPartition) -> bool:
        book = self._opened(read(self._state, self._sink, [tp]).get((self._sink, tp), Kept()))
        with self._lock:
            mine = self._books.get(tp)
            if mine is not None:
                book.ledger.merge(mine.fresh)
                book.fresh = mine.fresh
                book.position = max((at for at in (book.position, mine.position) if at is not None), default=None)
                self._books[tp] = book
        return False


def _is_due(book: _Book) -> bool:
    """A snapshot costs as much as there are streams: it is made when the changes come to a part of that."""
    return book.changes >= _MOST_CHANGES or (
        book.changes >= _MANY_CHANGES and 2 * book.entries >= len(book.ledger.accounts)
    )


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
