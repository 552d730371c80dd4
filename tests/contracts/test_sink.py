"""What every Sink must do. Run over each of tests/contracts/sinks.py."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.dead_letters import has_used_numbers
from collector.foreign.seal import Sealer
from collector.foreign.stream import foreign_stream
from collector.ports import Outcome, Record, TopicPartition, topic_of
from shippers.batch import Batch, Header, seal
from tests.contracts.sinks import SINKS, Kept

PAY = "paybootid001.business"
DAY = "2025-11-21"


@pytest.fixture(params=sorted(SINKS))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    with SINKS[request.param](tmp_path) as made:
        yield made


def line(number: int, stream: str = PAY) -> bytes:
    event = {"@timestamp": f"{DAY}T12:00:00.{number % 1_000_000:06d}Z", "message": "paid", "labels": {"n": str(number)}}
    return json.dumps(event | {"event": {"stream": stream, "sequence": number}}, separators=(",", ":")).encode()


def batch(first: int, count: int, stream: str = PAY, *, bad: dict[int, bytes] | None = None, **header: object) -> Batch:
    dataset = stream.rpartition(".")[2]
    plain = Header(stream, first, count, "cn-east", dataset, DAY, "payment", "pay-01", 0)
    lines = [(bad or {}).get(number, line(number, stream)) for number in range(first, first + count)]
    return seal(dataclasses.replace(plain, **header), lines)  # type: ignore[arg-type]


def record(offset: int, made: Batch, partition: int = 0) -> Record:
    tp = TopicPartition(topic_of(made.header), partition)
    return Record(tp, offset, offset + 1, 1_763_733_600.0, made.header.encode(), made.body)


def ids(*numbers: int, stream: str = PAY) -> list[str]:
    return sorted(f"{stream}:{number}" for number in numbers)


def counts(outcomes: list[Outcome]) -> list[tuple[int, int, int]]:
    assert not any(outcome.retry for outcome in outcomes)
    return [(outcome.stored, outcome.duplicate, outcome.dead) for outcome in outcomes]


def test_nothing_to_write_is_nothing(kept: Kept) -> None:
    assert kept.sink.write([]) == []


def test_every_event_is_stored_and_each_record_answered_in_order(kept: Kept) -> None:
    records = [record(0, batch(1, 3)), record(1, batch(4, 2)), record(0, batch(1, 2, "shopbootid01.console"))]
    outcomes = kept.sink.write(records)
    assert [outcome.record for outcome in outcomes] == records
    assert counts(outcomes) == [(3, 0, 0), (2, 0, 0), (2, 0, 0)]
    assert kept.ids() == sorted(ids(1, 2, 3, 4, 5) + ids(1, 2, stream="shopbootid01.console"))


def test_a_mixture_of_regions_days_and_datasets_is_one_write(kept: Kept) -> None:
    records = [
        record(0, batch(1, 2)),
        record(0, batch(1, 2, "shopbootid01.business", region="cn-north")),
        record(1, batch(3, 1, day="2025-11-20")),
        record(0, batch(1, 1, "paybootid001.heartbeat")),
        record(0, batch(1, 1, "paybootid001.metrics")),
    ]
    assert counts(kept.sink.write(records)) == [(2, 0, 0), (2, 0, 0), (1, 0, 0), (1, 0, 0), (1, 0, 0)]
    assert len(kept.ids()) == 7


def test_a_batch_sent_again_is_stored_once_whether_it_comes_later_or_in_the_same_write(kept: Kept) -> None:
    sent = batch(1, 3)
    assert counts(kept.sink.write([record(0, sent), record(1, sent)])) == [(3, 0, 0), (0, 3, 0)]
    assert counts(kept.sink.write([record(2, sent)])) == [(0, 3, 0)]
    assert counts(kept.sink.write([record(7, sent, partition=3)])) == [(0, 3, 0)]
    twice = record(3, batch(4, 1))
    assert sorted(counts(kept.sink.write([twice, twice]))) == [(0, 1, 0), (1, 0, 0)]
    assert kept.ids() == ids(1, 2, 3, 4)


def test_of_an_overlapping_batch_only_the_new_numbers_are_stored(kept: Kept) -> None:
    kept.sink.write([record(0, batch(3, 3))])
    assert counts(kept.sink.write([record(1, batch(1, 9))])) == [(6, 3, 0)]
    assert kept.ids() == ids(*range(1, 10))


def test_the_same_record_read_again_changes_nothing(kept: Kept) -> None:
    records = [record(0, batch(1, 3)), record(1, batch(4, 3, bad={5: b"no"}))]
    kept.sink.write(records)
    before = kept.ids(), kept.dead()
    again = kept.sink.write(records)
    assert [outcome.stored + outcome.dead for outcome in again] == [0, 0]
    assert [outcome.duplicate for outcome in again] == [3, 3]
    assert (kept.ids(), kept.dead()) == before


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"hello", "not JSON"),
        (b'{"@timestamp":"2025-11-21T12:00:00Z","mess', "not JSON"),
        (b'{"@timestamp":"2025-11-21T12:00:00Z"} x', "not JSON"),
        (b'{"@timestamp":"2025-11-21T12:00:00Z"}{"@timestamp":"2025-11-21T12:00:00Z"}', "not JSON"),
        (b'{"@timestamp":"2025-11-21T12:00:00Z","message":"\xff\xfe"}', "not UTF-8"),
        (b"[1,2]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"message":"x"}', "no @timestamp"),
        (b'{"@timestamp":"2025-13-21T12:00:00Z"}', "'2025-13-21T12:00:00Z' is not a time"),
        (b'{"@timestamp":1763726400}', "'1763726400' is not a time"),
        (b'{"@timestamp":"infinity"}', "'infinity' is not a time"),
    ],
    ids=str,
)
def test_a_line_that_is_no_event_goes_to_the_dead_letters_and_its_neighbours_are_stored(
    kept: Kept, bad: bytes, why: str
) -> None:
    outcomes = kept.sink.write([record(4, batch(1, 3, bad={2: bad})), record(5, batch(4, 1, bad={4: bad}))])
    assert counts(outcomes) == [(2, 0, 1), (0, 0, 1)]
    assert kept.ids() == ids(1, 3)
    first, second = sorted(kept.dead(), key=lambda letter: letter.first)
    assert (first.stream, first.first, first.count, first.original) == (PAY, 2, 1, bad)
    assert (first.region, first.service, first.dataset) == ("cn-east", "payment", "business")
    assert first.source == "lastbeat.cn-east.business/0/4"
    assert why in first.reason
    assert second.first == 4


def test_nobody_believes_a_body_about_who_sent_it(kept: Kept) -> None:
    liar = b'{"@timestamp":"2025-11-21T12:00:00Z","event":{"stream":"otherbootid1.business","sequence":99}}'
    kept.sink.write([record(0, batch(1, 2, bad={1: liar, 2: liar}))])
    assert kept.ids() == ids(1, 2)


def test_a_void_batch_is_kept_as_its_numbers(kept: Kept) -> None:
    void = batch(5, 3).void("spool full")
    assert counts(kept.sink.write([record(0, void), record(1, void)])) == [(0, 0, 3), (0, 3, 0)]
    [letter] = kept.dead()
    assert (letter.stream, letter.first, letter.count) == (PAY, 5, 3)
    assert (letter.reason, letter.original) == ("void: spool full", b"")
    assert kept.ids() == []


def test_a_void_batch_of_what_is_stored_already_takes_nothing_back(kept: Kept) -> None:
    kept.sink.write([record(0, batch(1, 2))])
    assert counts(kept.sink.write([record(1, batch(1, 4).void("refused"))])) == [(0, 2, 2)]
    [letter] = kept.dead()
    assert (letter.first, letter.count) == (3, 2)
    assert kept.ids() == ids(1, 2)


Numbers = tuple[tuple[int, int], ...]


def numbers(outcomes: list[Outcome]) -> list[tuple[Numbers, Numbers]]:
    assert all(outcome.header is not None for outcome in outcomes)
    return [(outcome.dead_numbers, outcome.void_numbers) for outcome in outcomes]


def replay(offset: int, first: int, count: int = 1, *, bad: dict[int, bytes] | None = None) -> Record:
    return record(offset, batch(first, count, bad=bad, replay=True))


def test_an_outcome_says_which_numbers_are_dead_letters_and_all_others_are_in_the_store(kept: Kept) -> None:
    records = [
        record(0, batch(1, 3)),
        record(1, batch(4, 5, bad={5: b"no", 6: b"no", 8: b"no"})),
        record(2, batch(9, 4).void("spool full")),
    ]
    outcomes = kept.sink.write(records)
    assert numbers(outcomes) == [((), ()), (((5, 6), (8, 8)), ()), (((9, 12),), ((9, 12),))]
    assert [outcome.header for outcome in outcomes] == [Header.decode(one.header) for one in records]
    assert numbers(kept.sink.write(records)) == numbers(outcomes), "read again"
    assert numbers(kept.sink.write([dataclasses.replace(one, offset=9, next_offset=10) for one in records])) == numbers(
        outcomes
    ), "sent again"


def test_of_a_void_batch_the_numbers_that_are_stored_or_dead_by_themselves_are_told_apart(kept: Kept) -> None:
    kept.sink.write([record(0, batch(1, 4, bad={3: b"no"}))])
    void = record(1, batch(1, 6).void("refused"))
    told = [(((3, 3), (5, 6)), ((5, 6),))]
    assert numbers(kept.sink.write([void])) == told
    assert numbers(kept.sink.write([void])) == told
    assert numbers(kept.sink.write([dataclasses.replace(void, offset=5, next_offset=6)])) == told


def test_what_a_replay_mends_is_in_the_store_from_then_on(kept: Kept) -> None:
    original = record(0, batch(1, 3, bad={2: b"no", 3: b"no"}))
    kept.sink.write([original])
    assert numbers(kept.sink.write([replay(1, 2)])) == [((), ())]
    assert numbers(kept.sink.write([replay(2, 3, bad={3: b"still no"})])) == [(((3, 3),), ())]
    assert numbers(kept.sink.write([replay(3, 1, 3)])) == [((), ())]
    assert numbers(kept.sink.write([replay(1, 2), replay(3, 1, 3)])) == [((), ()), ((), ())]


def test_a_batch_that_breaks_the_contract_settles_no_numbers_however_often_it_is_read(kept: Kept) -> None:
    sound = batch(1, 3)
    broken = record(0, Batch(sound.header, sound.body.replace(b"paid", b"PAID")))
    bad_void = record(1, Batch(batch(4, 2).void("x").header, b"{}\n"))
    headless = dataclasses.replace(record(2, sound), header=b"nonsense")
    for _ in range(2):
        for outcome in kept.sink.write([broken, bad_void, headless]):
            assert (outcome.header, outcome.dead_numbers, outcome.retry) == (None, (), False)
    assert numbers(kept.sink.write([record(3, sound)])) == [((), ())]


def test_a_new_process_tells_the_same_numbers_of_what_it_reads_again(kept: Kept) -> None:
    sent = [record(0, batch(1, 3, bad={2: b"no"})), record(1, batch(1, 5).void("evicted")), record(2, batch(6, 2))]
    told = [(((2, 2),), ()), (((2, 2), (4, 5)), ((4, 5),)), ((), ())]
    assert numbers(kept.sink.write(sent)) == told
    kept.sink.close()
    sink = kept.reopened()
    if sink is None:
        pytest.skip("this sink keeps nothing beyond its process")
    assert numbers(sink.write(sent)) == told
    moved = [dataclasses.replace(again, offset=again.offset + 3, next_offset=again.offset + 4) for again in sent]
    assert numbers(sink.write(moved)) == told


def test_a_foreign_record_that_is_no_event_is_a_dead_number(kept: Kept) -> None:
    read = [foreign(4), foreign(5, b"no"), foreign(6)]
    for _ in range(2):
        assert numbers(kept.sink.write(Sealer("here").seal(read))) == [((), ()), (((6, 6),), ()), ((), ())]


def test_a_batch_that_breaks_the_contract_is_dead_as_a_whole_and_a_sound_copy_is_still_stored(kept: Kept) -> None:
    sound = batch(1, 3)
    broken = Batch(sound.header, sound.body.replace(b"paid", b"PAID"))
    assert counts(kept.sink.write([record(0, broken)])) == [(0, 0, 3)]
    [letter] = kept.dead()
    assert letter.reason.startswith("batch: crc: ")
    assert (letter.first, letter.count, letter.original) == (1, 3, broken.body)
    assert counts(kept.sink.write([record(1, sound)])) == [(3, 0, 0)]
    assert kept.ids() == ids(1, 2, 3)


def test_other_events_under_used_numbers_are_one_dead_letter_and_are_said(kept: Kept) -> None:
    kept.sink.write([record(0, batch(1, 3)), record(1, batch(4, 3))])
    other = batch(4, 3, bad={number: line(number).replace(b"paid", b"refunded") for number in (4, 5, 6)})
    lying, honest = kept.sink.write([record(2, other), record(3, batch(1, 3))])
    assert counts([lying, honest]) == [(0, 0, 3), (0, 3, 0)]
    assert (lying.header, honest.at_odds) == (None, None)
    assert lying.at_odds == other.header
    [letter] = kept.dead()
    assert has_used_numbers(letter)
    assert (letter.first, letter.count, letter.original) == (4, 3, other.body)
    assert kept.ids() == ids(1, 2, 3, 4, 5, 6)


def test_replays_and_foreign_records_may_bear_used_numbers(kept: Kept) -> None:
    kept.sink.write([record(0, batch(1, 3))])
    other = batch(1, 3, bad={number: line(number).replace(b"paid", b"refunded") for number in (1, 2, 3)})
    replay = Batch(dataclasses.replace(other.header, replay=True), other.body)
    outcomes = kept.sink.write([record(1, replay), dataclasses.replace(record(2, other), foreign=True)])
    assert counts(outcomes) == [(0, 3, 0), (0, 3, 0)]
    assert [outcome.at_odds for outcome in outcomes] == [None, None]
    assert kept.dead() == []


def test_a_header_that_can_not_be_read_is_a_dead_letter_with_its_body(kept: Kept) -> None:
    good = record(0, batch(1, 2))
    [outcome, after] = kept.sink.write([dataclasses.replace(good, header=b"nonsense"), record(1, batch(3, 1))])
    assert outcome.dead == 2
    assert after.stored == 1
    [letter] = kept.dead()
    assert letter.reason.startswith("batch: header: ")
    assert letter.original == good.body


def foreign(offset: int, body: bytes | None = None) -> Record:
    made = json.dumps({"ts": "2025-11-21T12:00:00Z", "app": f"app{offset % 2}", "n": offset}).encode()
    tp = TopicPartition("lastbeat.cn-east.business", 2)
    return Record(tp, offset, offset + 1, 1_763_733_600.0, b"", made if body is None else body)


def test_foreign_records_are_stored_once_however_each_reading_cuts_them_into_runs(kept: Kept) -> None:
    read = [foreign(4), foreign(5), foreign(6, b"no"), foreign(7), foreign(9), foreign(10, b"")]
    stream = foreign_stream("here", read[0].tp)
    sealer = Sealer("here")
    assert counts(kept.sink.write(sealer.seal(read))) == [(2, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 0), (0, 0, 1)]
    again = sealer.seal(read[:1]) + sealer.seal([*read[1:], foreign(11), foreign(12, b"[]")])
    outcomes = kept.sink.write(again)
    assert [outcome.stored for outcome in outcomes] == [0, 0, 0, 0, 0, 0, 1, 0]
    assert [outcome.dead for outcome in outcomes] == [0, 0, 0, 0, 0, 0, 0, 1]
    assert kept.ids() == ids(5, 6, 8, 10, 12, stream=stream)
    letters = sorted(kept.dead(), key=lambda letter: letter.first)
    assert [(letter.first, letter.count, letter.original) for letter in letters] == [
        (7, 1, b"no"), (11, 1, b""), (13, 1, b"[]"),
    ]  # fmt: skip
    assert {letter.stream for letter in letters} == {stream}
    assert [letter.reason.partition(":")[0] for letter in letters] == ["not JSON", "a tombstone", "not a JSON object"]
    assert letters[0].source == "lastbeat.cn-east.business/2/6"


def test_of_a_run_that_was_read_further_than_before_the_rest_is_stored_too(kept: Kept) -> None:
    sealer = Sealer("here")
    kept.sink.write(sealer.seal([foreign(4), foreign(5)]))
    [outcome] = kept.sink.write(sealer.seal([foreign(number) for number in range(4, 9)]))
    assert (outcome.stored, outcome.duplicate) == (3, 2)
    assert kept.ids() == ids(*range(5, 10), stream=foreign_stream("here", foreign(4).tp))


def test_a_journal_that_begins_anew_has_new_events_at_offsets_that_were_written_before(kept: Kept) -> None:
    kept.sink.write([record(offset, batch(1 + offset, 1)) for offset in range(4)])
    outcomes = kept.sink.write([record(0, batch(1, 3, "newbootid001.business", bad={2: b"no"}))])
    assert counts(outcomes) == [(2, 0, 1)]
    assert [(one.header is not None, one.dead_numbers) for one in outcomes] == [(True, ((2, 2),))]
    assert kept.ids() == sorted(ids(1, 2, 3, 4) + ids(1, 3, stream="newbootid001.business"))


def test_positions_say_where_reading_goes_on(kept: Kept) -> None:
    if kept.sink.positions() is None:
        pytest.skip("this sink leaves it to the reader's commits")
    assert kept.sink.positions() == {}
    kept.sink.write([record(4, batch(1, 1)), record(5, batch(2, 1)), record(9, batch(3, 1), partition=1)])
    kept.sink.write([record(2, batch(1, 1, "paybootid001.console")), record(6, batch(4, 1).void("x"))])
    kept.sink.write([record(10, batch(3, 1), partition=1)])
    topic = "lastbeat.cn-east.business"
    assert kept.sink.positions() == {
        TopicPartition(topic, 0): 7,
        TopicPartition(topic, 1): 11,
        TopicPartition("lastbeat.cn-east.console", 0): 3,
    }


def test_a_new_process_goes_on_where_the_last_one_stopped(kept: Kept) -> None:
    sent = [record(0, batch(1, 3, bad={2: b"no"})), record(1, batch(4, 2)), record(2, batch(6, 2).void("evicted"))]
    kept.sink.write(sent)
    positions, before = kept.sink.positions(), (kept.ids(), kept.dead())
    kept.sink.close()
    sink = kept.reopened()
    if sink is None:
        pytest.skip("this sink keeps nothing beyond its process")
    assert sink.positions() == positions
    moved = [dataclasses.replace(again, offset=again.offset + 3, next_offset=again.offset + 4) for again in sent]
    for outcomes in (sink.write(sent), sink.write(moved)):
        assert counts(outcomes) == [(0, 3, 0), (0, 2, 0), (0, 2, 0)]
    assert (kept.ids(), kept.dead()) == before


@pytest.mark.parametrize("name", sorted(SINKS))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), min_size=1, max_size=4), min_size=1, max_size=5)
)
def test_whatever_overlaps_arrives_each_number_is_stored_once(
    name: str, tmp_path_factory: pytest.TempPathFactory, writes: list[list[tuple[int, int]]]
) -> None:
    with SINKS[name](tmp_path_factory.mktemp(name)) as kept:
        offset, sent = 0, 0
        outcomes: list[Outcome] = []
        for write in writes:
            records = [record(offset + i, batch(first, count)) for i, (first, count) in enumerate(write)]
            offset, sent = offset + len(records), sent + sum(count for _, count in write)
            outcomes += kept.sink.write(records)
        expected = {number for write in writes for first, count in write for number in range(first, first + count)}
        assert kept.ids() == ids(*expected)
        assert sum(outcome.stored for outcome in outcomes) == len(expected)
        assert sum(outcome.duplicate for outcome in outcomes) == sent - len(expected)
