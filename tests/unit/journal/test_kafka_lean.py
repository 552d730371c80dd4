"""What is replaced in kafka-python hands out the same records, and the same errors."""

from __future__ import annotations

import random
import socket
from types import SimpleNamespace

import pytest
from kafka.errors import KafkaConnectionError
from kafka.net.transport import KafkaTCPTransport
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from collector.journal.kafka_lean import make_lean

PLAIN, GZIP, LZ4 = 0, 1, 3


@pytest.fixture(autouse=True)
def lean():
    make_lean()
    make_lean()


@pytest.fixture
def ends():
    """Two ends of a connection; the first is a transport as kafka-python has it, which never waits."""
    near, far = socket.socketpair()
    near.setblocking(False)
    yield SimpleNamespace(_sock=near), far
    near.close()
    far.close()


def batch(packed_with: int, values: list[bytes]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, packed_with, 0, -1, -1, -1, 10_000_000)
    for offset, value in enumerate(values):
        builder.append(offset, 1_700_000_000_000, b"key", value, [("lastbeat", b"header")])
    return bytes(builder.build())


@pytest.mark.parametrize("packed_with", [PLAIN, GZIP, LZ4])
def test_records_are_what_was_written(packed_with):
    values = [random.Random(at).randbytes(at * 100) for at in range(50)]
    read = DefaultRecordBatch(batch(packed_with, values))
    assert read.validate_crc()
    records = list(read)
    assert [record.value for record in records] == values
    assert {type(record.value) for record in records} == {bytes}
    assert {(record.key, *record.headers) for record in records} == {(b"key", ("lastbeat", b"header"))}
    assert [record.offset for record in records] == list(range(50))


def test_what_is_packed_is_copied_once():
    read = DefaultRecordBatch(batch(LZ4, [b"x" * 1_000]))
    list(read)
    assert isinstance(read._buffer, bytes), "a bytearray is copied for each record, and once more into bytes"


def test_all_that_has_come_is_received_at_once(ends):
    transport, far = ends
    far.setblocking(False)
    sent = far.send(bytes(range(256)) * 4_096)
    assert KafkaTCPTransport._sock_recv(transport) == ((bytes(range(256)) * 4_096)[:sent], None)
    assert KafkaTCPTransport._sock_recv(transport) == (b"", None)


def test_what_came_before_the_end_is_received_with_it(ends):
    transport, far = ends
    far.send(b"last words")
    assert KafkaTCPTransport._sock_recv(transport) == (b"last words", None)
    far.close()
    data, error = KafkaTCPTransport._sock_recv(transport)
    assert data == b""
    assert isinstance(error, KafkaConnectionError)


def test_a_connection_that_broke_is_told(ends):
    transport, _ = ends
    transport._sock.close()
    data, error = KafkaTCPTransport._sock_recv(transport)
    assert data == b""
    assert isinstance(error, KafkaConnectionError)
