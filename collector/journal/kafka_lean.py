"""kafka-python 3.0, receiving with fewer calls and copies: a tenth of an indexer's CPU.

It asks a socket for 4 KiB at a time, and what it has unpacked it copies twice before it hands it out. Both are replaced
for all its clients here, and nothing else. A release that no longer has these two is left as it is.
"""

from __future__ import annotations

from functools import cache
from typing import Any

_CHUNK_BYTES = 256 * 1024


@cache
def make_lean() -> None:
    """Once for the process."""
    from kafka.net.transport import KafkaTCPTransport
    from kafka.record.default_records import DefaultRecordBatch

    if hasattr(KafkaTCPTransport, "_sock_recv"):
        KafkaTCPTransport._sock_recv = _receive
    if hasattr(DefaultRecordBatch, "_maybe_uncompress"):
        DefaultRecordBatch._maybe_uncompress = _unpack_once(DefaultRecordBatch._maybe_uncompress)


def _receive(transport: Any) -> tuple[bytes, Exception | None]:
    """All that is there, and why there won't be any more."""
    from kafka.errors import KafkaConnectionError

    parts: list[bytes] = []
    error = None
    while not parts or len(parts[-1]) == _CHUNK_BYTES:
        try:
            parts.append(transport._sock.recv(_CHUNK_BYTES))
        except (BlockingIOError, InterruptedError):
            break
        except OSError as why:
            error = KafkaConnectionError(why)
            break
        if not parts[-1]:
            error = KafkaConnectionError("socket disconnected")
    return b"".join(parts), error


def _unpack_once(before: Any) -> Any:
    """What is packed as our journal packs it, left as it comes out of that; else as it was done `before`."""
    import lz4.frame

    def unpack(batch: Any) -> None:
        if batch._decompressed or batch.compression_type != batch.CODEC_LZ4:
            before(batch)
            return
        batch._buffer = lz4.frame.decompress(memoryview(batch._buffer)[batch._pos :])
        batch._pos = 0
        batch._decompressed = True

    return unpack
