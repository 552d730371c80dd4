"""The bytes' way through kafka-python 3.0.12: three copies in place of eleven, no object between wire and Record.

It puts leaner parts in the places of the library's own: a socket that reads straight into the answer's frame, an
answer whose layout needs no copy of its rest, and a walk over the records that makes ours at once. Every checksum that
the library checks is checked; groups, leaders, retries and TLS stay its own. Imported only where kafka-python is there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, KafkaConnectionError
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaTCPTransport
from kafka.protocol.frame import KafkaBytes
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import calc_crc32c

from collector.ports import Record

from .kafka_link import HEADER, Names

_CHUNK_BYTES = 64 * 1024
_LAST_PLAIN_FETCH = 11  # from 12 on, the decoder copies all the rest of an answer once for each partition in it
_BATCH = struct.Struct(">qiibIhiqqqhii")
_CHECKED_FROM = 21
_CODEC, _CONTROL, _LOG_APPEND_TIME = 0x07, 0x20, 0x08
_HEADER = HEADER.encode()


def network(**options: Any) -> Any:
    """What every client of ours connects with."""
    net = NetworkSelector(**options)
    return KafkaNetClient(net=net, manager=_Connections(net, **options), **options)


def lean(consumer: Any, names: Names) -> None:
    """Let a consumer that was just built poll Records. The library offers no other way to choose its fetcher."""
    fetcher = consumer._fetcher
    fetcher.__class__ = _Fetcher
    fetcher.PartitionRecords = partial(_Records, names)


class _Connections(KafkaConnectionManager):  # type: ignore[misc]
    async def _build_transport(self, node: Any, timeout_at: Any = None) -> Any:
        transport = await super()._build_transport(node, timeout_at=timeout_at)
        if type(transport) is not KafkaTCPTransport:  # TLS has its own
            return transport
        return _Transport(self._net, transport._sock, host=node.host)


class _Transport(KafkaTCPTransport):  # type: ignore[misc]
    def _sock_recv(self) -> tuple[bytes, KafkaConnectionError | None]:
        """What came. All of a long answer but its last byte goes into the frame itself, and is not returned."""
        try:
            frame = self._frame()
            if frame is None:
                data = self._sock.recv(_CHUNK_BYTES)
                return data, None if data else KafkaConnectionError("socket disconnected")
            size = self._sock.recv_into(memoryview(frame)[frame.tell() : -1])
            frame.seek(frame.tell() + size)
            return b"", None if size else KafkaConnectionError("socket disconnected")
        except (BlockingIOError, InterruptedError):
            return b"", None
        except OSError as error:
            return b"", KafkaConnectionError(error)

    def _frame(self) -> _Frame | None:
        """The frame that is being filled, if more than its last byte is still to come."""
        parser = getattr(self._protocol, "parser", None)
        if parser is None or not parser._receiving:
            return None
        old = parser._rbuffer
        if len(old) - old.tell() < 2:
            return None
        if type(old) is not _Frame:
            parser._rbuffer = _Frame(len(old))
            parser._rbuffer.write(memoryview(old)[: old.tell()])
        frame: _Frame = parser._rbuffer
        return frame


class _Frame(KafkaBytes):  # type: ignore[misc]
    """An answer's bytes, of which the decoder gets a view, not two copies."""

    def read(self, nbytes: int | None = None) -> Any:
        if nbytes is not None:
            return super().read(nbytes)
        start = self.tell()
        self.seek(len(self))
        return memoryview(self)[start:]


class _Fetcher(Fetcher):  # type: ignore[misc]
    def _create_fetch_requests(self) -> Any:
        requests = super()._create_fetch_requests()
        for request, _ in requests.values():
            request._max_version = _LAST_PLAIN_FETCH
        return requests


class _Records(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What one partition's part of an answer holds, as Records."""

    def __init__(self, names: Names, fetch_offset: int, tp: Any, records: Any, **options: Any) -> None:
        self._ours = names.ours(tp.topic, tp.partition)
        super().__init__(fetch_offset, tp, records, **options)

    def _unpack_records(self, tp: Any, records: Any, *_: Any) -> Iterator[Record]:
        data, at = records._buffer, 0
        while len(data) - at >= _BATCH.size:
            found = _BATCH.unpack_from(data, at)
            base, end, magic, attributes = found[0], at + 12 + found[1], found[3], found[5]
            if end > len(data):
                break  # the rest of it comes with the next answer
            if magic != 2:
                raise CorruptRecordError(f"{tp.topic}/{tp.partition}: a batch of the format {magic} at offset {base}")
            if calc_crc32c(memoryview(data)[at + _CHECKED_FROM : end]) != found[4]:
                raise CorruptRecordError(f"{tp.topic}/{tp.partition}: the checksum at offset {base} is wrong")
            self.leader_epoch = found[2]
            if not attributes & _CONTROL:
                buffer, start = data, at + _BATCH.size
                if attributes & _CODEC:
                    packed = DefaultRecordBatch(memoryview(data)[at:end])
                    packed._maybe_uncompress()
                    buffer, start = bytes(packed._buffer), packed._pos
                for record in self._walk(buffer, start, found, len(buffer) if attributes & _CODEC else end):
                    self.bytes_read += 1  # more than none: what the library asks before it lets another go first
                    self.next_fetch_offset = record.next_offset
                    yield record
            self.next_fetch_offset = base + found[6] + 1
            at = end
        self.drain()

    def _walk(self, data: bytes, at: int, batch: tuple[Any, ...], end: int) -> list[Record]:
        """The records of one batch, whose head is `batch`. Raises CorruptRecordError."""
        records: list[Record] = []
        ours, base, stamps = self._ours, batch[0], bool(batch[5] & _LOG_APPEND_TIME)
        appended_at = batch[8] / 1000
        try:
            for _ in range(batch[12]):
                size, at = _number(data, at)
                stop = at + size
                since, at = _number(data, at + 1)
                if not stamps:
                    appended_at = (batch[7] + since) / 1000
                delta, at = _number(data, at)
                size, at = _number(data, at)  # the key, which nobody here reads
                size, at = _number(data, at + max(size, 0))
                body = b""
                if size > 0:
                    body = data[at : at + size]
                    at += size
                count, at = _number(data, at)
                header = b""
                while count > 0:
                    size, at = _number(data, at)
                    name = data[at : at + size]
                    size, at = _number(data, at + size)
                    if name == _HEADER and size > 0 and not header:
                        header = data[at : at + size]
                    at += max(size, 0)
                    count -= 1
                if at != stop or at > end:
                    raise CorruptRecordError(f"{ours.topic}/{ours.partition}: a record at {base + delta} is cut off")
                offset = base + delta
                records.append(Record(ours, offset, offset + 1, appended_at, header, body))
        except (IndexError, ValueError) as error:
            raise CorruptRecordError(f"{ours.topic}/{ours.partition}: records from {base}: {error!r}") from None
        if at != end:
            raise CorruptRecordError(f"{ours.topic}/{ours.partition}: bytes are left over in the batch at {base}")
        return records


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A varint, and where it ends: https://protobuf.dev/programming-guides/encoding/#signed-ints."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    result, shift = byte & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (result >> 1) ^ -(result & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
