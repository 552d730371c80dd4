"""The ledger as State's documents: compact JSON both ways. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .account import Account, Lie
from .intervals import IntervalSet
from .ledger import Folded, Ledger

CHUNK = 500
"""Streams in one document of a snapshot."""
CHUNK_PIECES = 50_000
"""And intervals, about: a document is closed by the account that comes to more."""


def to_doc(ledger: Ledger) -> dict[str, Any]:
    """A small ledger as one document."""
    doc = {
        "accounts": {stream: account_to(account) for stream, account in ledger.accounts.items()},
        "folded": {stream: _folded_to(folded) for stream, folded in ledger.folded.items()},
    }
    began = {stream: _text(folded.began) for stream, folded in ledger.folded.items() if folded.began}
    return {**doc, "began": began} if began else doc


def merge_doc(ledger: Ledger, doc: Mapping[str, Any]) -> None:
    """Account for what a document says."""
    for stream, parts in doc.get("accounts", {}).items():
        ledger.merge_account(account_from(stream, parts))
    began = doc.get("began", {})
    for stream, folded in doc.get("folded", {}).items():
        ledger.merge_folded(stream, _folded_from(folded, base64.b64decode(began.get(stream, ""))))


def chunks(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """The documents of a snapshot. Between two of them the ledger may grow: what came since may or may not be in."""
    part, count, pieces = Ledger(), 0, 0
    for stream in ledger.streams():
        if stream in ledger.accounts:
            part.accounts[stream] = ledger.accounts[stream]
            pieces += ledger.accounts[stream].pieces
        elif stream in ledger.folded:
            part.folded[stream] = ledger.folded[stream]
        count += 1
        if count >= CHUNK or pieces > CHUNK_PIECES:
            yield to_doc(part)
            part, count, pieces = Ledger(), 0, 0
    if part:
        yield to_doc(part)


def account_to(account: Account) -> dict[str, Any]:
    """One account, without what is not there."""
    doc: dict[str, Any] = {
        "who": [account.region, account.service, account.instance, int(account.certain)],
        "days": {
            day.day: [_flat(day.stored), *([_flat(day.dead or ()), _flat(day.void or ())] if _lost(day) else [])]
            for day in account.days
        },
    }
    if account.aged:
        doc["aged"] = _flat(account.aged)
    if account.packed_claims:
        doc["claims"] = _text(account.packed_claims)
    if account.lies:
        doc["lies"] = [[lie.kind, lie.words, *map(list, lie.ranges), lie.where] for lie in account.lies]
    return doc


def account_from(stream: str, doc: Mapping[str, Any]) -> Account:
    """An account as it was kept."""
    region, service, instance, certain = doc["who"]
    account = Account(stream)
    if service:
        account.identify(region, service, instance, certain=bool(certain))
    for name, sets in doc["days"].items():
        day = account.day(name)
        for numbers, add in zip(sets, (day.store, day.bury, day.give_up), strict=False):
            for first, last in _spans(numbers):
                add(first, last)
                account.last = max(account.last, last)
    if "aged" in doc:
        account.aged = IntervalSet(_spans(doc["aged"]))
        account.last = max(account.last, *(last for _, last in account.aged))
    for kind, words, one, other, where in doc.get("lies", ()):
        account.lie(Lie(stream, kind, words, ((one[0], one[1]), (other[0], other[1])), where))
    if "claims" in doc:
        account.merge_claims(base64.b64decode(doc["claims"]))
    return account


def _lost(day: Any) -> bool:
    return bool(day.dead or day.void)


def _flat(spans: Iterable[tuple[int, int]]) -> list[int]:
    return [number for span in spans for number in span]


def _spans(flat: list[int]) -> Iterator[tuple[int, int]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _folded_to(folded: Folded) -> list[Any]:
    return [folded.region, folded.service, *(value for one in folded.lasts for value in one)]


def _folded_from(doc: list[Any], began: bytes) -> Folded:
    return Folded(doc[0], doc[1], tuple(zip(doc[2::2], doc[3::2], strict=True)), began)


def _text(claims: bytes) -> str:
    return base64.b64encode(claims).decode()
