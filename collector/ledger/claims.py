"""What headers claim of their numbers and bodies, packed, in order: of each stream the first and the highest few are
remembered. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from shippers.batch import Header

REMEMBERED = 64
"""So many of a stream's highest batches are known by first number, count and crc, and its very first: a second process
that bears the same boot id begins there, however far the other one is."""
_CLAIM = struct.Struct("<QHI")
_SIZE = _CLAIM.size

Claim = tuple[int, int, int]
"""What a batch's header says of its numbers and body: first, count, crc."""


def claim_of(header: Header) -> Claim:
    """What a header claims."""
    return header.first, header.count, header.crc


def pack(claims: Iterable[Claim]) -> bytes:
    """Those of them that are remembered, in order."""
    return first_and_highest(b"".join(_CLAIM.pack(*claim) for claim in sorted(set(claims))))


def unpack(claims: bytes) -> list[Claim]:
    """The same, back."""
    return list(_CLAIM.iter_unpack(claims))


def first_of(claims: bytes) -> bytes:
    """The lowest of them alone."""
    return claims[:_SIZE]


def last_of(claims: bytes) -> Claim:
    """The highest of them; there must be one."""
    return _CLAIM.unpack_from(claims, len(claims) - _SIZE)


def appended(claims: bytes, claim: Claim) -> bytes:
    """With one more that is higher than all."""
    return first_and_highest(claims + _CLAIM.pack(*claim))


def first_and_highest(claims: bytes) -> bytes:
    """What is remembered of claims in order."""
    over = len(claims) - (1 + REMEMBERED) * _SIZE
    return claims[:_SIZE] + claims[_SIZE + over :] if over > 0 else claims


def at_odds(claims: bytes, claim: Claim) -> list[Claim]:
    """Those that share a number with this one and aren't the same."""
    first, last = claim[0], claim[0] + claim[1] - 1
    return [one for one in unpack(claims) if one != claim and one[0] <= last and first < one[0] + one[1]]
