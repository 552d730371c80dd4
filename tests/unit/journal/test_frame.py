from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from collector.journal import frame
from tests.contracts.journals import batch

SEED = 0xC0FFEE


def framed(number: int = 1, at_ns: int = 5, seed: int = SEED, size: int = 50) -> bytes:
    encoded = frame.encode(batch(number, size=size))
    return frame.prefix(encoded, at_ns, seed) + encoded.header + encoded.body


def test_a_frame_is_read_as_it_was_written() -> None:
    raw, sent = framed(9, at_ns=123_456), batch(9, size=50)
    found = frame.parse(memoryview(raw), 0, SEED)
    assert found is not None
    assert (found.at_ns, found.end) == (123_456, len(raw))
    assert raw[found.header_start : found.body_start] == sent.header.encode()
    assert raw[found.body_start : found.end] == sent.body


@given(st.data())
def test_any_changed_byte_makes_a_frame_unsound(data: st.DataObject) -> None:
    raw = bytearray(framed())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    assert frame.parse(memoryview(bytes(raw)), 0, SEED) is None


@given(st.integers(0, 1000))
def test_any_cut_makes_a_frame_unsound(cut: int) -> None:
    raw = framed()
    assert frame.parse(memoryview(raw[: min(cut, len(raw) - 1)]), 0, SEED) is None


@given(st.binary(max_size=300))
def test_noise_is_no_frame_and_does_no_harm(noise: bytes) -> None:
    assert frame.parse(memoryview(noise), 0, SEED) is None
    assert frame.find(noise, 0, SEED) is None
    assert frame.find(frame.MAGIC * 3 + noise, 0, SEED) is None


@given(st.binary(max_size=100))
def test_the_next_sound_frame_is_found_behind_noise(noise: bytes) -> None:
    raw = noise + frame.MAGIC + noise + framed()
    found = frame.find(raw, 0, SEED)
    assert found is not None
    assert found.end == len(raw)


def test_a_frame_that_a_sender_hid_in_a_body_is_not_believed() -> None:
    forged = framed(666, seed=0)  # its maker doesn't know the segment's seed
    assert frame.find(b"damage" + forged, 0, SEED) is None


def test_lengths_that_lie_are_not_followed() -> None:
    huge = struct.pack(">4sIIQI", frame.MAGIC, 2**31, 2**31, 0, 0)
    assert frame.size_at(huge, 0) is None
    assert frame.find(huge + framed(), 0, SEED) is not None
