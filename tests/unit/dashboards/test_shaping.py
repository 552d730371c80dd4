"""From answers to frames and findings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from collector.latency import bucket_of
from collector.ports import Latency, Volume
from dashboards.scope import Choice, Scope
from dashboards.shaping import MOST_SERIES, OTHER, coarse, heat, ranked, rates, slots, spark, top_of, trend

NOON = 1_763_726_400.0
SCOPE = Scope(Choice(), NOON, NOON + 36, 10.0)  # three whole steps, and six seconds of a fourth
TIMES = tuple(NOON + 10 * index for index in range(4))


def test_rates_count_only_the_seconds_that_have_passed() -> None:
    frame = rates(Volume(10.0, TIMES, {"a": (10, 20, 30, 12)}), SCOPE, ["a"])
    assert list(frame["value"]) == [1.0, 2.0, 3.0, 2.0]


def test_a_last_step_that_has_hardly_begun_is_not_drawn() -> None:
    scope = Scope(Choice(), NOON, NOON + 31, 10.0)
    assert len(rates(Volume(10.0, TIMES, {"a": (10, 20, 30, 0)}), scope, ["a"])) == 3


def test_what_has_no_colour_is_added_up_as_other() -> None:
    frame = rates(Volume(10.0, TIMES, {"a": (1, 1, 1, 1), "b": (2, 2, 2, 2), "c": (3, 3, 3, 3)}), SCOPE, ["a"])
    assert set(frame["series"]) == {"a", OTHER}
    assert list(frame[frame["series"] == OTHER]["value"])[:3] == [0.5, 0.5, 0.5]


def test_the_peak_says_when_how_high_and_who_had_most() -> None:
    top = top_of(Volume(10.0, TIMES, {"a": (10, 5, 1, 0), "b": (1, 15, 2, 0)}), SCOPE)
    assert top is not None
    assert (top.at, top.per_s, top.name, top.share) == (NOON + 10, 2.0, "b", 0.75)


def test_a_part_of_a_step_is_never_the_peak() -> None:
    top = top_of(Volume(10.0, TIMES, {"a": (10, 5, 1, 60)}), SCOPE)
    assert top is not None
    assert top.at == NOON


def test_no_event_has_no_peak() -> None:
    assert top_of(Volume(10.0, TIMES, {"a": (0, 0, 0, 0)}), SCOPE) is None
    assert top_of(Volume(10.0, TIMES, {}), SCOPE) is None


def test_a_trend_does_not_fall_because_its_last_step_is_young() -> None:
    assert list(trend(Volume(10.0, TIMES, {"a": (7, 7, 7, 1)}), "a", SCOPE)) == [7, 7, 7]
    assert list(trend(Volume(10.0, TIMES, {}), "a", SCOPE)) == []


@given(some.lists(some.floats(0, 1e6), max_size=1_000))
def test_a_spark_is_short_and_stays_within_its_line(line: list[float]) -> None:
    short = spark(line)
    assert len(short) <= 60
    assert not line or min(line) - 1e-6 <= min(short) <= max(short) <= max(line) + 1e-6


def test_heat_keeps_every_count_and_only_cells_that_have_one() -> None:
    steps = 600
    scope = Scope(Choice(), NOON, NOON + steps, 1.0)
    times = tuple(NOON + index for index in range(steps))
    series = tuple({bucket_of(1e6): 1, bucket_of(80e6): 2} if index % 2 else {} for index in range(steps))
    cells = heat(coarse(Latency(1.0, times, {"": series}), scope), scope)
    assert cells["count"].sum() == 3 * steps / 2
    assert (cells["count"] > 0).all()
    assert cells["t"].nunique() <= 96
    assert ((cells["low"] <= 1.0) & (cells["high"] > 1.0)).any()
    assert cells["t2"].max() == (NOON + steps) * 1_000


def test_coarse_leaves_out_the_period_before() -> None:
    latency = Latency(10.0, (NOON - 10, *TIMES), {"": ({5: 100}, {1: 1}, {1: 1}, {1: 1}, {1: 1})})
    assert coarse(latency, SCOPE).times[0] == NOON
    assert sum(step.get(5, 0) for step in coarse(latency, SCOPE).series[""]) == 0


def test_a_series_keeps_its_colour_while_others_come_and_go() -> None:
    first = slots({}, ["a", "b", "c"])
    assert first == {"a": 0, "b": 1, "c": 2}
    second = slots(first, ["c", "x", "a"])
    assert (second["a"], second["c"], second["b"], second["x"]) == (0, 2, 1, 3)


def test_a_series_in_the_legend_is_only_displaced_by_one_much_bigger() -> None:
    volume = Volume(1.0, (NOON,), {"a": (70,), "b": (80,), "c": (106,)})
    assert ranked(volume) == ["c", "b", "a"]
    assert ranked(volume, favoured={"a"}) == ["c", "a", "b"]


@given(some.lists(some.lists(some.sampled_from("abcdefghijkl"), unique=True), max_size=12))
def test_colours_are_never_shared_and_never_too_many(pages: list[list[str]]) -> None:
    taken: dict[str, int] = {}
    for names in pages:
        before = taken
        taken = slots(taken, names)
        assert len(set(taken.values())) == len(taken) <= MOST_SERIES
        assert set(taken.values()) <= set(range(MOST_SERIES))
        shown = names[:MOST_SERIES]
        assert set(shown) <= set(taken)
        assert all(taken[name] == before[name] for name in shown if name in before)
