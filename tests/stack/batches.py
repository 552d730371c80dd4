"""Batches for the tests of the real servers, and reading until something is true."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from collector.ports import Reader, Record
from shippers.batch import Batch, Header, seal

DAY = "2026-11-21"


def batch(
    first: int, count: int = 1, *, instance: str = "pay-01", dataset: str = "business", region: str = "cn-east",
    boot: str = "k3v9abcd", canary: bool = False,
) -> Batch:  # fmt: skip
    """A sound batch; each line says its own number."""
    header = Header(
        stream=f"{boot}.{dataset}", first=first, count=count, region=region, dataset=dataset, day=DAY,
        service="payment", instance=instance, crc=0, canary=canary,
    )  # fmt: skip
    return seal(header, [b'{"message":"%d"}' % number for number in range(first, first + count)])


def numbers(records: Sequence[Record]) -> list[int]:
    """The first numbers of the batches in these records."""
    return [Header.decode(record.header).first for record in records]


def read_until(reader: Reader, enough: Callable[[list[Record]], bool], within_s: float = 20.0) -> list[Record]:
    """Poll until `enough` says so of all that was read. Fails with what was read."""
    read: list[Record] = []
    deadline = time.monotonic() + within_s
    while not enough(read):
        assert time.monotonic() < deadline, f"in {within_s} s only {len(read)} records came: {numbers(read)[:50]}"
        read += reader.poll(8 * 1024 * 1024, 0.2)
    return read


def read_count(reader: Reader, count: int, within_s: float = 20.0) -> list[Record]:
    """Poll until `count` records have come."""
    return read_until(reader, lambda read: len(read) >= count, within_s)
