"""Runs of foreign records become batches whose numbers are the offsets, however the runs are cut."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from collector.foreign.seal import Sealer
from collector.foreign.stream import foreign_stream
from collector.ports import Record, TopicPartition
from shippers.batch import Batch, Header, seal

TP = TopicPartition("lastbeat.cn-east.business", 3)
STREAM = foreign_stream("here", TP)
OURS = seal(Header("paybootid001.business", 1, 1, "cn-east", "business", "2026-11-21", "pay", "p", 0), [b"{}"])


def foreign(offset: int, doc: object = None, tp: TopicPartition = TP) -> Record:
    body = (
        doc if isinstance(doc, bytes) else json.dumps(doc or {"ts": 1_795_262_400, "app": "pay", "n": offset}).encode()
    )
    return Record(tp, offset, offset + 1, 1_795_262_400.0, b"", body)


def ours(offset: int) -> Record:
    return Record(TP, offset, offset + 1, 1_795_262_400.0, OURS.header.encode(), OURS.body)


def headers(records: list[Record]) -> list[tuple[int, int]]:
    found = [Header.decode(record.header) for record in records]
    return [(header.first, header.count) for header in found]


def test_records_in_a_row_are_one_sound_batch() -> None:
    [record] = Sealer("here").seal([foreign(5), foreign(6), foreign(7)])
    header = Header.decode(record.header)
    Batch(header, record.body).check()
    assert (header.stream, header.first, header.count, header.day) == (STREAM, 6, 3, "2026-11-21")
    assert (header.region, header.dataset, header.service, header.instance) == ("cn-east", "business", "pay", "kafka-3")
    assert (record.tp, record.offset, record.next_offset, record.foreign) == (TP, 5, 8, True)
    lines = [json.loads(line) for line in record.body.splitlines()]
    assert [(line["event"]["stream"], line["event"]["sequence"]) for line in lines] == [(STREAM, n) for n in (6, 7, 8)]


def test_a_run_ends_at_a_hole_a_batch_of_ours_another_day_and_another_partition() -> None:
    other = TopicPartition(TP.topic, 4)
    sealed = Sealer("here").seal(
        [foreign(1), foreign(3), ours(4), foreign(5), foreign(6, {"ts": 1_795_000_000}), foreign(7, tp=other)]
    )
    assert headers(sealed) == [(2, 1), (4, 1), (1, 1), (6, 1), (7, 1), (8, 1)]
    assert sealed[2] == ours(4)
    assert Header.decode(sealed[5].header).stream == foreign_stream("here", other) != STREAM


def test_one_batch_may_come_from_several_services_and_says_so() -> None:
    [record] = Sealer("here").seal([foreign(1, {"app": "pay", "host": "a"}), foreign(2, {"app": "risk", "host": "b"})])
    header = Header.decode(record.header)
    assert (header.service, header.instance) == ("several", "several")
    lines = [json.loads(line)["service"] for line in record.body.splitlines()]
    assert lines == [{"name": "pay", "node": {"name": "a"}}, {"name": "risk", "node": {"name": "b"}}]


def test_what_is_no_event_stands_alone_with_its_bytes_and_its_number() -> None:
    before, refused, after = Sealer("here").seal([foreign(1), foreign(2, b"no"), foreign(3)])
    assert headers([before, refused, after]) == [(2, 1), (3, 1), (4, 1)]
    assert (refused.body, refused.offset, refused.next_offset) == (b"no", 2, 3)
    assert refused.refused.startswith("not JSON")
    assert not before.refused
    assert not after.refused


def test_a_run_is_bounded() -> None:
    sealed = Sealer("here").seal([foreign(n, {"message": "x" * 16_000, "a": "y" * 4_000}) for n in range(1_200)])
    assert all(len(record.body) < 8 * 1024 * 1024 for record in sealed)
    assert sum(Header.decode(record.header).count for record in sealed) == 1_200
    assert max(Header.decode(record.header).count for record in sealed) <= 1_000


@given(st.lists(st.sampled_from(["event", "ours", "bad", "old", "hole"]), max_size=30), st.data())
def test_however_reads_are_cut_each_event_has_the_same_identity_and_line(kinds: list[str], data: st.DataObject) -> None:
    records = []
    for offset, kind in enumerate(kinds):
        if kind == "ours":
            records.append(ours(offset))
        elif kind != "hole":
            doc = {"bad": b"no", "old": {"ts": 1_700_000_000}}.get(kind)
            records.append(foreign(offset, doc))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(records)))))
    sealer, parts = Sealer("here"), []
    for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        parts += sealer.seal(records[start:end])
    assert _events(parts) == _events(Sealer("here").seal(records))
    at = [(record.offset, record.next_offset) for record in parts]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(at))


def _events(records: list[Record]) -> dict[str, bytes]:
    found = {}
    for record in records:
        header = Header.decode(record.header)
        for number, line in enumerate(record.body.splitlines(), header.first):
            found[f"{header.stream}:{number}"] = line
    return found
