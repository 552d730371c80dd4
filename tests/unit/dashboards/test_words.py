"""Figures, times, signs and sentences."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from alerts.fleet import Fleet, InstanceRow, ServiceRow, Sight
from alerts.staleness import Verdict
from dashboards import figures
from dashboards.fleet_view import chosen, deploys, known, sentence, versions_words, watch_is_silent
from dashboards.incidents_view import began_line, lengths_line, open_line, opened, told_line, within
from dashboards.parts import plain
from dashboards.scope import Choice
from dashboards.theme import SIGNS, THEME_FILE, incident_look, signed, streamlit_options
from tests.browser.shop import incidents

NOW = 1_763_726_400.0
SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (figures.count(0), "0"),
        (figures.count(12_480), "12,480"),
        (figures.count(1_080_000_000), "1.08 B"),
        (figures.rate(0), "0 /s"),
        (figures.rate(0.002), "7.20 /h"),
        (figures.rate(0.4), "0.40 /s"),
        (figures.rate(21_930), "21,930 /s"),
        (figures.rate(1_200_000), "1.20 M/s"),
        (figures.percent(None), "–"),
        (figures.percent(0.0084), "0.84 %"),
        (figures.percent(0.382), "38.2 %"),
        (figures.percent(1), "100 %"),
        (figures.percent(0.00001), "< 0.01 %"),
        (figures.latency(85_000), "85.0 µs"),
        (figures.latency(182e6), "182 ms"),
        (figures.latency(1.42e9), "1.42 s"),
        (figures.latency(None), "–"),
        (figures.change(104, 100), "+4 %"),
        (figures.change(88, 100), "−12 %"),
        (figures.change(100.1, 100), "± 0 %"),
        (figures.change(310, 100), "× 3.10"),
        (figures.change(20_000, 2), None),
        (figures.change(1, 0), None),
        (figures.change(None, 5), None),
    ],
)
def test_figures_are_short_and_have_units(said: str | None, words: str | None) -> None:
    assert said == words


def test_times_are_the_viewer_s_on_a_24_hour_clock_with_the_day_where_it_is_another() -> None:
    assert figures.time_of(NOW, SHANGHAI) == "20:00"
    assert figures.moment(NOW, SHANGHAI, NOW + 60) == "20:00"
    assert figures.moment(NOW, SHANGHAI, NOW + 86_400, seconds=True) == "Fri 21 Nov 20:00:00"


def test_every_verdict_has_its_sign_and_no_two_the_same() -> None:
    assert len({sign for sign, _ in SIGNS.values()}) == len(Verdict)
    assert [signed(each) for each in (Verdict.DOWN, Verdict.LATE, Verdict.UP, Verdict.BLIND)] == [
        "✖ DOWN", "◔ LATE", "● UP", "◌ BLIND",
    ]  # fmt: skip
    assert [signed(each) for each in (Verdict.STOPPED, Verdict.FLAPPING, Verdict.UNREACHABLE)] == [
        "■ STOPPED", "≈ FLAPPING", "∅ UNREACHABLE",
    ]  # fmt: skip


def test_the_theme_is_found_from_any_folder_and_has_a_colour_for_every_position() -> None:
    assert streamlit_options()["theme.base"] == str(THEME_FILE)
    assert THEME_FILE.is_absolute()
    theme = tomllib.loads(THEME_FILE.read_text("utf-8"))["theme"]
    for mode in ("light", "dark"):
        assert len(theme[mode]["chartCategoricalColors"]) == 6 + 1 + 4
        assert len(theme[mode]["chartSequentialColors"]) == 10
    assert theme["light"]["chartCategoricalColors"][:2] == ["#0072b2", "#e69f00"]


def test_markup_from_outside_is_shown_as_it_is() -> None:
    assert plain("a*b [x](y) :red[z] $1$ <b>") == r"a\*b \[x\]\(y\) \:red\[z\] \$1\$ \<b\>"


def service(name: str, verdict: Verdict, region: str = "cn-east", since: float = NOW - 192) -> ServiceRow:
    return ServiceRow(region, name, verdict, "why", since, NOW - 3, 1, 1, 1, ("1.4.2",))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([service(f"s{number}", Verdict.UP) for number in range(24)], "● all 24 services up"),
        ([service("a", Verdict.UP)], "● the one service is up"),
        ([service("a", Verdict.UP), service("b", Verdict.STOPPED)], "● the one service is up"),
        ([service("p", Verdict.DOWN, "cn-north"), service("b", Verdict.LATE)], "✖ p is down in cn-north · 3 min 12 s"),
        ([service("a", Verdict.DOWN), service("b", Verdict.DOWN)], "✖ 2 services are down in cn-east · 3 min 12 s"),
        (
            [service("a", Verdict.DOWN), service("b", Verdict.DOWN, "cn-north")],
            "✖ 2 services are down in 2 regions · 3 min 12 s",
        ),
        ([service("a", Verdict.LATE)], "◔ a is late in cn-east · 3 min 12 s"),
        ([service(name, Verdict.LOSSY) for name in "ab"], "≠ 2 services lose events in cn-east · 3 min 12 s"),
        ([service("a", Verdict.UNREACHABLE)], "∅ a can't be reached in cn-east · 3 min 12 s"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_where_and_since_when(rows: list[ServiceRow], words: str) -> None:
    assert sentence(rows, NOW)[1] == words


def test_what_else_is_known_counts_everybody() -> None:
    rows = [service("a", Verdict.UP), service("b", Verdict.LATE), service("c", Verdict.STOPPED)]
    assert (
        known(rows, Fleet(tuple(rows))) == "1 of 3 services up · 1 late · 1 stopped · nothing blind · no event dropped"
    )
    sight = Sight("cn-north", "default", True, NOW - 40, NOW - 40)
    dropper = replace(instance("a", "1.4.2", NOW), streams={"business": {"last": 9, "acked": 9, "dropped": 3}})
    assert known(rows, Fleet(tuple(rows), (dropper,), (sight,))).endswith(
        "blind to cn-north · 3 events dropped, each one counted"
    )


def instance(name: str, version: str, started_at: float) -> InstanceRow:
    return InstanceRow(
        "cn-east", name, f"{name}-{version}", Verdict.UP, "", NOW, NOW, "boot", 1, started_at, 10, 20, version=version
    )


def test_a_watch_that_has_stopped_looking_is_said_but_a_blind_one_says_so_itself() -> None:
    def seen(last: float, *, blind: bool = False) -> Fleet:
        return Fleet(sights=(Sight("r", "default", blind, NOW - 99, last),))

    assert watch_is_silent(seen(NOW - 1), NOW) is None
    assert watch_is_silent(seen(NOW - 16), NOW) == NOW - 16
    assert watch_is_silent(seen(NOW - 16, blind=True), NOW) is None
    assert watch_is_silent(Fleet(), NOW) is None


def test_versions_side_by_side_are_marked_the_newest_first() -> None:
    assert versions_words(["1.4.2"]) == "1.4.2"
    assert versions_words(["1.9.0", "1.10.0"]) == "1.10.0 ▲ 1.9.0"


def test_a_deploy_is_the_first_start_of_a_version_beside_an_older_one() -> None:
    rows = (service("pay", Verdict.UP), service("new", Verdict.UP))
    fleet = Fleet(
        rows, (instance("pay", "1", NOW - 9_000), instance("pay", "2", NOW - 60), instance("new", "1", NOW - 50))
    )
    assert deploys(fleet, rows, NOW - 600, NOW) == [(NOW - 60, "pay 2 starts")]


def test_filters_leave_the_services_that_fit() -> None:
    rows = (service("a", Verdict.UP), service("b", Verdict.UP, "cn-north"))
    assert [row.service for row in chosen(Fleet(rows), Choice(regions=("cn-north",)))] == ["b"]
    assert [row.service for row in chosen(Fleet(rows), Choice(services=("a", "b"), versions=("1.4.2",)))] == ["a", "b"]
    assert chosen(Fleet(rows), Choice(versions=("9",))) == ()


def test_open_incidents_come_pages_first_and_the_acknowledged_last() -> None:
    found = list(incidents(NOW, 192))
    assert [each.id for each in opened(found)] == ["inc-1", "inc-2"]
    assert len(within(found, NOW - 86_400, NOW)) == len(found)
    assert [each.id for each in within(found, NOW - 100, NOW)] == ["inc-1", "inc-2"]


def test_an_incident_is_red_only_while_it_wakes_people() -> None:
    down, flapping, *over = incidents(NOW, 192)
    assert incident_look(down) == ("✖", "red")
    assert incident_look(flapping) == ("≈", "orange")
    assert {incident_look(each) for each in over} == {("●", "green")}


def test_lines_of_incidents_count_what_was_open_began_and_lasted() -> None:
    found = list(incidents(NOW, 192))
    assert open_line(found, NOW - 86_400, NOW)[-1] == 2
    assert sum(began_line([each.began_at for each in found], NOW - 86_400, NOW)) == len(found)
    assert len(lengths_line(found)) == 5
    assert told_line(found)[-1] == pytest.approx(31.2)
