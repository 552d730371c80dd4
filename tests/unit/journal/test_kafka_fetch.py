"""The walk over Kafka's own format, held to what the library's reader makes of the same bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("kafka")

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.structs import TopicPartition as Place

from collector.journal.kafka_fetch import _Records
from collector.journal.kafka_link import Names
from collector.ports import Record, TopicPartition

PLACE, OURS = Place("mine.cn-east.business", 3), TopicPartition("lastbeat.cn-east.business", 3)
Message = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]

contents = st.none() | st.sampled_from((b"", b"a", b"x" * 63, b"y" * 64, b"z" * 8_192, b"\n" * 20_000))
headers = st.tuples(st.sampled_from(("lastbeat", "other", "ü")), contents)
messages = st.lists(st.tuples(contents, contents, st.lists(headers, max_size=3)), min_size=1, max_size=6)


def packed(messages: list[Message], codec: int = 0, base: int = 0) -> bytes:
    builder = MemoryRecordsBuilder(2, codec, 1024**2, base)
    for number, (key, value, headers) in enumerate(messages):
        assert builder.append(1_700_000_000_000 + number, key, value, headers)
    builder.close()
    return bytes(builder.buffer())


def read(data: bytes, start: int = 0) -> tuple[list[Record], int]:
    records = _Records(Names("mine"), start, PLACE, MemoryRecords(data))
    return records.take(), records.next_fetch_offset


def library(data: bytes, start: int = 0) -> list[Any]:
    found: list[Any] = Fetcher.PartitionRecords(start, PLACE, MemoryRecords(data)).take()
    return found


@given(messages, messages, st.sampled_from((0, 1)))
def test_it_reads_what_the_library_reads(first: list[Message], second: list[Message], codec: int) -> None:
    data = packed(first, codec) + packed(second, 0, len(first))
    found, end = read(data)
    theirs = library(data)
    assert [(one.tp, one.offset, one.next_offset, one.appended_at) for one in found] == [
        (OURS, one.offset, one.offset + 1, one.timestamp / 1000) for one in theirs
    ]
    assert [one.body for one in found] == [one.value or b"" for one in theirs]
    assert end == len(theirs)


def test_the_header_is_found_among_others_and_the_place_in_the_middle_of_a_batch() -> None:
    mine = [(None, b"%d" % n, [("a", b"x"), ("lastbeat", b"head%d" % n), ("z", None)]) for n in range(300)]
    found, end = read(packed(mine, base=10), start=100)
    assert [one.offset for one in found] == list(range(100, 310))
    assert found[0].header == b"head90"
    assert end == 310


def test_what_the_broker_cut_off_comes_with_the_next_answer() -> None:
    whole, cut = packed([(None, b"a", [])]), packed([(None, b"b" * 100, [])], base=1)
    found, end = read(whole + cut[:-1])
    assert [one.body for one in found] == [b"a"]
    assert end == 1


@pytest.mark.parametrize("at", [17, 25, 70, -1])
def test_a_byte_that_changed_is_noticed(at: int) -> None:
    data = bytearray(packed([(b"key", b"value" * 20, [("lastbeat", b"head")])]))
    data[at] ^= 1
    with pytest.raises(CorruptRecordError):
        read(bytes(data))
