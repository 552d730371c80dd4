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

from .dead_letters import id_of
from .ports import Among, DeadLetter, DeadLetters
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
    """A letter that is on its way (without its bytes), the list that it is on, and the header that it went under."""

    keeper: DeadLetters
    letter: DeadLetter
    header: Header


class Replayer:
    """Sends through `send` (the journal, or a gateway). `keepers` are the lists of all stores that read from there."""

    def __init__(self, keepers: Sequence[DeadLetters], send: Callable[[Sequence[Batch]], None], clock: Clock) -> None:
        self._keepers, self._send, self._clock = keepers, send, clock

    def play(self, ids: Iterable[str], repaired: bytes | None = None, *, wait_s: float = 60.0) -> Iterator[Played]:
        """Send letters again, by their names; each one's fate as soon as it is known. Raises Unavailable, and what
        `send` does: letters that were not sent by then are still listed."""
        sent: list[_Sent] = []
        batches: list[Batch] = []
        size = 0
        for id_ in ids:
            try:
                mine, batch = self._prepare(id_, repaired)
            except Unplayable as error:
                yield Played(id_, Fate.UNPLAYABLE, str(error))
                continue
            sent += mine
            if any(one.keeper.stored(one.header) < one.header.count for one in mine):
                batches.append(batch)
                size += len(batch.body)
            if size >= _CHUNK_BYTES:
                self._send(batches)
                batches, size = [], 0
        if batches:
            self._send(batches)
        yield from self._follow(sent, wait_s)

    def _prepare(self, id_: str, repaired: bytes | None) -> tuple[list[_Sent], Batch]:
        found = [(keeper, keeper.get(id_)) for keeper in self._keepers]
        letters = [(keeper, letter) for keeper, letter in found if letter is not None]
        if not letters:
            raise Unplayable(f"there is no dead letter {id_}; `lastbeat dead list` names them")
        batch = remade(letters[0][1], repaired)
        return [_Sent(keeper, replace(letter, original=b""), batch.header) for keeper, letter in letters], batch

    def _follow(self, sent: list[_Sent], wait_s: float) -> Iterator[Played]:
        until = self._clock.monotonic() + wait_s
        while sent:
            last = self._clock.monotonic() >= until
            left: list[_Sent] = []
            for number, one in enumerate(sent):
                played = self._look(one)
                if played is not None:
                    yield played
                    continue
                left.append(one)
                if len(left) >= _PENDING_A_LOOK and not last:  # those behind them will hardly be further
                    left += sent[number + 1 :]
                    break
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
        """What became of it, and the list put right; None if that can't be said yet."""
        id_, count = id_of(one.letter), one.header.count
        stored = one.keeper.stored(one.header)
        newer = [] if stored >= count else self._newer(one)
        if stored + sum(letter.count for letter in newer) < count:
            return None
        one.keeper.drop([one.letter])
        return Played(id_, Fate.REJECTED, newer[0].reason) if newer else Played(id_, Fate.STORED)

    def _newer(self, one: _Sent) -> list[DeadLetter]:
        """The letters that the replay became: of its numbers, and read elsewhere."""
        among = Among(stream=one.header.stream, since=one.letter.at)
        return [
            letter
            for letter in one.keeper.find(among, _MOST_LETTERS)
            if letter.source != one.letter.source and one.header.first <= letter.first <= one.header.last
        ]
