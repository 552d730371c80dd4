"""Each page, as Streamlit runs it: full, empty, with the store or the state out of reach."""

from __future__ import annotations

import pytest

from alerts.audit.statement import read_statement
from alerts.incidents import Status, read_incidents
from alerts.silences import Silences
from alerts.words import duration
from collector.ports import Table
from tests.unit.dashboards.conftest import Boards
from tests.unit.dashboards.given import DownState

PAGES = ("fleet", "volume", "latency", "logs", "incidents", "statement")
MOST_QUESTIONS = 6


def test_fleet_says_first_what_is_wrong_where_and_since_when(shop: Boards) -> None:
    app = shop.open("fleet")
    assert "channel-wechat is down in cn-north · 3 min 12 s" in shop.words
    assert "18 of 20 services up · 1 late · nothing blind · no event dropped" in shop.words
    table = app.dataframe[0].value
    assert list(table["State"].str[0][:3]) == ["✖ DOWN", "◔ LATE", "● UP"]
    assert table["Why"][0] == "0 of 2 instances beat: last beat 3 min 12 s ago, allowed 30 s"
    assert len(table) == 20
    assert "1.5.0 ▲ 1.4.2" in set(table["Version"])


def test_fleet_shows_what_led_up_to_a_death(shop: Boards) -> None:
    shop.app.session_state["fleet_selected"] = "cn-north/channel-wechat"
    app = shop.open("fleet")
    assert "What led up to it" in shop.words
    instances, lines = app.dataframe[1].value, app.dataframe[2].value
    assert set(instances["Instance"]) == {"channel-wechat-north-a", "channel-wechat-north-b"}
    assert set(lines["Service"]) == {"channel-wechat"}
    assert set(lines["Region"]) == {"cn-north"}


def test_an_open_incident_shows_the_lines_that_led_up_to_it(shop: Boards) -> None:
    app = shop.open("incidents")
    assert "What led up to it" in shop.words
    lines = next(frame.value for frame in app.dataframe if "Message" in frame.value)
    assert set(lines["Service"]) == {"channel-wechat"}
    assert set(lines["Region"]) == {"cn-north"}


@pytest.mark.parametrize("page", PAGES)
def test_a_full_page_has_a_sentence_and_five_figures_and_asks_few_questions(shop: Boards, page: str) -> None:
    app = shop.open(page)
    assert len(app.header) == 1
    assert len(app.metric) == 5
    assert sum(shop.ports.store.asked.values()) <= MOST_QUESTIONS, shop.ports.store.asked
    shop.ports.store.asked.clear()
    app.run()
    assert sum(shop.ports.store.asked.values()) == 0, "the same moment's questions are answered from what is kept"


@pytest.mark.parametrize("page", ["fleet", "volume", "latency", "logs", "statement"])
def test_an_empty_page_shows_the_three_lines_that_would_fill_it(boards: Boards, page: str) -> None:
    boards.open(page)
    assert 'lastbeat.init("checkout")' in boards.words
    assert len(boards.app.metric) == 0


def test_no_incident_so_far_is_good_news(boards: Boards) -> None:
    boards.open("incidents")
    assert "nothing is wrong" in boards.words


@pytest.mark.parametrize("page", ["fleet", "volume", "latency", "logs"])
def test_a_store_out_of_reach_is_said_with_since_when_and_what_is_still_true(shop: Boards, page: str) -> None:
    shop.ports.store.store.unavailable = "the lake at /data/lake can't be opened"
    shop.open(page)
    assert "The store can't be reached" in shop.words
    assert "the lake at /data/lake can't be opened" in shop.words
    assert "Nothing is lost by this" in shop.words
    assert shop.app.error == []
    shop.ports.clock.advance(65)
    shop.open(page)
    assert "(1 min 5 s)" in shop.words
    shop.ports.store.store.unavailable = None
    shop.open(page)
    assert "can't be reached" not in shop.words


def test_fleet_still_tells_who_is_down_while_the_store_is_out_of_reach(shop: Boards) -> None:
    shop.ports.store.store.unavailable = "gone"
    app = shop.open("fleet")
    assert "channel-wechat is down in cn-north" in shop.words
    assert list(app.dataframe[0].value["State"].str[0][:1]) == ["✖ DOWN"]


@pytest.mark.parametrize("page", PAGES)
def test_a_state_out_of_reach_is_said_where_it_matters_and_breaks_no_page(shop: Boards, page: str) -> None:
    shop.ports.state = DownState()
    shop.open(page)
    assert ("The watch's state can't be reached" in shop.words) == (page in ("fleet", "incidents", "statement"))


def test_filters_in_the_url_narrow_the_fleet(shop: Boards) -> None:
    app = shop.open("fleet", service="order", region="cn-east")
    assert list(app.dataframe[0].value["Service"]) == ["order"]
    assert "the one service is up" in shop.words


def test_a_brushed_period_in_the_url_narrows_the_page(shop: Boards) -> None:
    now = shop.ports.clock.time()
    shop.open("volume", **{"from": f"{now - 7_200:.0f}", "to": f"{now - 3_600:.0f}"})
    assert "10:00 – 11:00" in shop.words
    assert shop.app.button(key="unzoom").label == "10:00 – 11:00"
    shop.app.button(key="unzoom").click().run()
    assert "10:00 – 11:00" not in shop.words


def test_volume_can_be_split_by_level_from_the_url(shop: Boards) -> None:
    app = shop.open("volume", by="level")
    assert set(app.dataframe[0].value["Level"]) == {"INFO", "WARNING", "ERROR"}


def test_logs_search_finds_words_newest_first_and_pages_to_older(shop: Boards) -> None:
    app = shop.open("logs", q="ok")
    first = app.dataframe[0].value
    assert first["Message"].str.contains("ok").all()
    assert len(first) == 100
    assert list(first["Time"])[:10] == sorted(first["Time"][:10], reverse=True)
    next(button for button in app.button if button.label == "Older").click().run()
    second = app.dataframe[0].value
    assert list(first["Message"]) != list(second["Message"])
    assert "101 to 200" in shop.words


def test_an_order_is_followed_over_all_services_in_order_of_time(shop: Boards) -> None:
    app = shop.open("logs", id="A777777")
    assert "A777777 · 9 events in 8 services · 1.00 s" in shop.words
    assert "1 error, the first in channel-wechat" in shop.words
    services = list(app.dataframe[0].value["Service"])
    assert services[:3] == ["shop-web", "order", "risk"]
    assert services[-1] == "notify"


def test_an_event_picked_is_told_in_full_with_where_it_leads(shop: Boards) -> None:
    shop.app.session_state["path_selected"] = "pathboot05.business:1"
    app = shop.open("logs", id="A777777")
    assert "Same order A777777" in [button.label for button in app.button]
    assert "the whole event" in shop.words


def test_following_begins_with_the_newest_and_adds_what_comes_in(shop: Boards) -> None:
    app = shop.open("logs", follow="true")
    assert len(app.dataframe[0].value) == 50
    shop.ports.store.store.say("just in 刚刚", service="order", level="INFO")
    app.run()
    assert app.dataframe[0].value["Message"][0] == "just in 刚刚"
    assert len(app.dataframe[0].value) == 51


def test_an_incident_is_acknowledged_through_state(shop: Boards) -> None:
    app = shop.open("incidents")
    app.text_input(key="ack-by-inc-1").set_value("Wang Wei").run()
    app.button(key="ack-do-inc-1").click().run()
    assert "acknowledged by Wang Wei" in shop.words
    incident = next(each for each in read_incidents(shop.ports.state) if each.id == "inc-1")
    assert incident.status is Status.ACKNOWLEDGED
    assert incident.acknowledged_by == "Wang Wei"
    assert incident.acknowledged_at == shop.ports.clock.time()


def test_a_silence_set_on_the_board_is_one_that_the_watch_obeys_until_it_is_lifted(shop: Boards) -> None:
    app = shop.open("incidents")
    app.button(key="silence-do-inc-1").click().run()
    silences, now = Silences(()), shop.ports.clock.time()
    silences.read(shop.ports.state)
    assert silences.match("cn-north", "channel-wechat", now + 3_599)
    assert not silences.match("cn-north", "channel-wechat", now + 3_601)
    assert not silences.match("cn-east", "channel-wechat", now)
    shop.open("incidents")
    assert "channel-wechat in cn-north is silenced" in shop.words
    shop.app.button(key="lift-cn-north/channel-wechat").click().run()
    silences.read(shop.ports.state)
    assert not silences.match("cn-north", "channel-wechat", now + 1)


def test_an_undelivered_notice_shows_why(shop: Boards) -> None:
    app = shop.open("incidents")
    notices = app.dataframe[0].value
    assert notices["Last error"][1] == "connect to hooks.example:443: timed out"
    assert notices["Delivered"][1].startswith("◔ not yet")


def test_text_from_outside_is_never_markup(shop: Boards) -> None:
    shop.ports.store.store.say("![x](http://evil) <script>", service="order", labels={"order_id": "[a](b)"})
    app = shop.open("logs", id="[a](b)")
    assert app.header[0].value.startswith(r":green[●] \[a\]\(b\)")


def test_the_statement_says_first_what_is_lost_with_its_range_and_what_balanced_means(shop: Boards) -> None:
    app = shop.open("statement")
    statement = read_statement(shop.ports.state)
    assert statement is not None
    lost_for = duration(shop.ports.clock.time() - min(each.since for each in statement.open))
    assert f"200 events of order in cn-east are lost · {lost_for}" in shop.words
    lost, lines = app.dataframe[0].value, app.dataframe[1].value
    assert list(lost["State"].str[0]) == ["≠ LOST", "◔ CUT OFF"]
    assert list(lost["Numbers"]) == ["18401–18600", "40112–40128"]
    assert "asked for again 2 times" in lost["Why"][0]
    assert "unknown tail of at most one interval" in lost["Why"][1]
    assert list(lines["State"].str[0][:2]) == ["≠ LOST", "◔ CUT OFF"]
    assert (lines["Emitted"] == lines[["Stored", "Dead", "Dropped", "On the way", "Cut off", "Lost"]].sum(axis=1)).all()
    assert "Balanced** means" in shop.words
    assert "7001–7400" in app.dataframe[2].value["Numbers"][0]


def test_the_statement_of_a_service_that_lost_nothing_is_balanced(shop: Boards) -> None:
    app = shop.open("statement", service="risk")
    assert "every event is accounted for" in shop.words
    assert set(app.dataframe[0].value["Service"]) == {"risk"}


def test_beside_a_finding_that_cant_be_read_nothing_is_called_balanced(shop: Boards) -> None:
    shop.ports.state.put_many(Table.AUDIT, {"finding/lake/x": {"sink": "lake"}})
    shop.open("statement", service="risk")
    assert "1 finding can't be read: nothing is proven" in shop.words


def test_an_auditor_that_fell_silent_vouches_for_nothing(shop: Boards) -> None:
    shop.ports.clock.advance(300)
    app = shop.open("statement")
    assert app.header[0].value.startswith(":gray[◌]")
    assert "the auditor has been silent for 5 min: this is as of" in shop.words
