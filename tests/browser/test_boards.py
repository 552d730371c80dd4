"""Every page in a real browser, on a desk in light and on a phone in the dark; and what only a browser can do.

Screenshots are left in the temporary folder that pytest names (`--basetemp` keeps it).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.browser

SETTLE_MS = 60_000
PAGES = ("", "volume", "latency", "logs", "incidents", "statement")
# Opened by a page's own address, Streamlit's client first asks for these below that address, and then at the root.
KNOWN_404 = ("/_stcore/health", "/_stcore/host-config")


class Viewer:
    """A browser page that remembers everything it complained of."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(SETTLE_MS)
        self.url = url
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self._heard(message.text))
        self.page.on("response", lambda response: self._answered(response.status, response.url))

    def _heard(self, text: str) -> None:
        if "404 (Not Found)" not in text:  # told apart by address below
            self.complaints.append(text)

    def _answered(self, status: int, address: str) -> None:
        if status >= 400 and not address.endswith(KNOWN_404):
            self.complaints.append(f"{status} {address}")

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}/{path}")
        expect(self.page.get_by_test_id("stHeading").first).to_be_visible(timeout=SETTLE_MS)
        expect(self.page.get_by_test_id("stMetric")).to_have_count(5, timeout=SETTLE_MS)
        expect(self.page.get_by_test_id("stDataFrame").first).to_be_visible(timeout=SETTLE_MS)

    def assert_well(self) -> None:
        assert self.page.get_by_test_id("stException").count() == 0
        assert self.complaints == []


RARE = [pytest.param(look, marks=pytest.mark.soak) for look in (("desk", "dark"), ("phone", "light"))]


@pytest.fixture(params=[("desk", "light"), ("phone", "dark"), *RARE], ids="-".join)
def viewer(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Viewer]:
    context = new_context(browser, *request.param)
    yield Viewer(context, url)
    context.close()


@pytest.fixture
def desk(browser: Browser, url: str) -> Iterator[Viewer]:
    context = new_context(browser, "desk", "light")
    yield Viewer(context, url)
    context.close()


def new_context(browser: Browser, place: str, look: Literal["light", "dark"]) -> BrowserContext:
    return browser.new_context(
        viewport={"width": 390, "height": 844} if place == "phone" else {"width": 1440, "height": 1000},
        color_scheme=look,
        timezone_id="Asia/Shanghai",
        locale="en-GB",
    )


def test_every_page_draws_in_our_theme_without_a_complaint(
    viewer: Viewer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    look = request.node.callspec.id
    for path in PAGES:
        viewer.open(path)
        viewer.page.screenshot(path=tmp_path / f"{path or 'fleet'}-{look}.png")
        viewer.assert_well()
    ground = viewer.page.get_by_test_id("stApp").evaluate("element => getComputedStyle(element).backgroundColor")
    assert ground == ("rgb(15, 21, 27)" if look.endswith("dark") else "rgb(255, 255, 255)")


def test_text_on_charts_can_be_read_in_the_dark(browser: Browser, url: str) -> None:
    context = new_context(browser, "desk", "dark")
    viewer = Viewer(context, url)
    viewer.open("")
    peak = viewer.page.locator(".stVegaLiteChart .mark-text.role-mark text").first
    expect(peak).to_have_attribute("fill", "#e6ebf0", timeout=SETTLE_MS)
    context.close()


def test_on_a_phone_figures_stand_two_in_a_row_and_charts_below_the_table(browser: Browser, url: str) -> None:
    context = new_context(browser, "phone", "light")
    viewer = Viewer(context, url)
    viewer.open("")
    boxes = [viewer.page.get_by_test_id("stMetric").nth(index).bounding_box() for index in range(3)]
    assert all(boxes)
    first, second, third = (box for box in boxes if box)
    assert first["y"] == second["y"] < third["y"]
    table = viewer.page.get_by_test_id("stDataFrame").first.bounding_box()
    chart = viewer.page.locator(".stVegaLiteChart").first.bounding_box()
    assert table
    assert chart
    assert chart["y"] > table["y"]
    context.close()


def test_figures_move_by_themselves_and_nothing_is_drawn_anew(desk: Viewer) -> None:
    desk.open("?range=1+h")  # in which no service is so rare that it comes into the legend or leaves it meanwhile
    expect(desk.page.locator(".stVegaLiteChart svg").first).to_be_visible(timeout=SETTLE_MS)
    said = desk.page.get_by_text("as of").first
    for _ in range(2):  # all that a page has is there once it has refreshed
        first = said.inner_text()
        expect(said).not_to_have_text(first, timeout=SETTLE_MS)
    marked = ".stVegaLiteChart svg, .stVegaLiteChart canvas, [data-testid=stDataFrame] canvas, [data-testid=stMetric]"
    tag = f"() => document.querySelectorAll('{marked}').forEach(each => each.dataset.mine = 'yes')"
    desk.page.evaluate(tag)
    first = said.inner_text()
    for _ in range(3):
        expect(said).not_to_have_text(first, timeout=SETTLE_MS)
        first = said.inner_text()
    anew = desk.page.evaluate(
        f"() => [...document.querySelectorAll('{marked}')].filter(each => !each.dataset.mine)"
        ".map(each => each.outerHTML.slice(0, 500))"
    )
    assert anew == []
    desk.assert_well()


def test_a_period_brushed_out_narrows_every_page_until_it_is_dropped(desk: Viewer) -> None:
    desk.open("")
    chart = desk.page.locator(".stVegaLiteChart").first
    expect(chart.locator("svg")).to_be_visible(timeout=SETTLE_MS)
    desk.page.wait_for_timeout(1_000)
    box = chart.bounding_box()
    assert box
    desk.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.55 * box["height"])
    desk.page.mouse.down()
    desk.page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"], steps=6)
    desk.page.mouse.up()
    desk.page.wait_for_url("**from=*", timeout=SETTLE_MS)
    chip = desk.page.locator(".st-key-unzoom button")
    expect(chip).to_be_visible()
    period = chip.locator("p").inner_text()
    desk.page.get_by_role("link", name="Volume").click()
    desk.page.wait_for_url("**/volume?from=*", timeout=SETTLE_MS)
    expect(chip.locator("p")).to_have_text(period)
    chip.click()
    expect(chip).to_have_count(0)
    assert "from=" not in desk.page.url
    desk.assert_well()


def test_a_row_picked_opens_and_stays_open_while_the_page_refreshes(desk: Viewer) -> None:
    desk.open("")
    desk.page.get_by_test_id("stDataFrame").first.click(position={"x": 16, "y": 51})
    details = desk.page.locator(".st-key-details")
    expect(details).to_be_visible(timeout=SETTLE_MS)
    expect(details.get_by_text("What led up to it")).to_be_visible()
    said = desk.page.get_by_text("as of").first
    for _ in range(2):
        expect(said).not_to_have_text(said.inner_text(), timeout=SETTLE_MS)
    expect(details).to_be_visible()
    desk.assert_well()
