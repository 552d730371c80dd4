"""The ledger of many streams at one sink: settles what a sink says, answers what is missing, and keeps small.

A stream that has ended, all of it stored, is folded: of it only stays how far it went on each day. Merging ledgers is a
union, as it is for accounts. It never reads or writes anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from collector.foreign.stream import is_foreign
from shippers.batch import Header

from .account import SKEWED, Account, Lie, Total
from .claims import at_odds, claim_of, first_of
from .intervals import Interval

AHEAD_DAYS = 2
"""A day further ahead is no sound clock's: the stores keep them together too."""
TotalKey = tuple[str, str, str, str]
"""day, region, service, dataset"""


class Folded(NamedTuple):
    """A stream whose numbers from 1 up are all stored: for each day, in order, the last of them. '' stands for days
    past keeping. `began` is what its first batch claimed, packed, if that is known: a second process of the same boot
    id begins there too."""

    region: str
    service: str
    lasts: tuple[tuple[str, int], ...]
    began: bytes = b""

    @property
    def last(self) -> int:
        """Its highest number."""
        return self.lasts[-1][1]

    def spans(self) -> Iterator[tuple[str, int, int]]:
        """day, first, last"""
        first = 1
        for day, last in self.lasts:
            yield day, first, last
            first = last + 1


class Ledger:
    """Accounts by stream. `accounts` are those of streams that live, or that something is to be said about; `folded`
    are all others. Not thread-safe."""

    __slots__ = ("accounts", "folded")

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.folded: dict[str, Folded] = {}

    def settle(
        self,
        header: Header,
        dead: Sequence[Interval] = (),
        void: Sequence[Interval] = (),
        *,
        judged: bool = True,
        foreign: bool | None = None,
        where: str = "",
        now: int = 0,
    ) -> Lie | None:
        """Account for a header's numbers as Outcome says it: all are stored but `dead`, of which some are `void`.

        Says what is at odds with what was claimed before, if that wasn't known. Not `judged` is a record that is read
        again. Replays, `foreign` records and void batches claim nothing: theirs are not the sender's own numbers, or
        truthfully cut anew. What a record is its reader knows (None: the stream's name must say it); of a batch that
        only bears the name of a foreign stream all is judged.
        """
        stream = header.stream
        account = self.accounts.get(stream)
        plain = not header.replay and header.void is None
        if account is None:
            folded = self.folded.get(stream)
            if folded is not None and header.last <= folded.last:
                claims = judged and plain and not (is_foreign(stream) and foreign is not False)
                if not (claims and at_odds(folded.began, claim_of(header))):
                    return None
            account = self._unfold(stream)
        account.touched = now
        lie = None
        if account.foreign and not (plain and foreign is False):
            account.include(header.region, header.service, header.instance)
        elif not plain:
            account.identify(header.region, header.service, header.instance, certain=False)
        else:
            lie = account.identify(header.region, header.service, header.instance, certain=True, where=where)
            lie = account.claim(header, where, judged=judged) or lie
        return account.settle(header, dead, void) or lie

    def account(self, stream: str) -> Account | None:
        """One stream's account; of a folded one, what is left of it, as a copy."""
        found = self.accounts.get(stream)
        if found is None and stream in self.folded:
            return _unfolded(stream, self.folded[stream])
        return found

    def last(self, stream: str) -> int:
        """The greatest number of a stream that is accounted for; 0 for none."""
        known = self.accounts.get(stream) or self.folded.get(stream)
        return known.last if known is not None else 0

    def missing(self, stream: str, first: int, last: int) -> list[Interval]:
        """Which of these numbers are not accounted for, in order."""
        account = self.accounts.get(stream)
        if account is not None:
            return account.missing(first, last)
        folded = self.folded.get(stream)
        first = max(first, folded.last + 1 if folded is not None else first)
        return [(first, last)] if first <= last else []

    def streams(self) -> list[str]:
        """Every stream that it knows."""
        return [*self.accounts, *self.folded]

    def totals(self) -> dict[TotalKey, Total]:
        """What was settled, by day, region, service and dataset."""
        found: dict[TotalKey, list[int]] = {}
        for account in self.accounts.values():
            dataset = account.dataset
            for day, total in account.totals().items():
                sums = found.setdefault((day, account.region, account.service, dataset), [0, 0, 0])
                sums[0] += total.stored
                sums[1] += total.dead
                sums[2] += total.void
        for stream, folded in self.folded.items():
            dataset = stream.rpartition(".")[2]
            for day, first, last in folded.spans():
                if day:
                    found.setdefault((day, folded.region, folded.service, dataset), [0, 0, 0])[0] += last - first + 1
        return {key: Total(*sums) for key, sums in found.items()}

    def lies(self) -> list[Lie]:
        """Of all streams, in order of their names."""
        return [lie for stream in sorted(self.accounts) for lie in self.accounts[stream].lies]

    def lie(self, lie: Lie) -> Lie | None:
        """Keep a lie that was found elsewhere; None if it was known."""
        account = self.accounts.get(lie.stream) or self._unfold(lie.stream)
        return account.lie(lie)

    def merge(self, other: Ledger) -> None:
        """Account for everything that `other` accounts for."""
        for account in other.accounts.values():
            self.merge_account(account)
        for stream, folded in other.folded.items():
            self.merge_folded(stream, folded)

    def merge_account(self, account: Account) -> None:
        """The same for one account. It may become part of this ledger: give a copy to keep one."""
        stream = account.stream
        if stream in self.folded:
            self._unfold(stream)
        mine = self.accounts.get(stream)
        if mine is None:
            self.accounts[stream] = account
        else:
            mine.merge(account)

    def merge_folded(self, stream: str, folded: Folded) -> None:
        """The same for one folded stream."""
        mine = self.accounts.get(stream)
        known = fold(mine) if mine is not None else self.folded.get(stream, folded)
        if known is not None and _are_one(known, folded):
            self.accounts.pop(stream, None)
            self.folded[stream] = known if known.began else folded
        else:
            (mine or self._unfold(stream)).merge(_unfolded(stream, folded))

    def fold(self, quiet_since: int, brief_since: int = 0) -> int:
        """Fold the streams that nothing came of since then (those of one batch: since `brief_since`, if that is later),
        and of which all is stored; says how many."""
        gone = []
        for stream, account in self.accounts.items():
            if account.touched < quiet_since or (account.touched < brief_since and account.is_brief):
                folded = fold(account)
                if folded is not None:
                    self.folded[stream] = folded
                    gone.append(stream)
        for stream in gone:
            del self.accounts[stream]
        return len(gone)

    def age(self, before: str, quiet_since: int, today: str = "") -> None:
        """Forget the days before this one, and streams altogether that are quiet and have no other. With `today`: what
        is more than AHEAD_DAYS beyond it is set apart, so that it is forgotten too."""
        after = f"{date.fromisoformat(today) + timedelta(days=AHEAD_DAYS)}" if today else SKEWED
        for stream in [stream for stream, folded in self.folded.items() if folded.lasts[-1][0] > after]:
            self._unfold(stream)
        for stream, account in list(self.accounts.items()):
            account.set_apart(after, today[:7])
            account.age(before)
            if not account.days and account.touched < quiet_since and not account.scattered:
                del self.accounts[stream]
        for stream, folded in list(self.folded.items()):
            if folded.lasts[-1][0] < before:
                del self.folded[stream]
            elif folded.lasts[0][0] < before:
                old = [last for day, last in folded.lasts if day < before]
                left = tuple(one for one in folded.lasts if one[0] >= before)
                self.folded[stream] = folded._replace(lasts=(("", old[-1]), *left))

    def bound(self) -> list[Lie]:
        """Keep of no stream more than Account.bound does; the lies that come to light."""
        return [lie for lie in (account.bound() for account in self.accounts.values()) if lie is not None]

    def __bool__(self) -> bool:
        return bool(self.accounts or self.folded)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ledger):
            return NotImplemented
        return self.accounts == other.accounts and self.folded == other.folded

    __hash__ = None  # type: ignore[assignment]  # it changes

    def _unfold(self, stream: str) -> Account:
        folded = self.folded.pop(stream, None)
        account = _unfolded(stream, folded) if folded is not None else Account(stream)
        self.accounts[stream] = account
        return account


def fold(account: Account) -> Folded | None:
    """What an account is folded to; None if there is more to be said about it than that all is stored from 1 up."""
    if account.lies or not account.days:
        return None
    lasts: list[tuple[str, int]] = []
    spans = [("", list(account.aged))] if account.aged else []
    for day in account.days:
        if day.dead or day.void or not day.day[0].isdigit():
            return None
        spans.append((day.day, list(day.stored)))
    after = 0
    for name, numbers in spans:
        if len(numbers) != 1 or numbers[0][0] != after + 1:
            return None
        after = numbers[0][1]
        lasts.append((sys.intern(name), after))
    began = first_of(account.packed_claims)
    return Folded(sys.intern(account.region), sys.intern(account.service), tuple(lasts), began)


def _are_one(one: Folded, other: Folded) -> bool:
    """Whether two say the same, or one of them only doesn't know how the stream began."""
    return one[:3] == other[:3] and (one.began == other.began or not (one.began and other.began))


def _unfolded(stream: str, folded: Folded) -> Account:
    account = Account(stream, folded.region, folded.service)
    for day, first, last in folded.spans():
        if day:
            account.day(day).store(first, last)
        else:
            account.aged = type(account.stored)([(first, last)])
    account.last = folded.last
    account.merge_claims(folded.began)
    return account
