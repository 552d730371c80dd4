"""Sends dead letters again and waits to see what becomes of them.

A letter is only taken off a list once that store is seen to have all of its events, or once a newer letter stands for
them: whatever breaks in between, it is still there, and sending it once more doubles nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from shippers.batch import Batch, Header
from shippers.clock import Clock
from shippers.errors import LastbeatError

from .dead_letters import Among, DeadLetter, DeadLetters, id_of
from .replay import Unplayable, remade

_LOOK_EVERY_S = 0.5
_CHUNK_BYTES = 4 * 1024 * 1024
_MOST_LETTERS = 10_000
_PENDING_A_LOOK = 20


class Fate(StrEnum):
    """What became of a letter."""

    STORED = "stored"
    REJECTED = "rejected again"
    UNPLAYABLE = "not sent"
    PENDING = "on its way"


@dataclass(frozen=True, slots=True)
class Played:
    """One letter's fate, and in words why it isn't better."""

    id: str
    fate: Fate
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A letter that is on its way (without its bytes), the list that it is on, the header that it went under, and where
    the letters of its numbers were read that were on the list before."""

    keeper: DeadLetters
    letter: DeadLetter
    header: Header
    before: frozenset[str]


class Replayer:
    """Sends through `send` (the journal, or a gateway). `keepers` are the lists of all stores that read from there."""

    def __init__(self, keepers: Sequence[DeadLetters], send: Callable[[Sequence[Batch]], None], clock: Clock) -> None:
        self._keepers, self._send, self._clock = keepers, send, clock

    def play(self, ids: Iterable[str], repaired: bytes | None = None, *, wait_s: float = 60.0) -> Iterator[Played]:
        """Send letters again, by their names; each one's fate as soon as it is known. Raises Unavailable, and what
        `send` does: letters that were not sent by then are still listed."""
        sent: list[_Sent] = []
        chunk: list[tuple[list[_Sent], Batch]] = []
        size = 0
        for id_ in ids:
            try:
                mine, batch = self._prepare(id_, repaired)
            except Unplayable as error:
                yield Played(id_, Fate.UNPLAYABLE, str(error))
                continue
            if all(one.keeper.stored(one.header) >= one.header.count for one in mine):
                sent += mine
                continue
            chunk.append((mine, batch))
            size += len(batch.body)
            if size >= _CHUNK_BYTES:
                yield from self._send_chunk(chunk, sent)
                chunk, size = [], 0
        yield from self._send_chunk(chunk, sent)
        yield from self._follow(sent, wait_s)

    def _send_chunk(self, chunk: list[tuple[list[_Sent], Batch]], sent: list[_Sent]) -> Iterator[Played]:
        """Send, and add to `sent`. A gateway turns all of a request away for one: then each goes by itself."""
        if not chunk:
            return
        try:
            self._send([batch for _, batch in chunk])
        except LastbeatError as error:
            if not error.permanent:
                raise
            if len(chunk) == 1:
                yield Played(id_of(chunk[0][0][0].letter), Fate.UNPLAYABLE, str(error))
                return
            for one in chunk:
                yield from self._send_chunk([one], sent)
        else:
            for mine, _ in chunk:
                sent += mine

    def _prepare(self, id_: str, repaired: bytes | None) -> tuple[list[_Sent], Batch]:
        found = [(keeper, keeper.get(id_)) for keeper in self._keepers]
        letters = [(keeper, letter) for keeper, letter in found if letter is not None]
        if not letters:
            raise Unplayable(f"there is no dead letter {id_}; `lastbeat dead list` names them")
        batch = remade(letters[0][1], repaired)
        header = batch.header
        return [
            _Sent(keeper, replace(letter, original=b""), header, frozenset(one.source for one in _of(keeper, header)))
            for keeper, letter in letters
        ], batch

    def _follow(self, sent: list[_Sent], wait_s: float) -> Iterator[Played]:
        until = self._clock.monotonic() + wait_s
        while sent:
            last = self._clock.monotonic() >= until
            left: list[_Sent] = []
            settled: list[tuple[_Sent, Played]] = []
            for number, one in enumerate(sent):
                played = self._look(one)
                if played is not None:
                    settled.append((one, played))
                    continue
                left.append(one)
                if len(left) >= _PENDING_A_LOOK and not last:  # those behind them will hardly be further
                    left += sent[number + 1 :]
                    break
            for keeper in self._keepers:
                keeper.drop([one.letter for one, _ in settled if one.keeper is keeper])
            yield from (played for _, played in settled)
            sent = left
            if last:
                break
            if sent:
                self._clock.wait(threading.Event(), _LOOK_EVERY_S)
        for one in sent:
            yield Played(
                id_of(one.letter), Fate.PENDING, "the journal has it, the store not yet; does its indexer run?"
            )

    def _look(self, one: _Sent) -> Played | None:
        """What became of it; None if that can't be said yet."""
        id_, count = id_of(one.letter), one.header.count
        stored = one.keeper.stored(one.header)
        if stored >= count:
            return Played(id_, Fate.STORED)
        newer = [letter for letter in _of(one.keeper, one.header) if letter.source not in one.before]
        if stored + sum(letter.count for letter in newer) < count:
            return None
        return Played(id_, Fate.REJECTED, newer[0].reason)


def _of(keeper: DeadLetters, header: Header) -> list[DeadLetter]:
    """The letters of a header's numbers that are on a list."""
    found = keeper.find(Among(stream=header.stream), _MOST_LETTERS)
    return [letter for letter in found if header.first <= letter.first <= header.last]
