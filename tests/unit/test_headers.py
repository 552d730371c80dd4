"""A header that is read the fast way is the one that the slow way reads, and what that refuses is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.headers import HeaderReader
from shippers.batch import Header
from shippers.errors import BadBatch

ONE = Header("abcdefgh.business", 1, 20, "cn-east", "business", "2026-11-21", "pay", "pay-01", 7, via="gw-1")


@given(
    st.lists(
        st.builds(
            dataclasses.replace,
            st.sampled_from((ONE, dataclasses.replace(ONE, canary=True), dataclasses.replace(ONE, service="first"))),
            first=st.integers(-1, 2**63),
            count=st.integers(-1, 10_001),
            crc=st.integers(-1, 2**32),
            void=st.sampled_from((None, None, "evicted")),
            age_s=st.sampled_from((None, 1.5)),
        ),
        max_size=12,
    )
)
def test_what_is_read_fast_is_what_is_read_slowly(headers: list[Header]) -> None:
    reader = HeaderReader()
    for header in headers:
        raw = header.encode()
        try:
            expected: Header | str = Header.decode(raw)
        except BadBatch as error:
            expected = error.code
        try:
            found: Header | str = reader.decode(raw)
        except BadBatch as error:
            found = error.code
        assert found == expected


@pytest.mark.parametrize("name", ["first", "count", "crc", "stream"])
def test_a_name_that_comes_twice_means_what_it_means_to_a_json_reader(name: str) -> None:
    """The last one counts, wherever it stands."""
    reader = HeaderReader()
    for first in (5, 6, 7):
        raw = dataclasses.replace(ONE, first=first, count=first, crc=first).encode()
        again = json.dumps(json.loads(raw)[name] if first == 5 else 5 if name != "stream" else "hgfedcba.business")
        raw = raw[:-1] + f',"{name}":{again}}}'.encode()
        assert reader.decode(raw) == Header.decode(raw)


def test_other_spellings_of_the_same_header_are_read_as_well() -> None:
    reader = HeaderReader()
    fields = json.loads(ONE.encode())
    for raw in (
        json.dumps(fields).encode(),
        json.dumps(dict(reversed(fields.items())), separators=(",", ":")).encode(),
        ONE.encode().replace(b"pay-01", b"\\u0070ay-01"),
        ONE.encode().replace(b'"v":1', b'"v":1,"new":[{}]'),
    ):
        assert reader.decode(raw) == ONE == reader.decode(raw)
