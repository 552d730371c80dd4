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
from kafka.errors import CorruptRecordError, KafkaConnectionError, KafkaError, KafkaTimeoutError
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaTCPTransport
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import calc_crc32c

from collector.ports import Record

from .kafka_link import HEADER, Names

_CHUNK_BYTES = 64 * 1024
_KEPT_BYTES = 32 * 1024 * 1024
_LAST_PLAIN_FETCH = 11  # from 12 on, the decoder copies all the rest of an answer once for each partition in it
_BATCH = struct.Struct(">qiibIhiqqqhii")
_CHECKED_FROM = 21
_CODEC, _CONTROL, _LOG_APPEND_TIME = 0x07, 0x20, 0x08
_HEADER = HEADER.encode()


def network(**options: Any) -> Any:
    """What every client of ours connects with."""
    net = _Net(**options)
    return KafkaNetClient(net=net, manager=_Connections(net, **options), **options)


def lean(consumer: Any, names: Names) -> None:
    """Let a consumer that was just built poll Records. The library offers no other way to choose its fetcher."""
    fetcher = consumer._fetcher
    fetcher.__class__ = _Fetcher
    fetcher.PartitionRecords = partial(_Records, names)


class _Net(NetworkSelector):  # type: ignore[misc]
    def run(self, coro: Any, *args: Any) -> Any:
        """The library keeps the error of each wait that was in vain in a cycle, and with it all our frames and what
        they have read: what leaves here is a fresh one."""
        try:
            return super().run(coro, *args)
        except KafkaTimeoutError as error:
            error.__traceback__ = None
            raise KafkaTimeoutError(*error.args) from None


class _Connections(KafkaConnectionManager):  # type: ignore[misc]
    async def _build_transport(self, node: Any, timeout_at: Any = None) -> Any:
        transport = await super()._build_transport(node, timeout_at=timeout_at)
        if type(transport) is not KafkaTCPTransport:  # TLS has its own
            return transport
        return _Transport(self._net, transport._sock, host=node.host)


class _Transport(KafkaTCPTransport):  # type: ignore[misc]
    """Fills one buffer after another answer, always the same: all that is decoded from it is a copy."""

    def __init__(self, net: Any, sock: Any, host: str | None = None) -> None:
        super().__init__(net, sock, host=host)
        self._buffer = bytearray()

    def _sock_recv(self) -> tuple[bytes, KafkaError | None]:
        """What came. Of an answer only the last byte is returned, at which the parser reads what it has by then."""
        try:
            parser = getattr(self._protocol, "parser", None)
            if parser is None:
                data = self._sock.recv(_CHUNK_BYTES)
                return data, None if data else KafkaConnectionError("socket disconnected")
            if not parser._receiving:
                return b"", self._begin(parser)
            frame = parser._rbuffer
            if frame.left > 1:
                size = self._sock.recv_into(frame.free()[:-1])
                frame.seek(frame.tell() + size)
                return b"", None if size else KafkaConnectionError("socket disconnected")
            data = self._sock.recv(1)
            return data, None if data else KafkaConnectionError("socket disconnected")
        except (BlockingIOError, InterruptedError):
            return b"", None
        except KafkaError as error:
            return b"", error
        except OSError as error:
            return b"", KafkaConnectionError(error)

    def _begin(self, parser: Any) -> KafkaError | None:
        """Take the four bytes before an answer, which say how long it is."""
        data = self._sock.recv(4 - parser._header.tell())
        parser._header.write(data)
        if parser._header.tell() == 4:
            size = int.from_bytes(parser._header, "big", signed=True)
            parser._validate_frame_size(size)
            if size > len(self._buffer) or len(self._buffer) > max(_KEPT_BYTES, size):
                self._buffer = bytearray(size)
            parser._rbuffer, parser._receiving = _Frame(memoryview(self._buffer)[:size]), True
        return None if data else KafkaConnectionError("socket disconnected")


class _Frame:
    """An answer's bytes as the library's parser handles them. The decoder gets a view of them."""

    def __init__(self, view: memoryview) -> None:
        self._view, self._at = view, 0

    def __len__(self) -> int:
        return len(self._view)

    @property
    def left(self) -> int:
        """How many bytes aren't there yet."""
        return len(self._view) - self._at

    def free(self) -> memoryview:
        """Where they belong."""
        return self._view[self._at :]

    def tell(self) -> int:
        return self._at

    def seek(self, at: int) -> None:
        self._at = at

    def write(self, data: bytes) -> None:
        self._view[self._at : self._at + len(data)] = data
        self._at += len(data)

    def read(self, size: int | None = None) -> Any:
        start, self._at = self._at, len(self._view) if size is None else min(len(self._view), self._at + size)
        found = self._view[start : self._at]
        return found if size is None else bytes(found)


class _Fetcher(Fetcher):  # type: ignore[misc]
    def _create_fetch_requests(self) -> Any:
        requests = super()._create_fetch_requests()
        for request, _ in requests.values():
            request._max_version = _LAST_PLAIN_FETCH
        return requests

    def _parse_fetched_data(self, completed_fetch: Any) -> Any:
        """The library keeps answers that were read, in cycles, until Python finds them: let it keep their shells."""
        records = super()._parse_fetched_data(completed_fetch)
        completed_fetch.partition_data.records = None
        return records


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
