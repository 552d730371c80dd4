"""What every Store must do. Run over each of tests/contracts/stores.py; MemoryStore is the reference."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collector.latency import bucket_of, merge
from collector.memory import MemoryStore
from collector.ports import BY, Event, Page, Store, Where
from shippers.clock import FakeClock
from tests.contracts.stores import STORES, Add

NOON = 1_763_726_400.0  # 2025-11-21 12:00:00 UTC: a multiple of 60 and of 3,600
HOUR = Where(NOON, NOON + 3_600)
PAY, SHOP = "paybootid001.business", "shopbootid01.business"


@pytest.fixture(params=sorted(STORES))
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Add]]:
    with STORES[request.param](tmp_path) as pair:
        yield pair


def event(offset_s: float, sequence: int, message: str = "paid", **fields: Any) -> Event:
    fields = {"stream": PAY, "service": "payment", "region": "cn-east", "instance": "pay-01", "level": "INFO"} | fields
    return Event(at=NOON + offset_s, sequence=sequence, message=message, dataset="business", **fields)


def ids(events: tuple[Event, ...]) -> list[str]:
    return [found.id for found in events]


def test_an_empty_store_answers_every_question_with_nothing(made: tuple[Store, Add]) -> None:
    store, _ = made
    assert store.volume(HOUR, 600).series == {"": (0, 0, 0, 0, 0, 0)}
    assert store.volume(HOUR, 600, "service").series == {}
    assert store.latency(HOUR, 1_800).series == {"": ({}, {})}
    assert store.latency(HOUR, 1_800, "service").series == {}
    assert store.peaks(HOUR, 60) == []
    assert store.top(HOUR, "service") == []
    assert store.search(HOUR) == type(store.search(HOUR))((), None)
    assert store.correlate("A1", NOON, NOON + 60) == ()
    assert store.fields(HOUR) == []
    assert store.tail(HOUR).events == ()


def test_an_event_comes_back_with_every_field_it_had(made: tuple[Store, Add]) -> None:
    store, add = made
    full = event(
        1.25, 1, "paid 12.50 元", logger="pay", action="pay", outcome="success", duration_ns=18_200_000,
        version="1.4.2", environment="prod", zone="cn-east-a", host="h1", pid=4711, trace_id="t1", span_id="s1",
        transaction_id="x1", error_type="ValueError", error_message="no", error_stack="Traceback\n  line",
        labels={"order_id": "A1", "单号": "七"}, measures={"amount": 12.5, "items": 3.0},
    )  # fmt: skip
    bare = Event(at=NOON + 2.5, stream=PAY, sequence=2, dataset="business", service="payment", region="cn-east",
                 instance="pay-01")  # fmt: skip
    add([full, bare])
    assert store.search(HOUR).events == (bare, full)


def test_an_event_that_arrives_twice_is_there_once(made: tuple[Store, Add]) -> None:
    store, add = made
    add([event(1, 1), event(2, 2)])
    add([event(1, 1), event(2, 2)])
    assert store.volume(HOUR, 3_600).series == {"": (2,)}
    assert len(store.search(HOUR).events) == 2


def test_volume_covers_the_whole_range_in_aligned_steps_and_keeps_to_its_ends(made: tuple[Store, Add]) -> None:
    store, add = made
    add([event(offset, number) for number, offset in enumerate([-0.5, 0, 59.5, 60, 150, 199.5, 200, 239], 1)])
    volume = store.volume(Where(NOON, NOON + 200), 60)
    assert volume.step_s == 60
    assert volume.times == (NOON, NOON + 60, NOON + 120, NOON + 180)
    assert volume.series == {"": (2, 1, 1, 1)}
    part = store.volume(Where(NOON + 30, NOON + 90), 60)
    assert part.times == (NOON, NOON + 60)
    assert part.series == {"": (1, 1)}


def test_volume_splits_by_each_field_that_it_may_be_split_by(made: tuple[Store, Add]) -> None:
    store, add = made
    named: dict[str, Any] = {"action": "pay", "outcome": "failure", "logger": "pay.core", "version": "1.5.0"}
    add([event(1, 1, **named), event(61, 2, level="ERROR")])
    for by in BY:
        series = store.volume(Where(NOON, NOON + 120), 60, by).series
        expected = {getattr(event(1, 1, **named), by): (1, 0)}
        second = getattr(event(61, 2, level="ERROR"), by)
        expected[second] = (1, 1) if second in expected else (0, 1)
        assert series == expected, by


def test_latency_is_counts_in_the_fixed_buckets_of_what_has_a_duration(made: tuple[Store, Add]) -> None:
    store, add = made
    add([event(1, 1, duration_ns=18_200_000), event(2, 2, duration_ns=18_200_001), event(3, 3),
         event(61, 4, duration_ns=300), event(62, 5, duration_ns=90_000_000_000, service="payment")])  # fmt: skip
    latency = store.latency(Where(NOON, NOON + 120), 60)
    assert latency.times == (NOON, NOON + 60)
    assert latency.series[""] == ({bucket_of(18_200_000): 2}, {0: 1, bucket_of(90_000_000_000): 1})
    split = store.latency(Where(NOON, NOON + 120), 60, "level").series
    assert split == {"INFO": latency.series[""]}


def test_peaks_are_the_busiest_steps_first_with_who_had_most(made: tuple[Store, Add]) -> None:
    store, add = made
    add([event(offset, number) for number, offset in enumerate([0, 1, 60, 61, 62, 180], 1)])
    add([event(offset, number, stream=SHOP, service="shop") for number, offset in enumerate([2, 3, 4, 63], 1)])
    peaks = store.peaks(HOUR, 60, limit=10)
    assert [(peak.at - NOON, peak.count, peak.top, peak.top_count) for peak in peaks] == [
        (0, 5, "shop", 3),
        (60, 4, "payment", 3),
        (180, 1, "payment", 1),
    ]
    assert store.peaks(HOUR, 60) == peaks[:1]
    assert store.peaks(HOUR, 60, by="region")[0].top == "cn-east"


def test_top_counts_values_most_first_and_leaves_out_the_absent(made: tuple[Store, Add]) -> None:
    store, add = made
    add([event(number, number, labels={"channel": name} if name else {})
         for number, name in enumerate(["alipay", "wechat", "alipay", "", "card", "wechat", "alipay"], 1)])  # fmt: skip
    assert store.top(HOUR, "labels.channel") == [("alipay", 3), ("wechat", 2), ("card", 1)]
    assert store.top(HOUR, "labels.channel", limit=1) == [("alipay", 3)]
    assert store.top(HOUR, "service") == [("payment", 7)]
    assert store.top(HOUR, "action") == []


def test_a_field_that_can_not_be_split_by_is_said(made: tuple[Store, Add]) -> None:
    store, _ = made
    for ask in (store.top, lambda where, field: store.volume(where, 60, field)):
        with pytest.raises(ValueError, match="message"):
            ask(HOUR, "message")


def test_search_pages_through_everything_newest_first_even_where_times_are_equal(made: tuple[Store, Add]) -> None:
    store, add = made
    add([event(number // 3, number) for number in range(1, 21)])
    seen: list[str] = []
    page = Page(limit=7)
    sizes = []
    while True:
        hits = store.search(HOUR, page)
        seen += ids(hits.events)
        sizes.append(len(hits.events))
        if hits.next is None:
            break
        add([event(3_000 + len(seen), 1_000 + len(seen))])  # what comes in meanwhile does not shift the pages
        page = Page(7, hits.next)
    assert seen == [f"{PAY}:{number}" for number in range(20, 0, -1)]
    assert sizes == [7, 7, 6]


def test_a_full_last_page_says_that_it_is_the_last(made: tuple[Store, Add]) -> None:
    store, add = made
    add([event(number, number) for number in range(1, 5)])
    assert store.search(HOUR, Page(limit=4)).next is None


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"regions": ("cn-north",)}, [2]),
        ({"services": ("payment", "shop")}, [1, 2, 3, 4, 5]),
        ({"services": ("shop",)}, []),
        ({"levels": ("WARNING", "ERROR")}, [2, 3]),
        ({"versions": ("1.5.0",)}, [3]),
        ({"versions": ("",)}, [1, 2, 4, 5]),
        ({"actions": ("", "refund"), "levels": ("WARNING",)}, [2]),
        ({"instances": ("pay-02",)}, [4]),
        ({"actions": ("refund",)}, [5]),
        ({"errors": True}, [3, 5]),
        ({"datasets": ("console",)}, []),
        ({"datasets": ()}, [1, 2, 3, 4, 5]),
        ({"text": "card"}, [1, 3]),
        ({"text": "DECLINED  card"}, [1]),
        ({"text": "timeout"}, [3]),
        ({"text": "超时"}, [4]),
        ({"text": "100%"}, [2]),
        ({"text": "o'hara"}, [5]),
        ({"ids": ("A1",)}, [1]),
        ({"ids": ("t3", "x2")}, [2, 3]),
        ({"ids": ("a1",)}, []),
        ({"levels": ("INFO",), "text": "card", "ids": ("A1",)}, [1]),
    ],
    ids=str,
)
def test_every_filter_keeps_exactly_what_it_says(
    made: tuple[Store, Add], asked: dict[str, Any], found: list[int]
) -> None:
    store, add = made
    add([
        event(1, 1, "Card was declined", labels={"order_id": "A1"}),
        event(2, 2, "100% done_", level="WARNING", region="cn-north", transaction_id="x2"),
        event(3, 3, "card", level="ERROR", version="1.5.0", trace_id="t3", error_message="bank Timeout"),
        event(4, 4, "网关 超时", instance="pay-02"),
        event(5, 5, "refund for O'Hara", action="refund", outcome="failure"),
    ])  # fmt: skip
    where = replace(HOUR, **asked)
    assert sorted(hit.sequence for hit in store.search(where).events) == found
    assert sum(sum(counts) for counts in store.volume(where, 3_600).series.values()) == len(found)


def test_tail_begins_now_and_then_gives_each_newcomer_once_in_order_of_arrival(made: tuple[Store, Add]) -> None:
    store, add = made
    add([event(1, 1)])
    cursor = store.tail(HOUR).after
    assert store.tail(HOUR, cursor).events == ()
    add([event(500, 2), event(-9_000, 3), event(3, 4, level="ERROR")])  # times are not looked at
    first = store.tail(HOUR, cursor, limit=2)
    assert [found.sequence for found in first.events] == [2, 3]
    second = store.tail(HOUR, first.after)
    assert [found.sequence for found in second.events] == [4]
    assert store.tail(HOUR, second.after).events == ()
    assert [found.sequence for found in store.tail(replace(HOUR, levels=("ERROR",)), cursor).events] == [4]


def test_correlate_tells_the_whole_path_oldest_first(made: tuple[Store, Add]) -> None:
    store, add = made
    add([event(9, 1, labels={"order_id": "A1"}), event(10, 2, trace_id="A1"), event(11, 3, labels={"order_id": "A12"})])
    add([event(4, 1, stream=SHOP, service="shop", transaction_id="A1"), event(5, 2, stream=SHOP, span_id="A1"),
         event(60, 3, stream=SHOP, service="shop", labels={"note": "A1"})])  # fmt: skip
    assert ids(store.correlate("A1", NOON, NOON + 60)) == [f"{SHOP}:1", f"{SHOP}:2", f"{PAY}:1", f"{PAY}:2"]


def test_fields_are_the_labels_and_measures_in_use_most_used_first(made: tuple[Store, Add]) -> None:
    store, add = made
    add([event(1, 1, labels={"order_id": "A1"}, measures={"amount": 12.5}), event(2, 2, labels={"order_id": "A1"}),
         event(9_000, 3, labels={"elsewhere": "x"})])  # fmt: skip
    fields = store.fields(HOUR)
    assert [(field.name, field.type) for field in fields] == [
        ("labels.order_id", "text"),
        ("measures.amount", "number"),
    ]
    assert fields[0].example == "A1"
    assert float(fields[1].example) == 12.5


@pytest.mark.parametrize("seed", [0, 1, pytest.param(2, marks=pytest.mark.soak)])
def test_random_events_give_the_reference_s_answers(made: tuple[Store, Add], seed: int) -> None:
    store, add = made
    random_ = random.Random(seed)
    events = [event_ for boot in range(4) for event_ in random_boot(random_, boot)]
    reference = MemoryStore(FakeClock())
    for event_ in events:
        reference.add(event_)
    for start in range(0, len(events), 40):
        add(events[start : start + 40])
    for _ in range(12):
        where = random_where(random_)
        by = random_.choice(BY)
        step_s = random_.choice([10.0, 60.0, 600.0])
        assert store.volume(where, step_s, by) == reference.volume(where, step_s, by)
        assert store.volume(where, step_s) == reference.volume(where, step_s)
        assert store.latency(where, step_s, by) == reference.latency(where, step_s, by)
        assert store.peaks(where, step_s, by, 3) == reference.peaks(where, step_s, by, 3)
        assert store.top(where, by) == reference.top(where, by)
        assert store.top(where, "labels.order_id", 3) == reference.top(where, "labels.order_id", 3)
        assert store.search(where, Page(1_000)) == reference.search(where, Page(1_000))
    assert merge(store.latency(HOUR, 60).series[""]) == merge(reference.latency(HOUR, 3_600).series[""])


def random_boot(random_: random.Random, boot: int) -> list[Event]:
    service, region = random_.choice(["payment", "shop"]), random_.choice(["cn-east", "cn-north"])
    return [
        Event(
            at=NOON + random_.randrange(0, 4 * 3_600) / 4,
            stream=f"boot0000{boot}.business", sequence=number,
            message=random_.choice(["paid", "card declined", "超时"]),
            level=random_.choice(["INFO", "WARNING", "ERROR", ""]), logger=random_.choice(["pay", ""]),
            dataset="business", action=random_.choice(["pay", "refund", ""]),
            outcome=random_.choice(["success", "failure", ""]),
            duration_ns=random_.choice([None, random_.randrange(1_000, 10**10)]),
            service=service, region=region, version=f"1.{boot}.0", instance=f"{service}-{boot}",
            labels=random_.choice([{}, {"order_id": f"A{random_.randrange(9)}"}]),
        )
        for number in range(1, 61)
    ]  # fmt: skip


def random_where(random_: random.Random) -> Where:
    start = NOON + random_.randrange(0, 2_400)
    return Where(
        start,
        start + random_.randrange(1, 1_200),
        regions=random_.choice([(), ("cn-east",)]),
        levels=random_.choice([(), ("ERROR", "WARNING")]),
        errors=random_.random() < 0.2,
        text=random_.choice(["", "", "card"]),
        ids=random_.choice([(), (), ("A1", "A2")]),
    )
