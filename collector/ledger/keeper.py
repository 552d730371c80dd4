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
from shippers.batch import Header
from shippers.clock import Clock
from shippers.errors import LastbeatError, Unavailable

from .account import PIECES, Account, Lie
from .beginning import Beginning
from .documents import chunks, merge_doc, to_doc
from .ledger import Ledger
from .shelf import Kept, Reached, key_of, next_generation, outdated, read, was_rebuilt, written

log = logging.getLogger("lastbeat.ledger")

QUIET_S = 3_600
"""A stream that nothing came of for so long has ended, as far as folding goes."""
MANY_STREAMS, BRIEF_QUIET_S = 20_000, 60
"""Where more streams than that live in a partition, those of a single batch have ended after so short a time: somebody
may be making them up, and a folded one takes half the memory."""
_MANY_CHANGES, _MOST_CHANGES = 64, 512
_AT_ONCE = 4
_DAY_S = 86_400


@dataclass(slots=True)
class _Book:
    """One partition. `fresh` is what isn't kept yet; `epoch` and `position` are how far the ledger goes, as it is kept;
    `generation` is the last snapshot that is in here, `known` are the changes in State that are; `changes` and
    `entries` count what was written since."""

    ledger: Ledger = field(default_factory=Ledger)
    fresh: Ledger = field(default_factory=Ledger)
    epoch: int = 0
    position: int | None = None
    generation: str = ""
    known: set[str] = field(default_factory=set)
    changes: int = 0
    entries: int = 0


class LedgerKeeper:
    """One sink's ledger for one indexer. `settle`, `flush`, `load` and `forget` are called by the indexer's thread,
    `upkeep` by any other one, `metrics` by any. Days older than `keep_days` are forgotten. `begin` is called once,
    before the first partition is loaded, on a thread of its own: it rebuilds a ledger that is lost, or wasn't there
    yet."""

    def __init__(
        self,
        state: State,
        sink: str,
        clock: Clock,
        *,
        keep_days: int = 400,
        owner: str = "",
        begin: Callable[[], object] | None = None,
    ) -> None:
        self._state, self._sink, self._clock, self._keep_days = state, sink, clock, keep_days
        self._owner = owner or secrets.token_hex(4)
        self._beginning = Beginning(begin) if begin is not None else None
        self._books: dict[TopicPartition, _Book] = {}
        self._lock = threading.Lock()
        self._failed: set[TopicPartition] = set()
        self._flushes = 0
        self._lying: set[str] = set()
        self._lies = {"overlap": 0, "other content": 0, "two processes": 0, PIECES: 0}

    def load(
        self, tps: Collection[TopicPartition], starts: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int | None]:
        """Take over partitions: what is kept of them, and how far that goes. One that the ledger has never seen begins
        where its reading does, at `starts` or the very beginning, which is kept before anything of it is written: else
        a crash could leave its first events out. Raises Unavailable, also while the ledger is being begun; then none is
        taken over."""
        if self._beginning is not None:
            self._beginning.check()
        found = read(self._state, self._sink, tps)
        books = {tp: self._opened(found.get((self._sink, tp), Kept())) for tp in tps}
        begun: dict[str, dict[str, object]] = {}
        for tp, book in books.items():
            if book.position is None:
                book.position = starts.get(tp, 0)
                key = self._change_key(tp)
                begun[key] = {"epoch": book.epoch, "position": book.position}
                book.known.add(key)
        self._state.put_many(Table.LEDGER, begun)
        with self._lock:
            self._books |= books
        return {tp: book.position for tp, book in books.items()}

    def begin_anew(self, tp: TopicPartition, position: int) -> None:
        """The journal of a partition that was taken over begins anew: what was reached in the old one says nothing of
        this one, which is read from `position`. Durable on return; raises Unavailable."""
        with self._lock:
            book, key = self._books[tp], self._change_key(tp)
        self._state.put_many(Table.LEDGER, {key: {"epoch": book.epoch + 1, "position": position}})
        with self._lock:
            book.epoch, book.position = book.epoch + 1, position
            book.known.add(key)
            book.changes += 1

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
                if book is not None and outcome.at_odds is not None:
                    self._take_note_of(book, outcome.at_odds, source_of(record))
                if book is None or header is None or outcome.retry:
                    continue
                new_stream = header.stream not in book.ledger.accounts
                was_folded = new_stream and not book.ledger.missing(header.stream, header.first, header.last)
                seen_before = book.position is not None and record.next_offset <= book.position
                dead, void = outcome.dead_numbers, outcome.void_numbers
                foreign = record.foreign or bool(record.refused)
                lie = book.ledger.settle(header, dead, void, judged=not seen_before, foreign=foreign, now=now)
                # What is kept may have been rebuilt without a stream that was folded meanwhile.
                if not was_folded or header.day >= self._oldest_day():
                    book.fresh.settle(header, dead, void, judged=False, foreign=foreign)
                if new_stream and not was_folded:
                    lie = self._elsewhere(record.tp, header.stream) or lie
                if lie is not None:
                    self._take_note(book, header.stream, source_of(record))

    def flush(self, positions: Mapping[TopicPartition, int]) -> None:
        """Keep everything that is settled, and that all below `positions` is; durable on return. Raises Unavailable:
        then nothing may be committed, and the next flush makes up for it."""
        documents: dict[str, dict[str, object]] = {}
        books: list[tuple[_Book, str, int | None]] = []
        with self._lock:
            for tp, book in self._books.items():
                reached = max((at for at in (book.position, positions.get(tp)) if at is not None), default=None)
                if book.fresh or reached != book.position:
                    key = self._change_key(tp)
                    documents[key] = {"epoch": book.epoch, "position": reached, **to_doc(book.fresh)}
                    books.append((book, key, reached))
        if not documents:
            return
        self._state.put_many(Table.LEDGER, documents)
        with self._lock:
            for book, key, reached in books:
                book.known.add(key)
                book.changes += 1
                book.entries += len(book.fresh.accounts)
                book.fresh, book.position = Ledger(), reached

    def upkeep(self) -> int:
        """Make snapshots where many changes have come together, folding what has ended and forgetting what is old: of a
        few partitions, so that no stop waits for long; says of how many. Where that fails the others go on, and it is
        tried last the next time. Raises Unavailable once all were tried."""
        with self._lock:
            due = [(tp in self._failed, -book.changes, tp) for tp, book in self._books.items() if _is_due(book)]
        made, troubles = 0, []
        for _, _, tp in sorted(due)[:_AT_ONCE]:
            try:
                made += self.compact(tp)
                self._failed.discard(tp)
            except LastbeatError as error:
                troubles.append(f"{tp.topic}/{tp.partition}: {error}")
                self._failed.add(tp)
            except Exception as error:
                log.exception("%s/%d: no snapshot of its ledger could be made", *tp)
                troubles.append(f"{tp.topic}/{tp.partition}: {error!r}")
                self._failed.add(tp)
        if troubles:
            raise Unavailable(f"no snapshot of the ledger: {'; '.join(troubles)}")
        return made

    def compact(self, tp: TopicPartition) -> bool:
        """Make a snapshot of one partition. False if it isn't ours any more, or came to us anew meanwhile, or another
        owner made one first: then it is read anew, and nothing is lost but work. Raises Unavailable."""
        with self._lock:
            book = self._books.get(tp)
        if book is None:
            return False
        place = self._sink, tp
        kept = read(self._state, self._sink, [tp], {place: book.generation}).get(place, Kept())
        if kept.generation != book.generation and was_rebuilt(kept.generation):
            return self._reload(tp)  # what is known here does not count any more
        with self._lock:
            if self._books.get(tp) is not book:
                return False
            for doc in (*kept.snapshot, *(doc for key, doc in kept.changes.items() if key not in book.known)):
                merge_doc(book.ledger, doc)
            book.known |= kept.changes.keys()
            now = int(self._clock.monotonic())
            book.ledger.age(self._oldest_day(), now - QUIET_S, _day(self._clock.time()))
            many = len(book.ledger.accounts) > MANY_STREAMS
            book.ledger.fold(now - QUIET_S, now - BRIEF_QUIET_S if many else 0)
            for lie in book.ledger.bound():
                self._say(lie)
            reached = _further(book, kept)
        generation = next_generation(kept.generation, self._owner)
        self._write_snapshot(tp, book.ledger, generation)
        epoch, position = reached or (0, None)
        at = {"epoch": epoch, "position": position, "generation": generation, "owner": self._owner}
        version = None if kept.at is None else kept.at.version
        try:
            self._state.put(Table.LEDGER, key_of("at", self._sink, tp), at, version)
        except Conflict:
            self._state.delete_many(Table.LEDGER, written(self._state, self._sink, tp, generation))
            return self._reload(tp)
        self._clear_up(tp, generation, kept)
        with self._lock:
            book.generation, book.changes, book.entries = generation, 0, 0
            book.known -= kept.changes.keys()
        return True

    def account(self, tp: TopicPartition, stream: str) -> Account | None:
        """What is accounted for of a stream in one partition."""
        with self._lock:
            book = self._books.get(tp)
            return None if book is None else book.ledger.account(stream)

    def position(self, tp: TopicPartition) -> int:
        """How far it goes in a partition, as it is kept; 0 for one that isn't here."""
        with self._lock:
            book = self._books.get(tp)
            return 0 if book is None else book.position or 0

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
        book = _Book(generation=kept.generation, known=set(kept.changes))
        if kept.reached is not None:
            book.epoch, book.position = kept.reached
        book.changes = len(kept.changes)
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

    def _take_note_of(self, book: _Book, header: Header, where: str) -> None:
        """The sink itself has seen a batch whose numbers hold other events."""
        numbers = header.first, header.last
        told = Lie(header.stream, "other content", "used numbers with other events", (numbers, numbers), where)
        if book.ledger.lie(told) is not None:
            book.fresh.lie(told)
            self._say(told)

    def _say(self, lie: Lie) -> None:
        self._lies[lie.kind] += 1
        if lie.stream not in self._lying:
            self._lying.add(lie.stream)
            log.error(
                "stream %s lies (%s)%s: %s; it counts as unproven",
                lie.stream,
                lie.kind,
                f", seen at {lie.where}" if lie.where else "",
                lie.words,
            )

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

    def _clear_up(self, tp: TopicPartition, generation: str, before: Kept) -> None:
        """Remove what a snapshot that counts has taken the place of."""
        self._state.delete_many(Table.LEDGER, list(before.changes))
        self._state.delete_many(Table.LEDGER, outdated(self._state, self._sink, tp, generation))

    def _oldest_day(self) -> str:
        return _day(self._clock.time() - self._keep_days * _DAY_S)

    def _reload(self, tp: TopicPartition) -> bool:
        kept = read(self._state, self._sink, [tp]).get((self._sink, tp), Kept())
        book = self._opened(kept)
        with self._lock:
            mine = self._books.get(tp)
            if mine is not None:
                book.ledger.merge(mine.fresh)
                book.fresh = mine.fresh
                book.epoch, book.position = _further(mine, kept) or (0, None)
                self._books[tp] = book
        return False


def _further(book: _Book, kept: Kept) -> Reached | None:
    """How far a ledger goes, of what is known and what is kept."""
    known = [] if book.position is None else [(book.epoch, book.position)]
    return max([*known, *([kept.reached] if kept.reached is not None else [])], default=None)


def _is_due(book: _Book) -> bool:
    """A snapshot costs as much as there are streams: it is made when the changes come to a part of that."""
    return book.changes >= _MOST_CHANGES or (
        book.changes >= _MANY_CHANGES and 2 * book.entries >= len(book.ledger.accounts)
    )


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
