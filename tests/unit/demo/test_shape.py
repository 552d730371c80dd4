"""The shop's behaviour by time of day, and the odds of one payment."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from statistics import mean, median

import pytest

from compose.demo import shape
from compose.demo.topology import CALLS, CHANNELS, INSTANCES, REGIONS, VICTIM, peers

MIDNIGHT = datetime(2026, 11, 20, 16, tzinfo=UTC).timestamp()  # in the shop's own zone, UTC+8


def at(hour: float) -> float:
    return MIDNIGHT + hour * 3600


def test_the_day_has_a_quiet_night_a_lunch_peak_and_a_higher_evening_peak() -> None:
    by_hour = {quarter / 4: shape.daily(at(quarter / 4)) for quarter in range(96)}
    assert max(by_hour, key=by_hour.__getitem__) == 20.0
    assert by_hour[20.0] > by_hour[12.25] > by_hour[16.0]
    assert by_hour[12.25] > by_hour[10.0] > by_hour[4.0]
    assert min(by_hour.values()) > 0.15
    assert max(by_hour.values()) <= 1.0


def test_the_day_joins_up_at_midnight_and_repeats() -> None:
    assert shape.daily(at(23.999)) == pytest.approx(shape.daily(at(0.0)), abs=0.001)
    assert shape.daily(at(9.5)) == pytest.approx(shape.daily(at(9.5 + 24)))


def test_the_regions_share_the_whole() -> None:
    together = sum(shape.orders_per_s(at(20), region) for region in REGIONS)
    assert together == pytest.approx(shape.PEAK_ORDERS_PER_S, rel=0.01)


@pytest.mark.parametrize("expected", [0.0, 0.3, 4.0, 400.0])
def test_arrivals_average_to_what_is_expected(expected: float) -> None:
    random = Random(1)
    counts = [shape.poisson(random, expected) for _ in range(3_000)]
    assert mean(counts) == pytest.approx(expected, rel=0.08, abs=0.001)


def test_cards_are_slower_and_a_channel_at_times_never_answers() -> None:
    random = Random(2)
    taken = {name: [shape.latency_s(random, name) for _ in range(4_000)] for name in CHANNELS}
    assert median(taken["channel-card"]) > 2 * median(taken["channel-wechat"])
    assert 0 < sum(seconds > shape.CHANNEL_TIMEOUT_S for seconds in taken["channel-card"]) < 150


def test_most_payments_end_well_and_cards_are_refused_more_often() -> None:
    random = Random(3)
    paid = {name: mean(shape.pick_ending(random, name).good for _ in range(5_000)) for name in CHANNELS}
    assert all(0.9 < share < 1.0 for share in paid.values())
    assert paid["channel-card"] < paid["channel-alipay"]


def test_instances_have_names_of_their_own_and_the_victim_is_alone() -> None:
    assert len({instance.name for instance in INSTANCES}) == len(INSTANCES)
    assert {instance.region for instance in INSTANCES} == set(REGIONS)
    assert {instance.version for instance in INSTANCES} == {"1.4.2", "1.5.0"}
    assert [i for i in INSTANCES if (i.service, i.region) == (VICTIM.service, VICTIM.region)] == [VICTIM]


def test_everybody_finds_whom_they_call_in_their_own_region_first() -> None:
    for caller in INSTANCES:
        for called in CALLS.get(caller.service, ()):
            found = peers(caller, called)
            assert found
            if called != "settle":
                assert {instance.region for instance in found} == {caller.region}
