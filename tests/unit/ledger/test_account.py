"""An account is a union: whatever comes in whatever order and however often, it knows the same; and it sees lies."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.foreign.stream import foreign_stream
from collector.ledger.account import SEVERAL, Account, Total
from collector.ledger.claims import REMEMBERED, claim_of, pack
from collector.ledger.documents import account_from, account_to, chunks, merge_doc, to_doc
from collector.ledger.intervals import Interval, IntervalSet
from collector.ledger.ledger import Folded, Ledger
from collector.ports import TopicPartition
from shippers.batch import Header
from tests.unit.ledger.given import DAY, STREAM, header

OTHER_DAY = "2026-11-22"


def numbers(*spans: Interval) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


# --- what is settled ---

Settlement = tuple[Header, tuple[Interval, ...], tuple[Interval, ...]]


@st.composite
def settlements(draw: st.DrawFn) -> Settlement:
    """A header of a batch that the stream's sender really cut, and what a sink says of it."""
    first = draw(st.integers(0, 7)) * 5 + 1
    day = draw(st.sampled_from((DAY, OTHER_DAY)))
    kind = draw(st.sampled_from(("sound", "void", "replay", "sound")))
    said = header(first, 5, day=day, stream=draw(st.sampled_from((STREAM, "shopbootid01.console"))))
    parts = draw(st.lists(st.sampled_from(("stored", "dead", "void")), min_size=5, max_size=5))
    lost = tuple((first + i, first + i) for i, part in enumerate(parts) if part != "stored")
    void = tuple((first + i, first + i) for i, part in enumerate(parts) if part == "void")
    if kind == "void":
        said = header(first, 5, stream=said.stream, day=day, void="spool full")
    elif kind == "replay":
        said = header(first, 5, crc=7, stream=said.stream, day=day, replay=True)
    return said, lost, void


def settled(*some: Settlement) -> Ledger:
    ledger = Ledger()
    for one in some:
        ledger.settle(*one)
    return ledger


@given(st.lists(settlements(), max_size=12), st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_order_any_repetition_and_any_splitting_give_the_same_ledger(
    some: list[Settlement], random: object, parts: int
) -> None:
    expected = settled(*some)
    again = [*some, *some[: len(some) // 2]]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert settled(*again) == expected
    split = [settled(*again[part::parts]) for part in range(parts)]
    merged = Ledger()
    for one in split:
        merged.merge(copy.deepcopy(one))
        merged.merge(copy.deepcopy(one))
    assert merged == expected


@given(st.lists(settlements(), max_size=12), st.randoms(use_true_random=False))
def test_what_is_kept_as_a_snapshot_and_changes_in_any_order_is_read_as_it_was(
    some: list[Settlement], random: object
) -> None:
    half = len(some) // 2
    documents = [*chunks(settled(*some[:half])), *(doc for one in some[half:] for doc in chunks(settled(one)))]
    random.shuffle(documents)  # type: ignore[attr-defined]
    read = Ledger()
    for doc in documents:
        merge_doc(read, doc)
    assert read == settled(*some)


@given(st.lists(settlements(), max_size=12))
def test_stored_beats_dead_and_dead_beats_void_and_no_number_is_in_two_of_them(some: list[Settlement]) -> None:
    best: dict[tuple[str, str, int], int] = {}
    for said, lost, void in some:
        for number in range(said.first, said.last + 1):
            rank = 1 if number in numbers(*void) else 2 if number in numbers(*lost) else 3
            place = said.stream, said.day, number
            best[place] = max(rank, best.get(place, 0))
    totals = settled(*some).totals()
    for stream, service, dataset in ((STREAM, "payment", "business"), ("shopbootid01.console", "payment", "console")):
        for day in (DAY, OTHER_DAY):
            ranks = [rank for (of, on, _), rank in best.items() if (of, on) == (stream, day)]
            expected = Total(ranks.count(3), ranks.count(2), ranks.count(1))
            assert totals.get((day, "cn-east", service, dataset), Total()) == expected


@given(st.lists(settlements(), max_size=8), st.integers(1, 50), st.integers(0, 50))
def test_missing_is_what_nothing_was_said_of(some: list[Settlement], first: int, more: int) -> None:
    ledger = settled(*some)
    known = {number for said, _, _ in some if said.stream == STREAM for number in range(said.first, said.last + 1)}
    assert numbers(*ledger.missing(STREAM, first, first + more)) == set(range(first, first + more + 1)) - known


def test_a_million_events_are_one_interval_and_sixty_five_claims() -> None:
    account = Account(STREAM)
    for first in range(1, 1_000_001, 200):
        account.settle(header(first, 200))
        account.claim(header(first, 200))
    assert list(account.stored) == [(1, 1_000_000)]
    assert [one[0] for one in account.claims()] == [1, *range(1_000_001 - 200 * REMEMBERED, 1_000_001, 200)]
    assert account.lies == ()


# --- lies ---


def lies_of(*headers: Header) -> list[str]:
    ledger = Ledger()
    for one in headers:
        ledger.settle(one)
    return [lie.kind for lie in ledger.lies()]


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (header(1, 100), header(1, 100, crc=9), "other content"),
        (header(1, 100), header(50, 100), "overlap"),
        (header(50, 100), header(1, 200), "overlap"),
        (header(1, 100), header(100, 1), "overlap"),
        (header(1, 5), header(6, 5, instance="pay-02"), "two processes"),
        (header(1, 5), header(6, 5, service="shop"), "two processes"),
    ],
)
def test_two_headers_that_can_not_both_be_true_are_a_lie_whichever_comes_first(
    one: Header, other: Header, kind: str
) -> None:
    assert lies_of(one, other) == lies_of(other, one) == [kind]
    apart = settled((one, (), ()))
    apart.merge(settled((other, (), ())))
    assert [lie.kind for lie in apart.lies()] == [kind]


@pytest.mark.parametrize("count", [10, 7])
@pytest.mark.parametrize("apart", [False, True], ids=["one owner", "two owners"])
def test_a_second_process_of_the_same_boot_is_seen_at_its_first_batch_however_far_the_other_one_is(
    apart: bool, count: int
) -> None:
    ledger, other = Ledger(), Ledger()
    for first in range(1, 3_001, 10):
        ledger.settle(header(first, 10))
    (other if apart else ledger).settle(header(1, count, crc=77))
    ledger.merge(other)
    [lie] = ledger.lies()
    assert lie.kind == ("other content" if count == 10 else "overlap")
    assert sorted(lie.ranges) == [(1, count), (1, 10)]


def test_a_batch_that_only_bears_the_name_of_a_foreign_stream_is_judged() -> None:
    stream = foreign_stream("here", TopicPartition("lastbeat.cn-east.business", 0))
    ledger = Ledger()
    for one in (header(1, 10, stream=stream), header(1, 10, crc=9, stream=stream)):
        ledger.settle(one, foreign=False)
    assert [lie.kind for lie in ledger.lies()] == ["other content"]


@pytest.mark.parametrize(
    "headers",
    [
        (header(1, 100), header(1, 100), header(101, 100), header(1, 100)),
        (header(1, 100), header(1, 100, crc=0, void="refused: size")),
        (header(1, 100, void="evicted"), header(1, 100)),
        (header(1, 100), header(40, 20, crc=5, replay=True), header(45, 1, crc=6, replay=True, instance="unknown")),
        (header(1, 1, replay=True, instance="unknown"), header(1, 100)),
        (header(1, 5), header(6, 1, void="killed", instance="successor")),
        (header(101, 100), header(1, 100)),
    ],
    ids=["sent again", "voided", "came all the same", "replay", "replay first", "killed", "out of order"],
)
def test_what_an_honest_sender_may_do_is_no_lie(headers: tuple[Header, ...]) -> None:
    assert lies_of(*headers) == []


def test_foreign_records_are_cut_anew_by_each_reading_and_come_from_several() -> None:
    stream = foreign_stream("here", TopicPartition("lastbeat.cn-east.business", 0))
    ledger = Ledger()
    for one in (header(1, 10, stream=stream), header(3, 20, stream=stream, service="shop", instance="s1")):
        ledger.settle(one)
    account = ledger.account(stream)
    assert account is not None
    assert (account.service, account.instance, account.lies) == (SEVERAL, SEVERAL, ())


def test_a_record_that_is_read_again_is_not_judged() -> None:
    ledger = Ledger()
    for first in range(1, 1_001, 10):
        ledger.settle(header(first, 10))
    assert ledger.settle(header(1, 10), judged=False) is None
    assert ledger.lies() == []


def test_a_stream_that_goes_back_beyond_what_is_remembered_is_found_once_it_comes_up_again() -> None:
    ledger = Ledger()
    for first in range(1, 2_001, 10):
        ledger.settle(header(first, 10))
    for first in range(501, 2_001, 10):
        ledger.settle(header(first, 10, crc=first))
    assert {lie.kind for lie in ledger.lies()} == {"other content"}


def test_a_lie_says_which_numbers_and_where_and_is_kept_with_the_account() -> None:
    ledger = Ledger()
    ledger.settle(header(1, 100, crc=5))
    lie = ledger.settle(header(51, 100, crc=6), where="lastbeat.cn-east.business/0/77")
    assert lie is not None
    assert lie.ranges == ((1, 100), (51, 150))
    assert lie.words == "1-100 with crc 5 and 51-150 with crc 6"
    assert ledger.settle(header(51, 100, crc=6)) is None, "said once"
    account = ledger.account(STREAM)
    assert account is not None
    kept = account_from(STREAM, account_to(account))
    assert kept == account
    assert (kept.lies[0].ranges, kept.lies[0].where) == (lie.ranges, lie.where)


# --- folding and ageing ---


def began() -> bytes:
    return pack([claim_of(header(1, 10))])


@pytest.mark.parametrize("second", [header(1, 10, crc=7), header(1, 3), header(5, 50)])
def test_a_second_process_on_the_boot_id_of_a_folded_stream_is_seen(second: Header) -> None:
    ledger = settled((header(1, 10), (), ()), (header(11, 90), (), ()))
    ledger.fold(quiet_since=1)
    lie = ledger.settle(second)
    assert lie is not None
    assert lie.kind in ("other content", "overlap")
    assert [one.stream for one in ledger.lies()] == [STREAM]
    assert ledger.fold(quiet_since=1) == 0, "it is never folded again"


@pytest.mark.parametrize(
    "again", [header(1, 10), header(1, 5, crc=7, replay=True), header(1, 10, void="full"), header(11, 10, crc=7)]
)
def test_what_claims_nothing_or_is_the_same_is_no_lie_of_a_folded_stream(again: Header) -> None:
    ledger = settled((header(1, 10), (), ()), (header(11, 90), (), ()))
    ledger.fold(quiet_since=1)
    assert ledger.settle(again) is None
    assert (ledger.lies(), list(ledger.folded)) == ([], [STREAM])


def test_how_a_folded_stream_began_is_kept_and_merged() -> None:
    ledger = settled((header(1, 10), (), ()))
    ledger.fold(quiet_since=1)
    kept = Ledger()
    merge_doc(kept, json.loads(json.dumps(to_doc(ledger))))
    assert kept == ledger
    unknown = {STREAM: ledger.folded[STREAM]._replace(began=b"")}
    for other in (unknown, ledger.folded):
        kept.merge_folded(STREAM, other[STREAM])
    assert kept.folded == ledger.folded
    kept.merge_folded(STREAM, ledger.folded[STREAM]._replace(began=pack([(1, 10, 7)])))
    assert [lie.kind for lie in kept.lies()] == ["other content"]


def test_a_stream_that_ended_and_is_stored_whole_is_folded_and_its_total_stays() -> None:
    ledger = settled((header(1, 10), (), ()), (header(11, 5, day=OTHER_DAY), (), ()))
    before = ledger.totals()
    assert ledger.fold(quiet_since=1) == 1
    assert ledger.folded == {STREAM: Folded("cn-east", "payment", ((DAY, 10), (OTHER_DAY, 15)), began())}
    assert ledger.accounts == {}
    assert ledger.totals() == before
    assert ledger.missing(STREAM, 5, 20) == [(16, 20)]
    ledger.settle(header(1, 10))
    assert (ledger.totals(), ledger.accounts) == (before, {}), "a resend is never counted twice"
    ledger.settle(header(16, 5, day=OTHER_DAY))
    assert ledger.totals()[OTHER_DAY, "cn-east", "payment", "business"] == Total(10)
    assert ledger.missing(STREAM, 1, 25) == [(21, 25)]


def lying() -> Ledger:
    return settled((header(1, 10), (), ()), (header(1, 10, crc=3), (), ()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: settled((header(2, 10), (), ())),
        lambda: settled((header(1, 10), (), ()), (header(12, 1), (), ())),
        lambda: settled((header(1, 10), ((4, 4),), ())),
        lambda: settled((header(1, 10, void="killed"), ((1, 10),), ((1, 10),))),
        lying,
    ],
    ids=["not from 1", "a hole", "a dead letter", "void", "a lie"],
)
def test_a_stream_of_which_there_is_more_to_say_is_not_folded(make: Callable[[], Ledger]) -> None:
    ledger = make()
    assert ledger.fold(quiet_since=1) == 0
    assert ledger.folded == {}


def test_a_stream_that_lives_is_not_folded() -> None:
    ledger = Ledger()
    ledger.settle(header(1, 10), now=100)
    assert ledger.fold(quiet_since=100) == 0


@given(st.lists(settlements(), max_size=10), st.booleans())
def test_folded_and_not_a_ledger_merges_to_the_same_totals(some: list[Settlement], fold_first: bool) -> None:
    expected = settled(*some).totals()
    one, other = settled(*some), settled(*some)
    (one if fold_first else other).fold(quiet_since=1)
    one.merge(other)
    assert one.totals() == expected


def test_days_past_keeping_leave_only_that_their_numbers_are_settled() -> None:
    ledger = settled((header(1, 10), (), ()), (header(11, 5, day=OTHER_DAY), ((12, 12),), ()))
    ledger.age(OTHER_DAY, quiet_since=1)
    assert ledger.missing(STREAM, 1, 20) == [(16, 20)]
    assert list(ledger.totals()) == [(OTHER_DAY, "cn-east", "payment", "business")]
    ledger.age("2027-01-01", quiet_since=1)
    assert ledger.streams() == []


def test_a_folded_stream_ages_day_by_day() -> None:
    ledger = settled((header(1, 10), (), ()), (header(11, 5, day=OTHER_DAY), (), ()))
    ledger.fold(quiet_since=1)
    ledger.age(OTHER_DAY, quiet_since=1)
    assert ledger.folded[STREAM].lasts == (("", 10), (OTHER_DAY, 15))
    assert ledger.missing(STREAM, 1, 16) == [(16, 16)]
    ledger.age("2027-01-01", quiet_since=1)
    assert ledger.folded == {}


def test_what_a_store_puts_among_impossible_days_counts_there_only_as_far_as_no_header_said_its_day() -> None:
    account = Account(STREAM)
    account.settle(header(1, 10))
    account.day("skewed").store(5, 14)
    assert account.totals() == {DAY: Total(10), "skewed": Total(4)}


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9))), st.integers(1, 40), st.integers(-2, 20))
def test_discard_takes_out_exactly_what_it_says(some: list[tuple[int, int]], first: int, more: int) -> None:
    spans = [(start, start + length) for start, length in some]
    kept = IntervalSet(spans)
    kept.discard(first, first + more)
    assert numbers(*kept) == numbers(*spans) - set(range(first, first + more + 1))
    assert kept == IntervalSet(kept)
    assert numbers(*IntervalSet(spans).without(kept)) == numbers(*spans) - numbers(*kept)
