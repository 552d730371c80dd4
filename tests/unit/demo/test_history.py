"""The past: batches that every part must take, and lines that look just as the shippers' own do."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from compose.demo.history import History
from compose.demo.past import Bump, Burst, Troubles, lines_of_order
from compose.demo.topology import INSTANCES, REGIONS, Instance
from shippers.batch import Batch, Header

END = datetime(2026, 11, 21, 2, tzinfo=UTC).timestamp()  # so that six hours before span a midnight
START = END - 6 * 3600


@pytest.fixture(scope="module")
def history() -> tuple[History, list[Batch]]:
    history = History(START, END, Random(7), "host-1")
    batches = [batch for part in history.until(END) for batch in part]
    return history, batches


def lines_of(batches: list[Batch]) -> Iterator[tuple[Header, dict[str, Any]]]:
    for batch in batches:
        for line in batch.body.splitlines():
            yield batch.header, json.loads(line)


def test_every_batch_passes_the_door(history: tuple[History, list[Batch]]) -> None:
    for batch in history[1]:
        batch.check()
        assert Header.decode(batch.header.encode()) == batch.header


def test_streams_are_numbered_from_one_without_a_gap(history: tuple[History, list[Batch]]) -> None:
    following: dict[str, int] = defaultdict(lambda: 1)
    for batch in history[1]:
        assert batch.header.first == following[batch.header.stream]
        following[batch.header.stream] = batch.header.last + 1
    assert len(following) == len(INSTANCES)
    for header, line in lines_of(history[1]):
        assert line["event"]["stream"] == header.stream
    numbers = [line["event"]["sequence"] for header, line in lines_of(history[1]) if header.service == "settle"]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_fillers_own_count_is_what_the_batches_hold(history: tuple[History, list[Batch]]) -> None:
    held: dict[str, int] = defaultdict(int)
    for batch in history[1]:
        held[batch.header.instance] += batch.header.count
    assert held == history[0].emitted
    assert 20_000 < sum(held.values()) < 500_000


def test_a_line_says_of_itself_what_its_header_says_and_lies_in_its_day_and_time(
    history: tuple[History, list[Batch]],
) -> None:
    by_name = {instance.name: instance for instance in INSTANCES}
    days = set()
    for header, line in lines_of(history[1]):
        who = by_name[header.instance]
        assert (header.region, header.service) == (who.region, who.service)
        assert line["service"] == {
            "name": who.service,
            "version": who.version,
            "environment": "prod",
            "node": {"name": who.name},
        }
        assert line["cloud"] == {"region": who.region, "availability_zone": who.zone}
        assert line["@timestamp"][:10] == header.day
        assert START <= datetime.fromisoformat(line["@timestamp"]).timestamp() <= END
        days.add(header.day)
    assert days == {"2026-11-20", "2026-11-21"}


def test_one_order_can_be_followed_through_the_shop(history: tuple[History, list[Batch]]) -> None:
    orders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, line in lines_of(history[1]):
        orders[line["labels"]["order_id"]].append(line)
    paid = next(
        lines for lines in orders.values() if "booked" in {line["message"] for line in lines} and len(lines) == 6
    )
    assert len({line["trace"]["id"] for line in paid}) == 1
    assert {line["service"]["name"] for line in paid} >= {"shop-web", "order", "payment", "settle"}


def test_what_is_cut_by_the_end_goes_out_with_the_next_part() -> None:
    middle = START + 3_600.0
    history = History(START, END, Random(8), "host-1")
    first = [batch for part in history.until(middle) for batch in part]
    second = [batch for part in history.until(middle + 2_000) for batch in part]
    said = defaultdict(set)
    for _, line in lines_of(first + second):
        said[line["labels"]["order_id"]].add(line["event"]["action"])
    begun = [actions for actions in said.values() if "create" in actions]
    assert sum("checkout" not in actions for actions in begun) < 10
    assert history.at == middle + 2_000


def one(name: str) -> Instance:
    return next(instance for instance in INSTANCES if instance.name == name)


def test_the_slow_channel_swells_and_ebbs_where_and_when_it_was() -> None:
    bump = Bump(1_000.0, 2_000.0, "cn-east", "channel-card", 5.0)
    card = one("channel-card-east-a")
    assert [bump.slower(at, card) for at in (999.0, 1_000.0, 1_500.0, 2_000.0)] == [1.0, 1.0, 5.0, 1.0]
    assert bump.slower(1_500.0, one("channel-card-north-b")) == 1.0
    assert bump.slower(1_500.0, one("channel-alipay-east-a")) == 1.0


def test_the_bad_release_raises_only_there_and_leaves_a_stack() -> None:
    random = Random(9)
    calm = Bump(0.0, 1.0, "cn-east", "channel-card", 1.0)
    troubles = Troubles(calm, Burst(1_000.0, 2_000.0, "payment", "1.5.0", 1.0))
    raised = [
        said
        for _ in range(200)
        for region in REGIONS
        for said in lines_of_order(random, 1_500.0, region, troubles)
        if said.error
    ]
    assert {said.who.name for said in raised} == {"payment-east-b"}
    assert json.loads(raised[0].error)["stack_trace"].endswith("'float' and 'NoneType'")
    before = [said for _ in range(200) for said in lines_of_order(random, 10.0, "cn-east", troubles)]
    assert not any(said.error for said in before)


def test_lines_have_the_shape_that_the_shippers_give_theirs(history: tuple[History, list[Batch]]) -> None:
    from shippers.clock import FakeClock
    from shippers.event import Renderer, number_line

    _, line = next(pair for pair in lines_of(history[1]) if pair[1]["event"]["action"] == "pay" and "labels" in pair[1])
    record = logging.makeLogRecord({"name": "payment", "levelno": logging.INFO, "levelname": "INFO", "msg": "paid"})
    record.__dict__ |= {"action": "pay", "outcome": "success", "duration_ms": 12.5, "amount": 3.5, "order_id": "A1"}
    record.__dict__ |= {"trace_id": "t", "span_id": "s", "channel": "channel-card"}
    own = json.loads(
        number_line(Renderer(_identity(), 1, FakeClock(), lambda: None).record(record).data, "s.business", 1)
    )
    assert list(line) == list(own)
    for name in ("log", "service", "cloud", "host", "process", "trace", "span", "measures", "event"):
        assert list(line[name]) == list(own[name]), name


def _identity() -> Any:
    from shippers.identity import Identity

    return Identity(
        service="payment",
        region="cn-east",
        zone="cn-east-a",
        version="1.4.2",
        environment="prod",
        instance="p",
        host="h",
    )
